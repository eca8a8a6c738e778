"""Classes that are left out say what training does to such classes."""

import numpy as np
import pytest

from tests import models
from tflm_fg.forgetting.class_folds import FEWEST, judged, verdict
from tflm_fg.forgetting.coverage import Coverage
from tflm_fg.tflite.model_file import ModelFile

MODEL = ModelFile.of(models.dense_model(classes=8))
LABELS = np.repeat(np.arange(6), 5)
COVERAGE = Coverage.of(LABELS, [str(c) for c in range(8)])


class Loss:
  """As many units as the right logit lacks."""

  unit = 1.0

  @staticmethod
  def per_sample(logits, labels):
    return 10 - logits[np.arange(len(labels)), labels]


def answers(gain):
  """What files answer: the one that was trained is better by a gain."""

  def run(file, rows):
    own = LABELS[rows]
    logits = np.zeros((len(rows), 8))
    # The first file is right on every other sample.
    logits[np.arange(len(rows)), own] = np.where(rows % 2, 1.0, -1.0)
    if file is not MODEL:
      logits[np.arange(len(rows)), own] += gain
    return logits, Loss

  return run


def judge(gain, coverage=COVERAGE, seen=None):
  def trained(fit):
    if seen is not None:
      seen.append(set(LABELS[fit]))
    return ModelFile.of(models.dense_model(classes=8, seed=1))

  return judged(MODEL, LABELS, coverage, trained, answers(gain))


def test_every_shown_class_is_left_out_once():
  seen = []
  assert not judge(2.0, seen=seen).fault
  assert [set(range(6)) - own for own in seen] == [{0, 2, 4}, {1, 3, 5}]


def test_what_helps_classes_that_were_left_out_has_no_fault():
  found = judge(2.0)
  assert not found.fault
  assert found.gain == pytest.approx(2.0)


def test_what_harms_them_is_told():
  assert "% more of their samples" in judge(-2.5).fault


def test_what_changes_nothing_is_not_surely_better():
  assert "not surely better" in judge(0.0).fault


def test_a_gain_that_chance_may_have_given_is_not_enough():
  gained = np.array([3.0, -2.5] * 10)
  same, of = np.zeros(20, np.int64), np.repeat(np.arange(4), 5)
  assert "not surely better" in verdict(gained, same, of)
  assert not verdict(np.ones(20), same, of)


@pytest.mark.parametrize(
  ("gains", "is_sure"),
  [
    ((2.1, 0.6, 0.1, 0.5, 0.9, 0.1, 0.0, -0.15), False),  # 2 standard errors
    ((1.0, 0.6, 0.9, 0.5, 0.9, 0.3, 0.2, 0.4), True),
    ((9.0, 0.0, 0.0, 0.1), False),  # one class alone
    ((1.0, 1.1, 0.9, 1.0), True),
  ],
)
def test_classes_are_counted_and_not_their_samples(gains, is_sure):
  for each in (3, 300):
    of = np.repeat(np.arange(len(gains)), each)
    gained = np.repeat(gains, each)
    said = verdict(gained, np.zeros(len(of), np.int64), of)
    assert (not said) == is_sure


def test_few_classes_cannot_judge():
  rows = LABELS < FEWEST - 1
  few = Coverage.of(LABELS[rows], COVERAGE.names)
  assert f"samples of {FEWEST - 1} classes" in judge(2.0, few).fault
