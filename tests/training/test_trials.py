"""A long phase tries learning rates, and takes what ends lowest."""

from __future__ import annotations

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import method_of, options
from tflm_fg.training import tuning
from tflm_fg.training.metrics import Score
from tflm_fg.training.tuning import FACTORS, tried, tries_rates

MODEL = models.dense_model(8, 16, 4)
LONG = tuning.SHORT_RUN + 1
FIRST = method_of(
  "sign-m-spsa", epsilon_lsb=2.0, learning_rate_lsb=0.5, steps=320
)


def score(total):
  return Score(
    samples=1, total=total, loss=0.0, correct=0, accuracy=0.0, answers=1
  )


@pytest.mark.parametrize("best", FACTORS)
def test_the_rate_of_the_lowest_end_is_taken_shorter_for_the_longer_run(best):
  ran = []

  def run(method):
    ran.append(method)
    off = method.learning_rate_lsb / (4 * 0.5 * best)
    return score(int(1000 * abs(np.log(off))))

  method, why = tried(FIRST, run)
  assert method.learning_rate_lsb == pytest.approx(best * 0.5, rel=1e-2)
  assert method.steps == FIRST.steps
  assert {own.steps for own in ran} == {FIRST.steps // tuning.SHARE}
  assert why.startswith(f"{method.learning_rate_lsb:g}: ")


@pytest.mark.parametrize(
  ("change", "tries"),
  [
    ({}, True),
    ({"learning_rate_lsb": 0.5}, False),
    ({"steps": tuning.SHORT_RUN}, False),
    ({"method": "node", "num_directions": 1}, False),
  ],
)
def test_long_unset_runs_of_forward_gradients_try(change, tries):
  given = {"method": "sign-m-spsa", "steps": LONG, **change}
  assert tries_rates(method_of(**given)) == tries


def test_all_weights_learn_with_nothing_set_and_one_seed_gives_the_same_bytes():
  """The steps that suit the start alone would end in noise."""
  x, y = models.separable(96)
  settings = options(method="sign-m-spsa", steps=320, batch_size=16)
  one, two = (
    tflm_fg.adapt(MODEL, x, y, trainable="all", **settings) for _ in range(2)
  )
  assert one.marked_model == two.marked_model
  assert one.report["loss_after"] < 0.8 * one.report["loss_before"]
  assert "in runs of 20 steps" in str(one.report["phases"][0]["chosen"])
  assert tflm_fg.replay(one.journal, one.start) == one.marked_model
