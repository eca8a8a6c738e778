"""How candidates are compared, and which one is taken."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tflm_fg.placement.candidates import (
  Candidate,
  InputStage,
  best_candidate,
)
from tflm_fg.placement.fold_losses import cooled_losses
from tflm_fg.tflite.graph_options import GraphOptions


def candidate(stage, head, losses, unseen=None):
  costs = np.array(losses, float)
  fresh = costs if unseen is None else np.array(unseen, float)
  return Candidate(
    InputStage(stage), head, GraphOptions(), (), (), costs, math.nan, fresh
  )


def test_the_input_stage_whose_better_head_costs_least_wins():
  candidates = [
    candidate("", "head", [3, 3, 3]),
    candidate("", "wide-head", [2, 2, 2]),
    candidate("prompt", "head", [1, 1, 1]),
    candidate("prompt", "wide-head", [4, 4, 4]),
  ]
  assert best_candidate(candidates) is candidates[2]
  assert best_candidate(candidates[:2]) is candidates[1]
  assert best_candidate(candidates[:1]) is candidates[0]
  assert candidates[2].trainable == "prompt,head"


@pytest.mark.parametrize(
  ("wide", "taken"),
  [
    ([1, 3], "wide-head"),  # 0.5 worse on the mean, give or take 0.7
    ([2, 2.1], "head"),  # 0.55 worse, give or take 0.04
    ([1.5, 1.5], "wide-head"),  # neither better nor worse
  ],
)
def test_a_wide_head_is_taken_unless_clearly_worse(wide, taken):
  candidates = [
    candidate("", "head", [1.5, 1.5]),
    candidate("", "wide-head", wide),
  ]
  assert best_candidate(candidates).head == taken


@pytest.mark.parametrize(
  ("unseen", "taken"),
  [
    ([1.0, 0.9], "prompt"),  # 0.55 better, give or take 0.04
    ([0.2, 2.0], ""),  # 0.4 better, give or take 0.6
    ([1.5, 1.5], ""),  # neither better nor worse
  ],
)
def test_an_input_stage_is_taken_where_it_surely_helps_samples_it_never_saw(
  unseen, taken
):
  bare = candidate("", "head", [1.5, 1.5, 1.5, 1.5], [1.5, 1.5])
  staged = candidate("prompt", "head", [*unseen, 0.1, 0.1], unseen)
  assert best_candidate([bare, staged]).input_stage.trainable == taken


@pytest.mark.parametrize("start", [2.0, -2.0])
@pytest.mark.parametrize(
  ("gain", "taken"), [(0.1, "prompt"), (0.01, ""), (0.0, ""), (-1.0, "")]
)
def test_one_number_for_all_samples_must_be_clearly_lower(start, gain, taken):
  """It has no spread: a hair's breadth is not sure."""
  bare = candidate("", "head", [start])
  staged = candidate("prompt", "head", [start - gain])
  assert best_candidate([bare, staged]).input_stage.trainable == taken


def in_folds(stage, head, losses):
  one = candidate(stage, head, losses)
  return one._replace(graph=object())


@pytest.mark.parametrize(
  ("stage", "head", "gain", "taken"),
  [
    ("", "head", 0.5, True),  # 2 standard errors
    ("", "head", 0.35, False),  # 1.4
    ("prompt", "head", 0.7, False),  # 2.8: it has seen these samples
    ("prompt", "", 1.0, True),  # 4
  ],
)
def test_the_file_stays_as_it_is_unless_something_is_surely_better(
  stage, head, gain, taken
):
  random = np.tile([1.0, -1.0], 8)  # a standard error of 1/4
  start = in_folds("", "", np.full(16, 5.0))
  other = in_folds(stage, head, 5.0 - gain + random)
  assert (best_candidate([start, other]) is other) == taken


def test_where_one_number_judges_what_is_lower_is_taken():
  start, other = in_folds("", "", [-1.0]), in_folds("prompt", "", [-1.005])
  assert best_candidate([start, other]) is other


def test_a_head_that_is_too_sure_is_judged_by_its_answers():
  """Eight times the logits is the same head, at another temperature."""
  random = np.random.default_rng(0)
  labels = [random.integers(0, 3, 40), random.integers(0, 3, 30)]
  logits = [
    random.integers(-9, 9, (len(y), 3)) + 5 * np.eye(3, dtype=int)[y]
    for y in labels
  ]
  some = [z.astype(np.int16) for z in logits]
  sure = [(8 * z).astype(np.int16) for z in logits]
  calm = cooled_losses(some, labels, 0.1)
  assert calm.shape == (70,)
  np.testing.assert_allclose(cooled_losses(sure, labels, 0.1 / 8), calm)
  np.testing.assert_allclose(
    cooled_losses(sure, labels, 0.1).mean(), calm.mean(), rtol=0.02
  )


def test_cooled_losses_are_cross_entropies_at_the_best_temperature():
  random = np.random.default_rng(1)
  y = random.integers(0, 4, 50)
  z = random.integers(-128, 128, (50, 4)).astype(np.int8)
  got = cooled_losses([z], [y], 0.05)
  costs = []
  for bend in 2.0 ** np.arange(-4, 1.25, 0.25):
    logits = z * 0.05 * bend
    each = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(50), y]
    costs.append(each.mean())
  assert got.mean() == pytest.approx(min(costs))
