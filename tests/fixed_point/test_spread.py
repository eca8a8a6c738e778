"""What is measured of an input is integers, and what floats would say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflm_fg.fixed_point.arithmetic import as_factors
from tflm_fg.fixed_point.spread import Factors, scaled, spread_of, steepest


def inputs(seed, most=255, samples=200, size=12):
  random = np.random.default_rng(seed)
  deviations = most / 4 * random.random(size) ** 4
  x = random.normal(0, 1, (samples, size)) * deviations
  x[:, 0] = 0  # a dead channel
  return np.rint(x + most / 9).clip(-most, most).astype(np.int64)


def floats(x, centre):
  square = ((x - centre) ** 2).mean(axis=0)
  spread = np.sqrt(square) + np.sqrt(square.max()) / 20
  return square, np.log2(np.maximum(spread, 1))


@pytest.mark.parametrize("most", [255, 65535])
def test_spreads_and_length_are_those_of_floats(most):
  for seed in range(20):
    x = inputs(seed, most)
    found = spread_of(x, centred=True)
    square, logs = floats(x, found.centre)
    assert np.abs(found.bits - logs).max() < 0.5 + 0.01
    length = (square / 4.0**found.bits).sum() + 1 / 16
    assert found.mean_square / 65536 == pytest.approx(length, rel=1e-3)


def test_a_spread_between_two_powers_goes_to_the_nearer_one():
  # One input's spread is its deviation and 1/20 more.
  for deviation in (1, 3, 10, 14, 40, 120):
    x = np.array([[deviation], [-deviation]], np.int64)
    want = round(np.log2(deviation * 1.05))
    assert spread_of(x, centred=True).bits.tolist() == [want]


def test_constant_inputs_have_no_spread_and_the_least_length():
  found = spread_of(np.full((7, 3), -100, np.int64), centred=True)
  assert found.bits.tolist() == [0, 0, 0]
  assert found.mean_square == 4096
  assert found.centre.tolist() == [-100] * 3


def test_the_largest_inputs_fit():
  x = np.full((1 << 12, 4), (1 << 17) - 1, np.int64)
  x[::2] *= -1
  found = spread_of(x, centred=True)
  assert found.bits.tolist() == [17] * 4
  assert 0 < found.mean_square < 1 << 20


def test_the_steepest_direction_is_the_largest_eigenvalue_and_a_tenth():
  for seed in range(10):
    x = inputs(seed)
    bits = spread_of(x, centred=True).bits
    away = x - np.rint(x.mean(axis=0)).astype(np.int64)
    scaled_down = away / 2.0**bits
    most = np.linalg.eigvalsh(scaled_down.T @ scaled_down / len(x))[-1]
    got = steepest(away, bits) / 65536
    assert got == pytest.approx(1.1 * most, rel=0.02)


def test_no_input_has_no_steepest_direction():
  assert steepest(np.zeros((4, 3), np.int64), np.zeros(3, np.int64)) == 0


@given(
  st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6),
  st.integers(1, (1 << 62) - 1),
  st.integers(0, 16),
)
def test_factors_are_divided_with_sixteen_bits_left(reals, divisor, fraction):
  reals = np.array(reals)
  found = Factors(*as_factors(reals)).over(divisor, fraction)
  got = found.mantissas * 2.0**-found.bits
  want = reals / (divisor / 2.0**fraction)
  assert np.abs(got - want).max() <= 2.0**-15 * want.max()
  assert (1 << 15) <= found.mantissas.max() <= 1 << 17


@given(
  st.integers(-(1 << 62), 1 << 62),
  st.integers(0, 1 << 17),
  st.integers(-100, 100),
)
def test_scaled_sums_are_exact_and_never_wrap(total, factor, bits):
  got = int(scaled(np.array([total]), np.array([factor]), np.array(bits))[0])
  product = min(max(total, -(1 << 45)), 1 << 45) * factor
  if bits > 62:
    exact = 0 if abs(product) < 1 << 61 else got
  elif bits > 0:
    exact = (abs(product) + (1 << (bits - 1)) >> bits) * (1 - 2 * (product < 0))
  else:
    exact = product << -bits
  limit = (1 << 31) - 1

  def saturated(value):
    return min(max(value, -limit), limit)

  assert saturated(got) == saturated(exact)
