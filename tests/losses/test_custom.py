"""A user's own function is a loss, rounded once, or refused in one line."""

import math

import numpy as np
import pytest

from tflm_fg.losses.custom import BlackBox
from tflm_fg.losses.squared_error import (
  Grid,
)
from tflm_fg.types import TflmFgError


def black_box(function):
  return BlackBox(
    function=function, grid=Grid(scale=0.5, zero_point=-4, bits=8)
  )


LOGITS = np.array([[0, 4], [6, -4], [8, 9]], np.int8)
LABELS = np.array([1, 0, 0])


def test_a_function_sees_real_outputs_and_its_value_is_rounded_once():
  seen = []

  def own(outputs, targets):
    seen.append((outputs, targets))
    return np.abs(outputs).sum(axis=1) / 7

  loss = black_box(own)
  got = loss.per_sample(LOGITS, LABELS)
  assert seen[0][0].tolist() == [[2, 4], [5, 0], [6, 6.5]]
  assert seen[0][1].tolist() == LABELS.tolist()
  exact = np.array([6, 5, 12.5]) / 7
  assert np.abs(got * loss.unit - exact).max() <= loss.unit / 2
  assert loss(LOGITS, LABELS) == got.sum()


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5), True])
def test_one_number_for_all_counts_once_a_sample(value):
  loss = black_box(lambda outputs, targets: value)
  total = loss(LOGITS, LABELS)
  assert isinstance(total, int)
  assert loss.mean(total, 3) == pytest.approx(float(value), abs=loss.unit)
  with pytest.raises(TflmFgError, match="one number for all"):
    loss.per_sample(LOGITS, LABELS)


def test_a_loss_too_small_to_be_seen_says_so():
  loss = black_box(lambda outputs, targets: 1e-9)
  with pytest.warns(UserWarning, match="gave less than its smallest unit"):
    assert loss(LOGITS, LABELS) == 0


def _fails(outputs, targets):
  raise KeyError("a word\nin two lines")


def _writes(outputs, targets):
  targets[0] = 9
  return 0.0


@pytest.mark.parametrize(
  ("function", "words"),
  [
    (lambda o, t: math.nan, "gave nan"),
    (lambda o, t: math.inf, "gave inf"),
    (lambda o, t: [0.0, math.nan, 0.0], "gave nan"),
    (lambda o, t: 5000.0, "gave 5000"),
    (lambda o, t: None, "gave NoneType"),
    (lambda o, t: "low", "gave str"),
    (lambda o, t: 1j, "gave complex"),
    (lambda o, t: [0.0, 1.0], r"list of shape \[2\]"),
    (lambda o, t: o, r"ndarray of shape \[3, 2\]"),
    (lambda o, t: [[1], [1, 2]], "gave list"),
    (lambda o: 0.0, "TypeError"),
    (_fails, "failed with KeyError: 'a word"),
    (_writes, "read-only"),
  ],
)
def test_what_is_no_loss_is_refused_in_one_line(function, words):
  with pytest.raises(TflmFgError, match=words) as caught:
    black_box(function)(LOGITS, LABELS)
  assert "\n" not in str(caught.value)
