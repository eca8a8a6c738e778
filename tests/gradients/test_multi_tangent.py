"""The projection is exact, whatever the directions are, and beats the mean."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.test_estimator_optimizer import LAYOUT, START
from tests.options import method_of
from tflm_fg.fixed_point.state import (
  EMPTY,
  Estimate,
  OptimizerState,
  TrainState,
)
from tflm_fg.gradients.multi_tangent import projected, solve
from tflm_fg.types import Vectors


def wide(vectors):
  """The float projection, scaled as documented, by a pseudoinverse."""
  v = vectors.astype(float).T
  return v @ np.linalg.pinv(v.T @ v)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), m=st.integers(1, 9))
def test_the_solution_is_exact(seed, m):
  random = np.random.default_rng(seed)
  drawn = random.integers(-127, 128, (m, int(random.integers(1, 12))))
  if m > 2:
    drawn[m // 2] = 3 * drawn[0] - drawn[1]  # one that depends on others
  gram = [[int(x) for x in row] for row in drawn @ drawn.T]
  slopes = [int(s) for s in random.integers(-(2**31), 2**31, m)]
  numerators, denominator, kept = solve(gram, slopes)
  assert len(kept) == np.linalg.matrix_rank(drawn)
  for i in kept:
    total = sum(Fraction(gram[i][j] * numerators[j], denominator) for j in kept)
    assert total == slopes[i]
  assert not any(numerators[i] for i in range(m) if i not in kept)


@pytest.mark.parametrize("unit", [1, 32])
@pytest.mark.parametrize("m", [1, 2, 5, 8])
def test_the_projection_has_the_slopes_that_were_measured(unit, m):
  random = np.random.default_rng(m)
  drawn = random.integers(-3 * unit, 3 * unit + 1, (m, 200)).astype(np.int8)
  slopes = random.integers(-(2**24), 2**24, m)
  got = projected(drawn, slopes, unit) / 65536
  length = (drawn.astype(float) ** 2).sum() / m / unit**2
  want = wide(drawn / unit) @ (slopes / 65536) * length / m
  assert np.abs(got - want).max() <= 0.51 / 65536 * (1 + 1e-6)


def test_the_estimators_gradient_is_the_projection_and_not_the_mean():
  method = method_of(
    "multi-tangent",
    num_directions=4,
    epsilon_lsb=2.0,
    guidance=0.9,
    momentum=0.9,
  )
  estimator = method.estimator(LAYOUT, 1)
  velocity = Vectors(
    np.full(LAYOUT.num_kernels, 900), np.full(LAYOUT.num_biases, 900)
  )
  state = TrainState(3, START, OptimizerState(velocity, EMPTY, EMPTY))
  drawn = estimator.directions.of(state, 4)
  slopes = np.array([9 << 16, 8 << 16, -(3 << 16), 7 << 16])
  found = estimator.gradient(Estimate(slopes, slopes), state)
  flat = np.concatenate(found)
  unit = estimator.directions.unit
  assert np.array_equal(flat, projected(drawn, slopes, unit))
  # The slopes along the directions come out again, as no mean's would.
  length = (drawn.astype(float) ** 2).sum() / 4 / unit**2
  again = drawn.astype(float) @ flat / unit * 4 / length
  assert np.abs(again - slopes).max() < 1e-3 * np.abs(slopes).max()


def test_orthogonal_directions_give_the_plain_mean():
  drawn = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]], np.int8)
  slopes = np.array([300, -90, 33])
  assert projected(drawn, slopes, 1).tolist() == (slopes @ drawn // 3).tolist()


def test_a_direction_twice_counts_once_and_zeros_count_nothing():
  z = np.array([[1, -1, 1, 1]], np.int8)
  slopes = np.array([700, 700, 0])
  both = projected(np.concatenate([z, z, 0 * z]), slopes, 1)
  assert both.tolist() == projected(z, slopes[:1], 1).tolist()
  assert not projected(0 * z, slopes[:1], 1).any()


def test_nearly_equal_directions_saturate_and_do_not_wrap():
  drawn = np.full((2, 4000), 127, np.int8)
  drawn[1, 0] = 126
  got = projected(drawn, np.array([2**31 - 1, -(2**31) + 1]), 32)
  assert got.max() == 2**31 - 1
  assert abs(int(got[0])) == 2**31 - 1 or int(got[0]) == -(2**31)


def test_it_is_better_than_the_mean_where_directions_share_a_part():
  """Mean cosine with the gradient, of eight directions with a common part."""
  random = np.random.default_rng(0)
  cosines = {"mean": [], "projection": []}
  for _ in range(200):
    gradient = random.normal(size=300)
    common = random.choice([-24, 24], 300)
    drawn = (random.choice([-20, 20], (8, 300)) + common).astype(np.int8)
    slopes = np.rint(drawn @ gradient / 32 * 65536).astype(np.int64)
    found = {
      "mean": slopes @ drawn.astype(float),
      "projection": projected(drawn, slopes, 32).astype(float),
    }
    for name, g in found.items():
      size = np.linalg.norm(g) * np.linalg.norm(gradient)
      cosines[name].append(g @ gradient / size)
  mean, projection = (np.mean(cosines[n]) for n in ("mean", "projection"))
  assert projection == pytest.approx((8 / 300) ** 0.5, rel=0.1)
  assert projection > 1.2 * mean


def test_independent_directions_give_it_little_to_gain():
  """Cosines sqrt(m / d) against sqrt(m / (d + m)): hardly apart at m << d."""
  random = np.random.default_rng(1)
  gradient = random.normal(size=300)
  ratios = []
  for _ in range(100):
    drawn = random.choice([-1, 1], (8, 300)).astype(np.int8)
    slopes = np.rint(drawn @ gradient * 65536).astype(np.int64)
    g = projected(drawn, slopes, 1).astype(float)
    plain = slopes @ drawn.astype(float)
    ratios.append(
      g
      @ gradient
      / np.linalg.norm(g)
      / (plain @ gradient)
      * np.linalg.norm(plain)
    )
  assert np.mean(ratios) == pytest.approx((308 / 300) ** 0.5, abs=0.01)
  assert min(ratios) >= 1 - 1e-6  # nothing in the span is nearer
