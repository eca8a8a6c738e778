"""Classes without samples are as well known behind an adaptation as before."""

import warnings

import numpy as np
import pytest

import tflm_fg
from tests.placement.runs import CLASSES, clustered, clusters
from tflm_fg import methods
from tflm_fg.forgetting import PULL
from tflm_fg.forgetting.class_folds import Judged

TEST_X, TEST_Y = clusters(600, 7)
SHIFTED_X, _ = clusters(600, 7, 0.6)


def shown(classes, count, seed, offset=0.0):
  """So many samples of each of some classes."""
  x, y = clusters(CLASSES * count, 50 + seed, offset)
  rows = np.isin(y, classes)
  return x[rows], y[rows]


def right(model, x, of):
  """Share of right answers on unseen samples of some classes."""
  rows = np.isin(TEST_Y, of)
  return tflm_fg.evaluate(model, x[rows], TEST_Y[rows])["accuracy"]


def others(classes):
  return [c for c in range(CLASSES) if c not in classes]


def adapt(x, y, **given):
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    return tflm_fg.adapt(clustered(), x, y, **given)


@pytest.mark.parametrize("offset", [0.0, 0.6])
@pytest.mark.parametrize(
  ("classes", "count"),
  [([2], 1), ([4], 10), ([0, 1], 3), ([1, 3, 5], 10), ([0, 2, 3, 4, 5], 4)],
)
def test_the_default_keeps_classes_without_samples(classes, count, offset):
  x = SHIFTED_X if offset else TEST_X
  absent = others(classes)
  before = right(clustered(), x, absent)
  after = [
    right(adapt(*shown(classes, count, seed, offset)).model, x, absent)
    for seed in range(2)
  ]
  assert np.mean(after) > before - 0.02


@pytest.mark.parametrize("trainable", ["head", "wide-head", "prompt", "bias"])
def test_what_a_user_chooses_keeps_them_too(trainable):
  x, y = shown([0, 1], 10, 0, 0.6)
  result = adapt(x, y, trainable=trainable)
  absent = others([0, 1])
  before = right(clustered(), SHIFTED_X, absent)
  assert right(result.model, SHIFTED_X, absent) > before - 0.02


def test_whoever_ignores_them_loses_them():
  """And gains more on what is shown: the guard is not free."""
  x, y = shown([0, 1], 10, 0, 0.6)
  kept, let_go = (
    adapt(x, y, trainable="head", absent_classes=how).model
    for how in ("keep", "ignore")
  )
  absent = others([0, 1])
  assert right(let_go, SHIFTED_X, absent) < 0.3
  assert right(kept, SHIFTED_X, absent) > 0.6


def test_what_is_shown_is_still_learned():
  x, y = shown([0, 1, 2], 10, 0, 0.6)
  result = adapt(x, y)
  before = right(clustered(), SHIFTED_X, [0, 1, 2])
  assert right(result.model, SHIFTED_X, [0, 1, 2]) > before + 0.05


def test_a_class_with_one_sample_among_a_hundred_is_kept():
  x, y = clusters(600, 60, 0.6)
  rows = np.concatenate(
    [np.flatnonzero(y == c)[: 1 if c == 3 else 100] for c in range(CLASSES)]
  )
  before = right(clustered(), SHIFTED_X, [3])
  result = adapt(x[rows], y[rows], trainable="head")
  assert right(result.model, SHIFTED_X, [3]) > before - 0.02
  (note,) = [n for n in result.report.notes if "few samples" in n]
  assert "few samples for 1 of 6 classes (3)" in note


def test_classes_without_samples_are_named_before_anything_trains():
  x, y = shown([0, 1], 4, 0)
  with pytest.warns(UserWarning, match=r"no samples for 4 of 6 classes \(2, 3"):
    result = tflm_fg.adapt(clustered(), x, y, trainable="head")
  assert any("no samples for 4 of 6" in note for note in result.report.notes)


def test_what_cannot_be_judged_is_left_as_it_was_and_said():
  x, y = shown([0, 1], 10, 0, 0.6)
  with pytest.warns(UserWarning, match="left as it was: samples of 2 classes"):
    result = tflm_fg.adapt(clustered(), x, y, trainable="prompt")
  assert result.model == clustered()
  assert any("absent_classes=ignore" in note for note in result.report.notes)


def test_a_file_marked_for_more_than_the_head_is_left_as_it_was():
  marked = tflm_fg.mark_trainable(clustered(), "bias")
  x, y = shown([0, 1], 10, 0, 0.6)
  with pytest.warns(UserWarning, match="left as it was"):
    result = tflm_fg.adapt(marked.data, x, y)
  assert result.model == clustered()


def test_an_input_stage_that_helps_classes_that_were_left_out_is_taken():
  x, y = shown([0, 1, 2, 3, 4], 20, 0, 4.0)
  test, _ = clusters(600, 7, 4.0)
  result = adapt(x, y)
  before = right(clustered(), test, [5])
  assert any("prompt" in c["trainable"] for c in result.report.candidates)
  assert right(result.model, test, [5]) > before - 0.02


def test_an_input_stage_that_harms_classes_left_out_is_dropped(monkeypatch):
  harmed = Judged("it harms what was left out", 9.0)
  where = "tflm_fg.placement.fold_search.judged"
  monkeypatch.setattr(where, lambda *given: harmed)
  report = adapt(*shown([0, 1, 2, 3, 4], 10, 0, 1.5)).report
  assert not any("prompt" in c["trainable"] for c in report.candidates)
  reasons = {d["candidate"]: d["reason"] for d in report.dropped}
  assert reasons["prompt"] == harmed.fault


def test_all_classes_shown_train_as_if_there_were_no_guard():
  x, y = clusters(60, 3, 0.6)
  one, other = (
    adapt(x, y, trainable="head", absent_classes=how).model
    for how in ("keep", "ignore")
  )
  assert one == other


def test_two_runs_give_the_same_bytes():
  x, y = shown([0, 1], 5, 0, 0.6)
  assert adapt(x, y).model == adapt(x, y).model


def test_a_pull_that_a_user_has_set_stays():
  x, y = shown([0, 1], 10, 0, 0.6)
  result = adapt(x, y, trainable="head", method=methods.ClosedForm(pull=2.0))
  assert result.report.phases[0]["settings"]["pull"] == 2.0
  result = adapt(x, y, trainable="head", method=methods.ClosedForm())
  assert result.report.phases[0]["settings"]["pull"] == PULL


@pytest.mark.parametrize("value", ["drop", ""])
def test_another_word_for_absent_classes_is_refused(value):
  x, y = shown([0, 1], 4, 0)
  with pytest.raises(tflm_fg.TflmFgError, match="absent_classes"):
    tflm_fg.adapt(clustered(), x, y, absent_classes=value)
