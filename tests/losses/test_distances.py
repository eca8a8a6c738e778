"""Integer distances are float64's, within their stated errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflm_fg.losses.squared_error import (
  FINE_BITS,
  MAX_ERROR,
  Grid,
  SquaredError,
  huber,
)

GRIDS = st.builds(
  lambda bits, reach, share: Grid(
    scale=reach / (1 << bits),
    zero_point=round(share * ((1 << bits) - 1)) - (1 << (bits - 1)),
    bits=bits,
  ),
  st.sampled_from([8, 16]),
  st.floats(1e-6, 1e6),
  st.floats(0, 1),
)


@st.composite
def outputs_and_targets(draw):
  """Integers of a tensor, and real targets up to a range beyond its ends."""
  grid = draw(GRIDS)
  shape = draw(st.integers(1, 5)), draw(st.integers(1, 6))
  random = np.random.default_rng(draw(st.integers(0, 2**32)))
  high = 1 << (grid.bits - 1)
  outputs = random.integers(-high, high, shape).astype(f"int{grid.bits}")
  low, top = grid.ends
  return (
    grid,
    outputs,
    random.uniform(low - grid.range, top + grid.range, shape),
  )


def float_huber(errors, delta):
  near = np.minimum(np.abs(errors), delta)
  return (near * (2 * np.abs(errors) - near)).mean(axis=1)


@settings(max_examples=100)
@given(outputs_and_targets(), st.floats(1e-4, 4))
def test_squares_and_huber_are_float64s_within_the_stated_bound(case, share):
  grid, outputs, y = case
  delta = share * grid.range
  errors = (outputs.astype(float) - grid.zero_point) * grid.scale - y
  targets = grid.put(y)
  for loss, exact in (
    (SquaredError(grid=grid), (errors**2).mean(axis=1)),
    (huber(grid, delta), float_huber(errors, delta)),
  ):
    got = loss.per_sample(outputs, targets)
    assert got.dtype == np.int64
    bound = MAX_ERROR * grid.range**2
    assert np.abs(got * loss.unit - exact).max() < bound
    assert loss(outputs, targets) == got.sum()
    assert loss.ledger(1, *outputs.shape)([outputs], targets) == [got.sum()]
  mean = SquaredError(grid=grid).mean_absolute(outputs, targets)
  assert abs(mean - np.abs(errors).mean()) < 2.0**-20 * grid.range


@given(outputs_and_targets())
def test_huber_is_the_square_to_the_last_bit_where_delta_is_beyond(case):
  grid, outputs, y = case
  targets = grid.put(y)
  square, other = SquaredError(grid=grid), huber(grid, 3 * grid.range)
  for of in ("per_sample", "residual"):
    np.testing.assert_array_equal(
      getattr(square, of)(outputs, targets),
      getattr(other, of)(outputs, targets),
    )
  near = huber(grid, 0.01 * grid.range)(outputs, targets)
  far = np.abs(grid.fine(outputs) - targets) > 0.011 * 2**FINE_BITS
  assert near <= square(outputs, targets)
  if far.any():
    assert near < square(outputs, targets)


@given(outputs_and_targets(), st.floats(1e-4, 4))
def test_residuals_are_half_the_error_up_to_delta(case, share):
  """Half: then they rise by 1/2 an output at most, as softmax's do."""
  grid, outputs, y = case
  errors = (outputs.astype(float) - grid.zero_point) * grid.scale - y
  for loss, delta in (
    (SquaredError(grid=grid), np.inf),
    (huber(grid, share * grid.range), share * grid.range),
  ):
    got = loss.residual(outputs, grid.put(y)) / 65536 * loss.reach
    want = np.clip(errors, -delta, delta) / 2
    assert np.abs(got - want).max() < 2e-5 * grid.range


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("zero_point", [-100, 0, 30])
def test_a_class_is_a_quarter_of_the_range_above_the_middle(bits, zero_point):
  grid = Grid(scale=0.25, zero_point=zero_point, bits=bits)
  loss = SquaredError(grid=grid)
  quarter = 1 << (bits - 2)
  best = np.full((3, 4), -quarter, f"int{bits}")
  best[np.arange(3), [0, 2, 3]] = quarter
  # The middle of -128 to 128 is 0, whatever that stands for.
  assert loss(best, np.array([0, 2, 3])) == 0
  assert loss(best, np.array([0, 2, 1])) > 0
  assert loss.mean_absolute(best, np.array([0, 2, 1])) is None


def test_targets_far_away_or_huge_count_as_lying_a_range_beyond():
  grid = Grid(scale=1e-3, zero_point=5, bits=8)
  low, high = grid.ends
  got = grid.put(np.array([1e308, -1e308, high + grid.range, 0.0]))
  assert got[0] == got[2] and got[3] == 0
  assert got[1] == grid.put(np.array(low - grid.range))
