"""Scores before and after are said class by class, whatever was scored."""

from __future__ import annotations

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg import methods
from tflm_fg.marking import mark_trainable
from tflm_fg.placement import SplitModel
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.samples import model_input
from tflm_fg.tflite import describe_input

X, Y = models.separable()
TEST = models.separable(seed=1)
MODEL = models.dense_model()
CLASSES = 1 + int(Y.max())
SOME = Y != 1
QUICK = options(method="closed-form", steps=10)


def adapt(x=X, y=Y, model=MODEL, **given):
  return tflm_fg.adapt(
    model, x, y, **{"trainable": "head", **QUICK, **given}
  ).report


def _mean(rows, when):
  total = sum(row["scored_samples"] for row in rows)
  right = sum(
    row["scored_samples"] * row[f"accuracy_{when}"]
    for row in rows
    if row["scored_samples"]
  )
  return right / total


@pytest.mark.parametrize("test", [TEST, None], ids=["test", "kept aside"])
def test_the_classes_together_are_the_accuracy_of_all(test):
  report = adapt(test=test)
  assert [row["class"] for row in report.classes] == list(range(CLASSES))
  assert sum(row["train_samples"] for row in report.classes) == len(Y)
  for when in ("before", "after"):
    whole = report[f"accuracy_{when}"]
    assert _mean(report.classes, when) == pytest.approx(whole)
  assert report.absent_classes == []


def test_a_class_without_samples_is_told_and_scored_where_a_test_has_it():
  report = adapt(X[SOME], Y[SOME], test=TEST)
  assert report.absent_classes == [1]
  row = report.classes[1]
  assert row["train_samples"] == 0
  own = TEST[1] == 1
  assert row["scored_samples"] == own.sum()
  alone = tflm_fg.evaluate(MODEL, TEST[0][own], TEST[1][own])
  assert row["accuracy_before"] == pytest.approx(alone["accuracy"])


def test_a_class_that_was_not_scored_has_no_accuracy():
  row = adapt(X[SOME], Y[SOME]).classes[1]
  assert row["scored_samples"] == 0
  assert row["accuracy_before"] is row["accuracy_after"] is None


def test_classes_have_the_names_that_the_file_says():
  marked = mark_trainable(MODEL, "head").data
  names = tuple(f"word {n}" for n in range(CLASSES))
  told = describe_input(marked, {}, names)
  rows = adapt(model=told).classes
  assert [row["name"] for row in rows] == list(names)
  assert adapt().classes[0]["name"] is None


def test_real_targets_and_samples_without_classes_have_no_rows():
  model, samples = models.regression_model(), models.curve()
  report = tflm_fg.adapt(model, *samples, **options(steps=5, loss="mse")).report
  assert report.classes == [] and report.absent_classes == []
  unlabelled = tflm_fg.adapt(MODEL, X).report
  assert unlabelled.classes == [] and unlabelled.absent_classes == []


OLD = models.separable(seed=2)


def test_old_data_change_no_byte_and_are_scored_before_and_after():
  given = {"trainable": "head", **QUICK}
  plain = tflm_fg.adapt(MODEL, X[SOME], Y[SOME], **given)
  result = tflm_fg.adapt(MODEL, X[SOME], Y[SOME], old_data=OLD, **given)
  told = result.report.forgetting
  assert result.model == plain.model
  assert plain.report.forgetting["measured_on"] == "estimate"
  assert told["measured_on"] == "old_data"
  assert told["scored_samples"] == len(OLD[1])
  for when, model in (("before", MODEL), ("after", result.model)):
    own = tflm_fg.evaluate(model, *OLD)
    assert told[f"accuracy_{when}"] == pytest.approx(own["accuracy"])
    assert _mean(told["classes"], when) == pytest.approx(own["accuracy"])


def test_replayed_samples_are_learned_from_and_told_apart():
  given = {"trainable": "head", "absent_classes": "ignore", **QUICK}
  mine = X[SOME][:40], Y[SOME][:40]
  result = tflm_fg.adapt(MODEL, *mine, replay=OLD, **given)
  both = [np.concatenate(pair) for pair in zip(mine, OLD)]
  assert result.model == tflm_fg.adapt(MODEL, *both, **given).model
  report = result.report
  row = report.classes[1]
  assert row["train_samples"] == 0
  assert row["replay_samples"] == (OLD[1] == 1).sum()
  assert report.absent_classes == []  # it is learned from all the same
  # The scores are of the new samples, what is forgotten is of the old ones.
  assert row["scored_samples"] == 0 < report.scored_samples < 40
  assert report.forgetting["measured_on"] == "replay"
  assert report.forgetting["scored_samples"] == len(OLD[1])


@pytest.mark.parametrize("y", [None, Y], ids=["no y", "y not looked at"])
def test_replay_needs_y_to_learn_from(y):
  refused(
    lambda: tflm_fg.adapt(MODEL, X, y, labels="none", replay=OLD),
    "replay: samples of before are learned from by their y",
  )


@pytest.mark.parametrize("name", ["old_data", "replay"])
def test_samples_of_before_that_do_not_fit_are_named(name):
  refused(lambda: adapt(**{name: (OLD[0][:, :3], OLD[1])}), f"{name} x")
  refused(lambda: adapt(**{name: (OLD[0], OLD[1] + 100)}), f"{name} y")


def _at_head(x):
  """What the last layer reads of samples, as an engine runs the others."""
  marked = mark_trainable(MODEL, "head")
  graph = SplitModel(
    marked.file, marked.mark, RuntimeOptions(exact_prefix=True)
  )
  return graph.features(model_input(x, graph.input))[0]


def test_old_data_may_be_what_the_last_layer_reads():
  given = {"x": X[SOME], "y": Y[SOME], "test": TEST}
  told = adapt(**given, old_data=OLD).forgetting
  short = adapt(**given, old_data=(_at_head(OLD[0]), OLD[1])).forgetting
  assert short == told


@pytest.mark.parametrize("name", ["old_data", "replay"])
@pytest.mark.parametrize("trainable", ["auto", "bias", None])
def test_what_the_last_layer_reads_is_for_the_head_alone(name, trainable):
  old = _at_head(OLD[0]), OLD[1]
  refused(
    lambda: adapt(trainable=trainable, **{name: old}),
    f"{name} x: shape [16] is what the last layer reads",
    "trainable=head",
    "shape [8]",
  )


def test_what_the_last_layer_reads_is_replayed_as_its_samples_are():
  mine = {"x": X[SOME][:40], "y": Y[SOME][:40]}
  # Nothing kept aside: the split of samples would be another.
  method = methods.ClosedForm(steps=10, validation_fraction=0)
  given = {**mine, "trainable": "head", "method": method, "exact_prefix": True}
  whole = tflm_fg.adapt(MODEL, replay=OLD, **given)
  short = tflm_fg.adapt(MODEL, replay=(_at_head(OLD[0]), OLD[1]), **given)
  assert short.model == whole.model
  assert short.report.forgetting == whole.report.forgetting
  assert short.report.classes[1]["replay_samples"] == (OLD[1] == 1).sum()
  assert tflm_fg.replay(short.journal, MODEL) == short.marked_model


def test_samples_of_the_last_layer_are_never_kept_aside():
  old = _at_head(OLD[0]), OLD[1]
  report = adapt(X[SOME][:40], Y[SOME][:40], replay=old)
  assert report.scored_on == "validation"
  assert report.validation_samples + report.train_samples == 40 + len(OLD[1])
  assert 0 < report.scored_samples == report.validation_samples < 40


def test_what_the_last_layer_reads_is_trained_on_to_the_last_byte():
  mine = {"x": X[SOME][:40], "y": Y[SOME][:40], "trainable": "head"}
  # By default all samples are trained on once more, those kept aside too.
  old = _at_head(OLD[0]), OLD[1]
  alone = tflm_fg.adapt(MODEL, **mine, old_data=old)
  again = tflm_fg.adapt(MODEL, **mine, old_data=old, replay=old)
  lost, kept = (r.report.forgetting["accuracy_after"] for r in (alone, again))
  assert kept > lost + 0.1


def test_classes_whose_samples_are_all_of_before_are_told_first():
  with pytest.warns(UserWarning, match="no new samples for 1 of"):
    report = adapt(X[SOME], Y[SOME], replay=(X[~SOME], Y[~SOME]))
  assert any("no new samples" in note for note in report.notes)


def test_classes_with_new_samples_beside_those_of_before_are_not():
  report = adapt(replay=(X, Y))
  assert not any("no new samples" in note for note in report.notes)
