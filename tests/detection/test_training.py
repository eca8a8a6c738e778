"""Heads learn from streams, in integers, within their box."""

import dataclasses

import numpy as np
import pytest

from tests.detection import heads
from tflm_fg.detection import Settings, detections, train_head
from tflm_fg.detection.row import Row
from tflm_fg.detection.training import Task
from tflm_fg.types import TflmFgError

SETTINGS = Settings(settle_seconds=0.4, steps=80)
WORD, OTHER = (1, 2, 3), (7, 8)
POSITIVES = heads.streams(5, WORD)
NEGATIVES = heads.streams(6, OTHER, seed=2)
KEEPERS = heads.streams(3, (2, 3, 4), seed=3)


def trained(head=None, positives=POSITIVES, negatives=NEGATIVES, **changed):
  settings = dataclasses.replace(SETTINGS, **changed)
  return train_head(
    head or heads.head(), positives, negatives, KEEPERS, heads.RULE, settings
  )


def heard(head, weights, bias, streams):
  """How many streams a float copy of the engine's last layers hears."""
  outputs = [heads.Model(head).head_outputs(s, weights, bias) for s in streams]
  return sum(len(detections(o, heads.RULE)) > 0 for o in outputs)


@pytest.mark.parametrize(
  "activation, outputs", [("LOGISTIC", 1), ("SOFTMAX", 3)]
)
def test_a_head_learns_to_hear_a_word_and_nothing_else(activation, outputs):
  head = heads.head(activation, outputs)
  weights, bias = trained(head)
  more = heads.streams(20, WORD, seed=8)
  others = heads.streams(20, OTHER, seed=9)
  before = heard(head, head.weights, head.bias, more)
  assert heard(head, weights, bias, more) >= 19 > before
  assert heard(head, weights, bias, others) <= 1


def test_two_runs_give_the_same_bytes():
  one, other = trained(), trained()
  assert one[0].tobytes() == other[0].tobytes()
  assert one[1].tobytes() == other[1].tobytes()
  assert (one[0].dtype, one[1].dtype) == (np.int8, np.int32)


def test_only_the_row_of_the_word_trains():
  head = heads.head("SOFTMAX", 3)
  weights, bias = trained(head)
  assert (weights[1:] == head.weights[1:]).all()
  assert (bias[1:] == head.bias[1:]).all()
  assert (weights[0] != head.weights[0]).any()


def test_weights_stay_in_their_box_while_they_train():
  head = heads.head(
    weights=np.full((1, heads.FEATURES), 126, np.int8),
    weight_scales=(1e-4,),
    bias_scales=(2e-6,),
  )
  weights, _ = trained(head, learning_rate=30.0)
  assert np.abs(weights.astype(int)).max() == 127


def test_a_pull_keeps_a_head_near_its_start():
  head = heads.head()

  def moved(pull):
    weights, _ = trained(head, pull=pull)
    return np.abs(weights.astype(int) - head.weights).mean()

  assert moved(3.0) < moved(0.3) < moved(0.0)


def test_negatives_that_weigh_more_lower_the_odds_of_negatives():
  def cost(seconds):
    weights, bias = trained(negative_seconds=seconds)
    row = Row.of(heads.head(), 0)
    z = [row.accumulators(s, weights[0], int(bias[0])).max() for s in NEGATIVES]
    return np.mean(z)

  assert cost(20.0) < cost(2.0) < cost(0.2)


def test_training_lowers_its_loss():
  row = Row.of(heads.head(), 0)
  task = Task.of(row, POSITIVES, NEGATIVES, KEEPERS, heads.RULE, SETTINGS)
  params, losses = task.start, []
  for step in range(80):
    losses.append(task.charge(params, step).loss)
    params = task.step(params, step)
  assert losses[-1] < losses[30] < losses[0] / 5


def test_training_that_raised_its_loss_is_done_again_with_shorter_steps():
  head = heads.head()
  far = trained(head, learning_rate=100.0)
  others = heads.streams(20, OTHER, seed=9)
  assert heard(head, *far, heads.streams(20, WORD, seed=8)) >= 19
  assert heard(head, *far, others) <= 1


def test_equal_positives_train_as_one_does():
  one = trained(positives=POSITIVES[:1])
  many = trained(positives=POSITIVES[:1] * 4)
  assert np.abs(one[0].astype(int) - many[0]).max() <= 1


def test_full_scale_streams_of_a_wide_head_do_not_wrap():
  random = np.random.default_rng(0)
  wide = heads.head(
    weights=np.full((1, 2000), 127, np.int8), bias=np.int32([2**31 - 1])
  )
  loud = [random.choice(np.int8([-128, 127]), (30, 2000)) for _ in range(3)]
  quiet = [np.full((30, 2000), -128, np.int8)]
  weights, bias = train_head(
    wide, loud, quiet, [], heads.RULE, dataclasses.replace(SETTINGS, steps=5)
  )
  assert weights.shape == (1, 2000)
  assert abs(int(bias[0])) < 2**31


@pytest.mark.parametrize(
  "changed, text",
  [
    ({"positives": []}, "no positives: give at least one"),
    ({"negatives": []}, "no negatives: without speech"),
    ({"positives": [POSITIVES[0][:4]]}, "positive 0: it has 4 steps"),
    ({"negatives": [NEGATIVES[0][:2]]}, "negative 0: it has 2 steps"),
    ({"positives": [POSITIVES[0][:, :5]]}, "positive 0: int8 .40, 5. is no"),
    ({"negatives": [NEGATIVES[0].astype(float)]}, "negative 0: float64"),
    ({"head": heads.head("")}, "ends in no LOGISTIC or SOFTMAX"),
    ({"head": heads.head("SOFTMAX")}, "a SOFTMAX over one output"),
  ],
)
def test_what_cannot_be_trained_on_is_refused_by_name(changed, text):
  with pytest.raises(TflmFgError, match=text) as caught:
    trained(**changed)
  assert "\n" not in str(caught.value)


def test_an_output_that_is_not_there_is_refused():
  rule = dataclasses.replace(heads.RULE, output=1)
  with pytest.raises(TflmFgError, match="output=1: the model has 1 outputs"):
    train_head(heads.head(), POSITIVES, NEGATIVES, [], rule, SETTINGS)


@pytest.mark.parametrize(
  "changed, text",
  [
    ({"steps": 0}, "steps=0: need 1 to"),
    ({"steps": 1.5}, "steps=1.5: need a whole number"),
    ({"pull": -1.0}, "pull=-1.0: need 0 to 64"),
    ({"margin": float("nan")}, "margin=nan: need 0 to 20"),
    ({"folds": 1}, "folds=1: need 2 to 64"),
  ],
)
def test_settings_out_of_range_are_refused(changed, text):
  with pytest.raises(TflmFgError, match=text):
    Settings(**changed)
