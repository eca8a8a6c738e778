"""The tail of odds says what is rare, and a rank says what is like the word."""

import math

import numpy as np
import pytest

from tflm_fg.detection.near_misses import (
  BLOCK_SECONDS,
  likeness,
  log_odds_of,
  tail_of,
)

STEP = BLOCK_SECONDS  # a block a step


def test_an_exponential_tail_is_found_again():
  """Blocks whose odds exceed x at a rate of exp(-x / 2)."""
  random = np.random.default_rng(0)
  odds = random.exponential(2.0, 20000) - 8.0
  tail = tail_of(np.split(odds, 10), STEP)
  hours = 20000 * STEP / 3600
  for cutoff in (0.995, 0.9995):
    expected = 20000 * math.exp(-(log_odds_of(cutoff) + 8.0) / 2.0) / hours
    assert tail.above(cutoff) == pytest.approx(expected, rel=0.5)
  assert tail.above(0.995) > tail.above(0.9995)


def test_a_lower_model_has_fewer_near_misses():
  odds = np.random.default_rng(1).normal(-6, 2, 500)
  assert tail_of([odds - 2], STEP).above(0.9) < tail_of([odds], STEP).above(0.9)


def test_within_what_was_seen_the_tail_says_no_more_than_that():
  tail = tail_of([np.linspace(-5, 20, 200)], STEP)
  assert tail.above(0.5) == tail.an_hour


def test_equal_odds_have_no_tail():
  tail = tail_of([np.full(100, -5.0)], STEP)
  assert tail.above(0.9) == 0.0


@pytest.mark.parametrize("odds", [[], [np.zeros(0)], [np.zeros(16)]])
def test_too_few_blocks_say_nothing(odds):
  assert math.isnan(tail_of(odds, STEP).above(0.9))


def test_likeness_is_the_share_of_other_sound_that_is_less_near():
  others = [np.repeat(np.arange(10.0), 3)]
  words = [np.array([-1.0, 4.5, 0.0]), np.full(3, 9.0), np.full(3, -1.0)]
  assert likeness(words, others) == pytest.approx([0.5, 0.95, 0.0])
