"""One-sided and sharpness-aware slopes, on losses whose slopes are known."""

import dataclasses

import numpy as np
import pytest

from tests.contract.test_estimator_optimizer import (
  LAYOUT,
  START,
  Landscape,
  bowl,
  linear,
)
from tests.options import method_of
from tflm_fg.fixed_point.state import Estimate, TrainState
from tflm_fg.gradients.one_sided import over_spread
from tflm_fg.gradients.slopes import ONE


def estimator_of(method, m, **more):
  given = {"num_directions": m, "epsilon_lsb": 2.0, **more}
  return method_of(method, **given).estimator(LAYOUT, 1)


def steps(weights):
  """Kernel weights of a set, one behind the other."""
  kernels = [w for w, t in zip(weights, LAYOUT.tensors) if t.has_master]
  return np.concatenate([w.reshape(-1) for w in kernels]).astype(int)


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_spsa_slopes_are_nats_a_step_and_a_sample(epsilon, batch_size):
  """On a loss that is linear in the kernels, whatever epsilon is."""
  method = method_of("spsa", num_directions=5, epsilon_lsb=epsilon)
  estimator = method.estimator(LAYOUT, batch_size)
  state = TrainState(3, START)
  found = estimator(Landscape(linear), state).slopes
  drawn = estimator.directions.of(state, 5).astype(int)
  at = 0
  wanted = np.zeros(5)
  for number, tensor in enumerate(LAYOUT.tensors):
    if tensor.role == "kernel":
      slopes = np.random.default_rng(number).integers(-9, 10, tensor.shape)
      z = drawn[:, at : at + tensor.size]
      wanted += z @ slopes.reshape(-1) * 256 * np.log(2) / batch_size
      at += tensor.size
  assert np.abs(found - wanted).max() <= 2


@pytest.mark.parametrize("m", [1, 2, 9])
def test_one_sided_slopes_are_differences_over_the_losses_spread(m):
  random = np.random.default_rng(m)
  losses = random.integers(0, 10**9, m + 1)
  values = iter(losses)
  estimate = estimator_of("one-sided", m)(
    Landscape(lambda w: next(values)),
    TrainState(0, START),
  )
  want = (losses[1:] - losses[0]) / losses.std() * ONE
  assert np.abs(estimate.slopes - want).max() < 1
  assert np.abs(estimate.slopes).max() <= (2 * m + 2) ** 0.5 * ONE


def test_one_direction_of_one_side_is_a_sign():
  for loss, wanted in ((linear, 2 * ONE), (lambda w: 7, 0)):
    slopes = estimator_of("one-sided", 1)(
      Landscape(loss), TrainState(4, START)
    ).slopes
    assert np.abs(slopes).tolist() == [wanted]


def test_a_loss_twice_as_steep_gives_the_same_one_sided_step():
  state = TrainState(1, START)
  estimator = estimator_of("one-sided", 5)
  one = estimator(Landscape(bowl), state).slopes
  two = estimator(Landscape(lambda w: 2 * bowl(w)), state).slopes
  assert np.abs(one - two).max() <= 1


def test_huge_losses_have_a_spread_too():
  losses = np.array([0, 2**60, -(2**60)])
  want = losses / losses.std() * ONE
  assert np.abs(over_spread(losses) - want).max() < 1


@pytest.mark.parametrize("rho", [1.0, 6.0])
@pytest.mark.parametrize("m", [1, 4])
def test_sharpness_aware_slopes_are_taken_rho_uphill(m, rho):
  seen = []

  def watched(weights):
    seen.append(steps(weights))
    return linear(weights)

  state = TrainState(2, START)
  estimator = estimator_of("sharpness-aware", m, rho_lsb=rho)
  before = START.kernels.tobytes()
  estimator(Landscape(watched), state)
  assert before == START.kernels.tobytes()
  middles = [(a + b) / 2 for a, b in zip(seen[0::2], seen[1::2])]
  start = steps(LAYOUT.weights(START))
  for middle in middles[:m]:
    assert np.abs(middle - start).max() <= 0.5
  for middle in middles[m:]:
    moved = middle - start
    assert np.sqrt((moved**2).mean()) == pytest.approx(rho, rel=0.25)
    at = LAYOUT.weights(START)
    whole, first = [], 0
    for w, tensor in zip(at, LAYOUT.tensors):
      if tensor.has_master:
        w = w + moved[first : first + w.size].round().reshape(w.shape)
        first += moved[first : first + w.size].size
      whole.append(w)
    assert linear([w.astype(np.int64) for w in whole]) > linear(at)


def test_sharpness_aware_applies_the_slope_there_at_the_point_here():
  """Along the second draw, which is not the one that led uphill."""
  estimator = estimator_of("sharpness-aware", 1, rho_lsb=20.0)
  state = TrainState(0, START)
  estimate = estimator(Landscape(linear), state)
  again = Estimate(estimate.slopes, np.zeros(0, np.int64))
  second = estimator.directions.of(state, 2)[1]
  gradient = np.concatenate(estimator.gradient(again, state))
  assert np.array_equal(gradient, second * estimate.slopes[0])


def test_on_flat_ground_sharpness_aware_stays_where_it_is():
  seen = []
  estimator = estimator_of("sharpness-aware", 2, rho_lsb=50.0)
  state = TrainState(0, START)
  estimate = estimator(Landscape(lambda w: seen.append(steps(w)) or 3), state)
  assert not estimate.slopes.any()
  start = steps(LAYOUT.weights(START))
  for weights in seen:
    assert np.abs(weights - start).max() == 2


@pytest.mark.filterwarnings("ignore:epsilon_lsb")
def test_a_perturbation_under_one_step_shows_on_average_with_dither():
  """To the nearest it is rounded away whole; both sides share the dither."""
  whole = method_of("sign-m-spsa", epsilon_lsb=0.25)
  dithered = dataclasses.replace(whole, rounding="stochastic")
  seen = {"dithered": 0.0, "nearest": 0.0}
  for step in range(200):
    state = TrainState(step, START)
    for name, own in (("dithered", dithered), ("nearest", whole)):
      estimator = own.estimator(LAYOUT, 1)
      z = estimator.directions.of(state, 1)[0, : LAYOUT.num_kernels]
      ((plus, minus),) = estimator.weight_sets(state)
      moved = (steps(plus) - steps(minus)) * z
      assert moved.min() >= 0  # never against z, as its own dither would be
      seen[name] += moved.mean() / 200
  assert seen["nearest"] == 0
  assert seen["dithered"] == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("epsilon_lsb", [1.0, 4.0])
def test_whole_steps_need_no_dither(epsilon_lsb):
  method = method_of("spsa", epsilon_lsb=epsilon_lsb, rounding="stochastic")
  assert method.estimator(LAYOUT, 1).dither is None


@pytest.mark.parametrize("method", ["spsa", "multi-tangent"])
def test_a_steep_slope_saturates_at_what_a_journal_holds(method):
  """A small perturbation divides by little: 32 bits would not do."""
  own = method_of(method, num_directions=2, epsilon_lsb=1 / 256)
  estimator = own.estimator(LAYOUT, 1)
  values = iter([2**34, 0, 0, 2**34])
  estimate = estimator(Landscape(lambda w: next(values)), TrainState(0, START))
  assert estimate.slopes.tolist() == [2**31 - 1, -(2**31)]
  gradient = estimator.gradient(estimate, TrainState(0, START))
  assert np.abs(np.concatenate(gradient)).max() <= 2**31
