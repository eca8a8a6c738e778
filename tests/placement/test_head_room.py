"""Room for weights is given where it is missing, and only if it serves."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.refusals import refused
from tflm_fg import journal, methods
from tflm_fg.placement.head_folds import HeadFolds
from tflm_fg.placement.run_plan import RunResult
from tflm_fg.tflite.graph_options import GraphOptions

X, Y = models.detectable(120, seed=11)
TEST = models.detectable(1000, seed=101)


def detector():
  return models.regression_model(1, tail="logistic", seed=1)


@functools.cache
def adapted(trainable="head", room=None, **given):
  return tflm_fg.adapt(
    detector(),
    X,
    Y,
    test=TEST,
    trainable=trainable,
    graph_options=GraphOptions(head_room=room),
    **given,
  )


def room_of(result):
  return journal.parse(result.journal.to_bytes()).plan.graph_options.head_room


def test_a_head_whose_weights_saturate_is_given_room_and_serves_better():
  narrow, chosen = adapted(room=0).report, adapted().report
  assert room_of(adapted()) >= 1
  assert narrow.phases[0]["saturated"] > 0.5
  assert chosen.phases[0]["saturated"] < narrow.phases[0]["saturated"]
  assert chosen.loss_after < narrow.loss_after
  assert chosen.accuracy_after > narrow.accuracy_after
  assert "the head's kernel was given" in chosen.notes[0]
  (without,) = chosen.dropped
  assert without["candidate"] == "head"
  assert "ended at -127 or 127" in without["reason"]
  assert chosen.forward_passes > narrow.forward_passes


def test_scores_of_before_are_those_of_the_file_that_came():
  narrow, chosen = adapted(room=0).report, adapted().report
  assert chosen.loss_before == narrow.loss_before
  kept = [
    tflm_fg.adapt(
      detector(),
      X,
      Y,
      trainable=trainable,
      graph_options=GraphOptions(head_room=room),
    ).report
    for trainable, room in (("head", 0), ("head", None))
  ]
  assert kept[0].loss_before == kept[1].loss_before


def test_auto_tries_room_as_a_candidate_of_its_own():
  report = adapted("auto").report
  titles = {c["trainable"]: c["loss"] for c in report.candidates}
  roomy = [t for t in titles if " of room" in t]
  assert roomy
  for title in roomy:
    assert titles[title] < titles[title.split(" with ")[0]]
  untouched = adapted("auto", room=0).report
  assert not any(" of room" in c["trainable"] for c in untouched.candidates)


def test_room_replays_and_runs_of_one_seed_give_the_same_bytes():
  result = adapted()
  again = tflm_fg.adapt(detector(), X, Y, test=TEST, trainable="head")
  assert again.marked_model == result.marked_model
  content = result.journal.to_bytes()
  assert tflm_fg.replay(content, detector()) == result.marked_model


def test_room_that_serves_no_better_leaves_the_scale_and_says_so(monkeypatch):
  monkeypatch.setattr(HeadFolds, "roomier", lambda *given: None)
  with pytest.warns(UserWarning, match="more room for them was tried"):
    result = tflm_fg.adapt(detector(), X, Y, trainable="head")
  assert room_of(result) is None


def test_a_long_run_is_not_fitted_over_folds_before_it_begins(monkeypatch):
  """It could be interrupted, and would have nothing to keep."""
  monkeypatch.setattr(HeadFolds, "best", lambda *given: pytest.fail("fitted"))
  method = methods.ClosedForm(steps=301)
  with pytest.warns(UserWarning, match="try --trainable=head --head_room=2"):
    result = tflm_fg.adapt(detector(), X, Y, trainable="head", method=method)
  assert room_of(result) is None


def test_a_head_with_room_that_harms_is_not_taken(monkeypatch):
  """Where its run is worse than its start, the file keeps its scale."""
  monkeypatch.setattr(RunResult, "has_helped", False)
  plain = tflm_fg.adapt(detector(), X, Y, trainable="head")
  assert room_of(plain) is None
  auto = tflm_fg.adapt(detector(), X, Y)
  assert not room_of(auto)
  assert any("worse than its start" in d["reason"] for d in auto.report.dropped)


def test_a_head_that_does_not_saturate_is_left_with_its_scale():
  x, y = models.separable(120)
  small = methods.ClosedForm(learning_rate_lsb=0.01)
  model = models.dense_model()
  result = tflm_fg.adapt(model, x, y, trainable="head", method=small)
  assert result.report.phases[0]["saturated"] == 0
  assert room_of(result) is None
  assert result.report.dropped == []


def test_where_room_is_not_chosen_the_note_says_which_flag_gives_it():
  x, y = models.separable(120)
  method = methods.ClosedForm(validation_fraction=0.0)
  with pytest.warns(UserWarning, match="try --trainable=head --head_room=2"):
    tflm_fg.adapt(models.dense_model(), x, y, trainable="head", method=method)
  marked = tflm_fg.mark_trainable(models.dense_model(), "head").data
  with pytest.warns(
    UserWarning,
    match="before it was marked, with --trainable=head --head_room=2",
  ):
    tflm_fg.adapt(marked, x, y, method=method)


def test_auto_refuses_room_that_is_given():
  for trainable in (None, "auto"):
    refused(
      lambda t=trainable: adapted(t, room=2),
      "--head_room=2 needs --trainable=head",
    )


def test_squares_and_16_bit_activations_get_room_too():
  random = np.random.default_rng(0)
  x = random.normal(0, 1.3, (120, 8)).astype(np.float32)
  target = 6 * x[:, :1]
  for wide in (False, True):
    model = models.regression_model(1, wide=wide)
    result, without = (
      tflm_fg.adapt(
        model,
        x,
        target,
        loss="mse",
        trainable="head",
        graph_options=GraphOptions(head_room=room),
      )
      for room in (None, 0)
    )
    if without.report.phases[0]["saturated"] > 0.05:
      assert result.report.loss_after <= without.report.loss_after
