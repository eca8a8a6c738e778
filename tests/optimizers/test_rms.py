"""A step over the root mean square, in integers, against the same in floats."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import models
from tflm_fg.fixed_point import layout
from tflm_fg.fixed_point.arithmetic import integer_root, round_divide
from tflm_fg.optimizers.rms import MOST_SLOPE, rms
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.types import Vectors

MARKED = mark_file(models.dense_model(), "all")
LAYOUT = layout.Layout(MARKED.mark.trainable)
START = LAYOUT.params(weights_of(MARKED.data, MARKED.mark.trainable))
KERNELS, BIASES = (len(p) for p in START)


def slopes_of(sizes):
  """One slope a number, of sizes that take turns."""
  return Vectors(
    np.resize(np.array(sizes, np.int64), KERNELS),
    np.resize(np.array(sizes, np.int64), BIASES),
  )


def in_floats(gradients, rate, momentum):
  """What every step moves by, in units, as real numbers."""
  units = np.concatenate(LAYOUT.step_units)
  mean, velocity, moves = 0.0, 0.0, []
  for step, gradient in enumerate(gradients):
    slopes = np.concatenate(gradient) / 65536
    mean = mean * 15 / 16 + slopes**2 / 16
    root = np.sqrt(mean / (1 - (15 / 16) ** (step + 1)))
    ratio = np.divide(slopes, root, out=np.zeros_like(slopes), where=root > 0)
    velocity = momentum * velocity - (1 - momentum) * rate * units * ratio
    moves.append(velocity)
  return moves


@pytest.mark.parametrize("momentum", [0.0, 0.75])
@pytest.mark.parametrize("size", [60, 3_000, 200_000])
def test_steps_are_those_of_floats_from_the_first_to_the_three_hundredth(
  size, momentum
):
  random = np.random.default_rng(size)
  gradients = [
    slopes_of(random.integers(-size, size + 1, 23)) for _ in range(300)
  ]
  optimizer, moved = rms(LAYOUT, schedule(2.0, "constant", 1), momentum), []
  state = optimizer.init(START)
  for step, gradient in enumerate(gradients):
    updates, state = optimizer.update(gradient, state, START, step)
    moved.append(np.concatenate(updates))
  wanted = np.array(in_floats(gradients, 2.0, momentum))
  units = np.concatenate(LAYOUT.step_units)
  away = np.abs(np.array(moved) - wanted)
  # A unit of rounding, and of the root what its whole numbers are worth.
  assert (away <= 1 + 0.03 * units).all()
  assert away.mean() < 0.5 + 0.003 * units.mean()


def test_the_first_step_is_the_rate_however_steep_the_slope():
  optimizer = rms(LAYOUT, schedule(0.75, "constant", 1))
  gradient = slopes_of([50, -3_000, 10**6, -(10**9)])
  updates, _ = optimizer.update(gradient, optimizer.init(START), START, 0)
  assert set(np.abs(updates.kernels)) <= {191, 192, 193}
  assert (np.sign(updates.kernels) == -np.sign(gradient.kernels)).all()


def test_a_steady_slope_moves_a_number_by_the_rate_with_momentum_too():
  optimizer = rms(LAYOUT, schedule(0.5, "constant", 1), 0.75)
  state, gradient = optimizer.init(START), slopes_of([700])
  for step in range(60):
    updates, state = optimizer.update(gradient, state, START, step)
  assert set(updates.kernels) <= {-128, -127, -126}


def test_a_sudden_slope_moves_at_most_four_times_the_rate():
  optimizer = rms(LAYOUT, schedule(1.0, "constant", 1))
  state = optimizer.init(START)
  for step in range(300):
    _, state = optimizer.update(slopes_of([1]), state, START, step)
  updates, state = optimizer.update(slopes_of([10**5]), state, START, 300)
  assert np.abs(updates.kernels + 4 * 256).max() <= 1
  small, _ = optimizer.update(slopes_of([10**4]), state, START, 301)
  assert np.abs(small.kernels).max() < 120  # it remembers the large one


def test_the_largest_slopes_do_not_overflow():
  optimizer = rms(LAYOUT, schedule(1.0, "constant", 1), 0.9)
  state = optimizer.init(START)
  for step in range(400):
    huge = slopes_of([1 << 40, -(1 << 40)])
    updates, state = optimizer.update(huge, state, START, step)
  assert np.abs(np.abs(updates.kernels) - 256).max() <= 4
  for sums in state.squares:
    assert sums.dtype == np.int64
    assert sums.min() >= 0
    assert sums.max() <= 16 * MOST_SLOPE**2


def test_what_it_was_given_stays_as_it_was():
  optimizer = rms(LAYOUT, schedule(1.0, "constant", 1), 0.5)
  gradient, first = slopes_of([9, -70_000]), optimizer.init(START)
  _, before = optimizer.update(slopes_of([8, 5]), first, START, 0)
  kept = [a.copy() for a in (*gradient, *before.squares, *before.velocity)]
  optimizer.update(gradient, before, START, 1)
  now = (*gradient, *before.squares, *before.velocity)
  assert all(map(np.array_equal, kept, now))


@settings(max_examples=50, deadline=None)
@example(root=2**31 - 1, more=-1)
@example(root=2**31 - 1, more=0)
@given(root=st.integers(0, 2**31 - 1), more=st.integers(-1, 1))
def test_the_integer_root_is_exact(root, more):
  x = np.array([max(root * root + more, 0)], np.int64)
  assert integer_root(x).tolist() == [math.isqrt(int(x[0]))]


def test_divisors_of_an_array_round_half_away_from_zero():
  got = round_divide(np.array([5, -5, 7, 8]), np.array([2, 2, 1, 3]))
  assert got.tolist() == [3, -3, 7, 3]
