"""The integer losses are the real ones, within their stated errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflm_fg.losses import base, cross_entropy
from tflm_fg.losses.base import mean_nats
from tflm_fg.losses.cross_entropy import CrossEntropy, exp2_negative, log2_of
from tflm_fg.losses.custom import BlackBox
from tflm_fg.losses.squared_error import (
  FINE_BITS,
  MAX_ERROR,
  Grid,
  SquaredError,
  huber,
)
from tflm_fg.types import TflmFgError


def float_loss(logits, labels, scale):
  z = logits.astype(np.float64) * scale
  top = z.max(axis=1, keepdims=True)
  total = np.log(np.exp(z - top).sum(axis=1)) + top[:, 0]
  return total - z[np.arange(len(z)), labels]


def plain_loss(logits, labels, loss):
  """The definition, a sample and a class at a time, in Python's integers."""
  power, rate = loss.power.tolist(), loss.distance.tolist()
  table = [round(2.0**30 * math.log2(1 + i / 256)) for i in range(257)]
  losses = []
  for row, label in zip(logits.tolist(), labels.tolist()):
    total = sum(power[max(row) - own] for own in row)
    top = total.bit_length() - 1
    fraction = ((total << 48) >> top) - (1 << 48)  # [0, 1) in Q48
    index, rest = fraction >> 40, (fraction >> 24) & 0xFFFF
    log2 = table[index] + (((table[index + 1] - table[index]) * rest) >> 16)
    losses.append(
      ((top - 24) << 16) + (log2 >> 14) + rate[max(row) - row[label]]
    )
  return losses


@pytest.mark.parametrize("classes", [2, 3, 12, 127, 128, 1000])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_fast_loss_is_the_plain_one_to_the_last_bit(bits, classes):
  random = np.random.default_rng(classes + bits)
  high = 1 << (bits - 1)
  loss = CrossEntropy(random.uniform(2, 40) / high, bits)
  ledger = cross_entropy.Ledger(loss, 3, 12, classes)
  for number in range(4):
    reach = (high, 3, high // 2, high)[number]
    passes = random.integers(-reach, reach, (3, 12, classes))
    if number == 3:  # the far ends of the range
      passes = np.where(passes > 0, high - 1, -high)
    passes = passes.astype(f"int{bits}")
    labels = random.integers(0, classes, 12)
    got = ledger.per_sample(list(passes), labels)
    assert got.dtype == np.int64
    for row, logits in zip(got, passes):
      assert row.tolist() == plain_loss(logits, labels, loss)
    assert ledger(list(passes), labels).tolist() == got.sum(axis=1).tolist()
    assert loss(passes[1], labels) == got[1].sum()


def worst_error(logits, labels, scale, bits):
  got = CrossEntropy(scale, bits).per_sample(logits, labels)
  exact = float_loss(logits, labels, scale)
  return np.abs(got * base.NATS_PER_UNIT - exact).max()


@pytest.mark.parametrize("classes", [2, 12, 1024])
@pytest.mark.parametrize("bits", [8, 16])
def test_error_against_float64_is_within_the_stated_bound(bits, classes):
  random = np.random.default_rng(classes)
  high = 1 << (bits - 1)
  logits = random.integers(-high, high, (500, classes))
  logits = logits.astype(f"int{bits}")
  labels = random.integers(0, classes, 500)
  for reach in (0.5, 4.0, 40.0):
    scale = reach / high
    error = worst_error(logits, labels, scale, bits)
    assert error < cross_entropy.MAX_ERROR_NATS


@settings(max_examples=50)
@given(
  st.lists(st.integers(-128, 127), min_size=2, max_size=20),
  st.floats(1e-3, 1.0),
  st.data(),
)
def test_any_int8_logits_stay_within_the_bound(row, scale, data):
  label = data.draw(st.integers(0, len(row) - 1))
  logits = np.array([row], np.int8)
  assert worst_error(logits, [label], scale, 8) < cross_entropy.MAX_ERROR_NATS


def test_loss_is_an_integer_and_the_sum_of_its_samples():
  random = np.random.default_rng(0)
  logits = random.integers(-128, 128, (30, 5)).astype(np.int8)
  labels = random.integers(0, 5, 30)
  loss = CrossEntropy(0.1)
  total = loss(logits, labels)
  assert isinstance(total, int)
  assert total == sum(
    loss(logits[i : i + 1], labels[i : i + 1]) for i in range(30)
  )


def test_equal_logits_cost_log_of_the_classes():
  loss = CrossEntropy(0.1)(np.zeros((1, 8), np.int8), np.array([3]))
  assert loss == 3 << base.LOSS_BITS
  assert mean_nats(loss, 1) == pytest.approx(math.log(8))


def test_a_shift_of_all_logits_changes_nothing():
  logits = np.array([[-20, 30, 5]], np.int8)
  loss = CrossEntropy(0.2)
  assert loss(logits, np.array([2])) == loss(
    logits + np.int8(50), np.array([2])
  )


def test_a_larger_own_logit_never_costs_more():
  loss = CrossEntropy(0.05)
  costs = [
    loss(np.array([[own, 10, -40]], np.int8), np.array([0]))
    for own in range(-128, 128)
  ]
  assert costs == sorted(costs, reverse=True)


def test_tables_agree_with_float64_at_every_kind_of_argument():
  x = np.arange(0, 30 << 16, 997, dtype=np.int64)
  exact = 2.0 ** (-x / 65536) * 2**24
  assert np.abs(exp2_negative(x) - exact).max() < 2**24 * 2e-6 + 1
  y = np.unique(np.geomspace(2**24, 2**40, 5000).astype(np.int64))
  assert np.abs(log2_of(y) / 65536 - np.log2(y / 2**24)).max() < 3e-5


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
