"""Every estimator with every optimizer, through the same checks.

A quadratic bowl with its lowest point elsewhere stands in for a network: its
gradient is known, and it needs no engine.
"""

import itertools

import numpy as np
import pytest

from tests import models
from tflm_fg import optimizers, quant
from tflm_fg.base import Estimate, Params, TflmFgError
from tflm_fg.directions import Directions
from tflm_fg.estimators import METHODS, ONE, CentralDifference
from tflm_fg.flatbuffer_mark import mark
from tflm_fg.flatbuffer_patch import weights_of
from tflm_fg.trainer import Rule

MARKED = mark(models.dense_model(), "all")
LAYOUT = quant.Layout(MARKED.mark.trainable)
FULL = LAYOUT.params(weights_of(MARKED.data, MARKED.mark.trainable))
START = Params(FULL.kernels // 4, FULL.biases)  # room to move on both sides
RATES = {"sign-m-spsa": 0.5, "spsa": 0.2}

ESTIMATORS = list(itertools.product(METHODS, ["rademacher", "normal"], [1, 3]))
OPTIMIZERS = [("linear", 0.0), ("constant", 0.0), ("linear", 0.9)]


def estimator_of(method, kind, m, seed=0, epsilon=2.0):
  return CentralDifference(
    layout=LAYOUT,
    directions=Directions(LAYOUT, seed, kind),
    method=method,
    epsilon_lsb=epsilon,
    num_directions=m,
    batch_size=1,
  )


def rule_of(method, kind, m, decay="linear", momentum=0.0, seed=0, rate=None):
  rate = RATES[method] if rate is None else rate
  rate *= 1 - momentum
  schedule = optimizers.schedule(rate, decay, 200)
  return Rule(
    estimator_of(method, kind, m, seed),
    optimizers.sgd(LAYOUT, schedule, momentum),
  )


def bowl(weights):
  """Squared distance of all weights from 20 steps above their start, Q16."""
  total = 0.0
  goal = LAYOUT.weights(START)
  for tensor, w, g in zip(MARKED.mark.trainable, weights, goal, strict=True):
    unit = (
      np.resize(tensor.output_step, w.shape) if tensor.role == "bias" else 1
    )
    total += (((w.astype(float) - g) / unit - 20) ** 2).sum()
  return round(total / 100 * 65536)


def linear(weights):
  """A loss that is linear in the kernels, Q16 bits."""
  total = 0
  for number, w in enumerate(weights):
    if LAYOUT.tensors[number].role == "kernel":
      slopes = np.random.default_rng(number).integers(-9, 10, w.shape)
      total += int((w.astype(np.int64) * slopes).sum()) * 256
  return total


class Landscape:
  """Passes over a function of the weights, without an engine."""

  def __init__(self, function):
    self._function = function

  def losses(self, candidates):
    return np.array([self._function(w) for w in candidates], np.int64)


def train(rule, steps, loss=bowl):
  state = rule.start(START)
  for step in range(steps):
    state = rule.advance(
      state, rule.estimator(Landscape(loss), state.params, step)
    )
  return state


@pytest.mark.parametrize(("decay", "momentum"), OPTIMIZERS)
@pytest.mark.parametrize(("method", "kind", "m"), ESTIMATORS)
def test_training_descends(method, kind, m, decay, momentum):
  state = train(rule_of(method, kind, m, decay, momentum), 200)
  assert bowl(LAYOUT.weights(state.params)) < 0.85 * bowl(LAYOUT.weights(START))


@pytest.mark.parametrize(("method", "kind", "m"), ESTIMATORS)
def test_a_reversed_sign_climbs(method, kind, m):
  rate = -RATES[method]
  state = train(rule_of(method, kind, m, rate=rate), 60)
  assert bowl(LAYOUT.weights(state.params)) > bowl(LAYOUT.weights(START))


@pytest.mark.parametrize(("method", "kind", "m"), ESTIMATORS)
def test_one_seed_gives_the_same_bytes_and_another_seed_others(method, kind, m):
  one, two, other = (
    train(rule_of(method, kind, m, seed=s), 20).params for s in (5, 5, 6)
  )
  assert one.kernels.tobytes() == two.kernels.tobytes()
  assert one.biases.tobytes() == two.biases.tobytes()
  assert one.kernels.tobytes() != other.kernels.tobytes()


@pytest.mark.parametrize(("method", "kind", "m"), ESTIMATORS)
def test_replaying_the_slopes_gives_the_state_without_a_loss(method, kind, m):
  rule = rule_of(method, kind, m, momentum=0.5)
  state, recorded = rule.start(START), []
  for step in range(20):
    estimate = rule.estimator(Landscape(bowl), state.params, step)
    recorded.append(estimate.slopes)
    state = rule.advance(state, estimate)
  again = rule_of(method, kind, m, momentum=0.5)
  replayed = again.start(START)
  for step, slopes in enumerate(recorded):
    estimate = Estimate(step, slopes, np.zeros(0, np.int64))
    replayed = again.advance(replayed, estimate)
  assert replayed.params.kernels.tobytes() == state.params.kernels.tobytes()
  assert replayed.velocity.kernels.tobytes() == state.velocity.kernels.tobytes()


@pytest.mark.parametrize(("method", "kind", "m"), ESTIMATORS)
def test_no_float_is_in_the_state_of_a_step(method, kind, m):
  rule = rule_of(method, kind, m, momentum=0.5)
  estimate = rule.estimator(Landscape(bowl), START, 0)
  state = rule.advance(rule.start(START), estimate)
  arrays = [*state.params, *state.velocity, estimate.slopes, estimate.losses]
  arrays += [*rule.estimator.gradient(estimate)]
  assert all(a.dtype.kind == "i" for a in arrays)
  assert state.params.kernels.dtype == np.int16
  assert state.params.biases.dtype == np.int32


@pytest.mark.parametrize(("method", "kind", "m"), ESTIMATORS)
def test_an_estimate_runs_two_passes_a_direction_and_keeps_the_params(
  method, kind, m
):
  calls = []

  def count(weights):
    calls.append([w.copy() for w in weights])
    return bowl(weights)

  before = START.kernels.tobytes(), START.biases.tobytes()
  estimate = estimator_of(method, kind, m)(Landscape(count), START, 3)
  assert len(calls) == 2 * m == estimate.losses.size
  assert estimate.slopes.shape == (m,)
  assert before == (START.kernels.tobytes(), START.biases.tobytes())


def test_two_point_slope_is_exact_on_a_linear_loss():
  estimator = estimator_of("spsa", "rademacher", 1)
  for step in range(5):
    estimate = estimator(Landscape(linear), START, step)
    plus = int(estimate.losses[0])
    per_step = (plus - linear(LAYOUT.weights(START))) / 2 * np.log(2)
    assert int(estimate.slopes[0]) == pytest.approx(per_step, rel=1e-4, abs=1)


def test_sign_keeps_plus_one_minus_one_and_zero():
  flat = estimator_of("sign-m-spsa", "rademacher", 4)
  assert set(flat(Landscape(lambda w: 7), START, 0).slopes) == {0}
  slopes = flat(Landscape(linear), START, 0).slopes
  assert set(np.abs(slopes)) == {ONE}


def test_whole_steps_of_epsilon_perturb_every_weight_by_that_many_steps():
  seen = []
  estimator_of("sign-m-spsa", "rademacher", 1)(
    Landscape(lambda w: seen.append(w) or 0), START, 0
  )
  for tensor, plus, minus in zip(MARKED.mark.trainable, *seen, strict=True):
    if tensor.role == "kernel":
      difference = np.abs(plus.astype(int) - minus)
      inside = np.abs(plus.astype(int) + minus) < 240
      assert set(difference[inside]) == {4}


def test_momentum_of_a_steady_gradient_reaches_its_limit_and_dies_out():
  optimizer = optimizers.sgd(
    LAYOUT, optimizers.schedule(0.1, "constant", 1), momentum=0.75
  )
  state = optimizer.init(START)
  steady = type(LAYOUT.step_units)(
    np.full(LAYOUT.num_kernels, ONE), np.full(LAYOUT.num_biases, ONE)
  )
  for step in range(60):
    updates, state = optimizer.update(steady, state, START, step)
  assert set(updates.kernels) <= {-103, -102, -101}  # 25.6 / (1 - 3/4)
  still = type(steady)(steady.kernels * 0, steady.biases * 0)
  for step in range(60):
    updates, state = optimizer.update(still, state, START, step)
  assert not updates.kernels.any()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"method": "adam"}, "method 'adam' is unknown"),
    ({"epsilon": 0.0}, "epsilon_lsb=0.0"),
    ({"epsilon": 1000.0}, "epsilon_lsb=1000.0"),
    ({"epsilon": float("nan")}, "epsilon_lsb=nan"),
    ({"m": 0}, "num_directions=0"),
  ],
)
def test_an_estimator_out_of_range_is_refused(options, message):
  given = {"method": "spsa", "kind": "rademacher", "m": 1, **options}
  with pytest.raises(TflmFgError, match=message):
    estimator_of(**given)


@pytest.mark.parametrize(
  "rate", [0.0, float("nan"), float("inf"), 1e9, 1e308, -1e308]
)
def test_a_learning_rate_out_of_range_is_refused(rate):
  with pytest.raises(TflmFgError, match="learning_rate_lsb"):
    optimizers.schedule(rate, "linear", 10)


def test_a_schedule_gives_integers_that_fall_to_zero():
  rate = optimizers.schedule(0.5, "linear", 10)
  values = [rate(step) for step in range(12)]
  assert values == sorted(values, reverse=True)
  assert values[0] == ONE // 2
  assert values[10:] == [0, 0]
  assert all(isinstance(v, int) for v in values)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_out_of_range_is_refused(momentum):
  with pytest.raises(TflmFgError, match="momentum"):
    optimizers.sgd(LAYOUT, lambda step: 1, momentum)
