"""Every estimator with every kind of direction, every optimizer with every
rounding, through the same checks.

A quadratic bowl with its lowest point elsewhere stands in for a network: its
gradient is known, and it needs no engine.
"""

import dataclasses
import itertools

import numpy as np
import pytest

from tests import models
from tests.climbing import reverse_rates
from tests.options import FORWARD, method_of
from tflm_fg.fixed_point import arithmetic, layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.slopes import ONE
from tflm_fg.gradients.spsa import CentralDifference
from tflm_fg.optimizers import kinds, transforms
from tflm_fg.optimizers.kinds import PRECISIONS, ROUNDINGS
from tflm_fg.optimizers.schedules import DECAYS, schedule
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.training.build import step_rule
from tflm_fg.types import Params, TflmFgError

MARKED = mark_file(models.dense_model(), "all")
LAYOUT = layout.Layout(MARKED.mark.trainable)
FULL = LAYOUT.params(weights_of(MARKED.data, MARKED.mark.trainable))
# Room to move on both sides, and no low byte, as 8w8a begins.
START = Params(
  arithmetic.widen(arithmetic.narrow(FULL.kernels // 4)), FULL.biases
)
RATES = {"spsa": 0.2, "multi-tangent": 0.2}

SHAPES = {
  "rademacher": {},
  "normal": {"directions": "normal"},
  "kernel-wise": {"kernel_wise": True},
  "guided": {"guidance": 0.5, "momentum": 0.8},
  "sparse by magnitude": {"sparsity": 0.5},
  "sparse by seed": {"sparsity": 0.5, "sparse_by": "seed"},
  "blocks": {"blocks": 2},
  "a block a direction": {"blocks": 2, "turns": "direction"},
  "all at once": {
    "directions": "normal", "kernel_wise": True, "guidance": 0.3,
    "momentum": 0.5, "sparsity": 0.3, "blocks": 2,
  },
}  # fmt: skip

ESTIMATORS = [
  {"method": method, "num_directions": m, **SHAPES[shape]}
  for method, shape in itertools.product(FORWARD, SHAPES)
  for m in ((1, 3) if shape == "rademacher" else (3,))
]
OPTIMIZERS = [
  {"method": "sign-m-spsa", "num_directions": 3, "optimizer": o,
   "rounding": r, "precision": p, "momentum": b}
  for o, r, p, b in itertools.product(
    kinds.OPTIMIZERS, ROUNDINGS, PRECISIONS, (0.0, 0.8)
  )
] + [
  {"method": "sign-m-spsa", "num_directions": 3, "decay": d} for d in DECAYS
]  # fmt: skip


def named(case):
  return " ".join(str(v) for v in case.values())


EVERY = pytest.mark.parametrize("case", ESTIMATORS + OPTIMIZERS, ids=named)


def method_for(case, **more):
  """A method for 100 steps on the bowl."""
  given = {"epsilon_lsb": 2.0, "steps": 100, "momentum": 0.0, **case, **more}
  own = RATES.get(given["method"], 0.5)
  if given.get("precision") == "8w8a":
    own = 1.0  # a step below half an int8 step is none
  if given.get("optimizer", "sgd") == "sgd":
    own *= 1 - given["momentum"]
    if given.get("precision") == "8w8a" and given["rounding"] == "nearest":
      own = 1.6  # a mean of three signs may be a third
  return method_of(learning_rate_lsb=own, **given)


def rule_of(case, **more):
  return step_rule(method_for(case, **more), LAYOUT, 1)


def estimator_of(method, kind, m, seed=0, epsilon=2.0):
  return CentralDifference(
    layout=LAYOUT,
    directions=Directions(LAYOUT, seed, kind),
    signs_only=method == "sign-m-spsa",
    epsilon_lsb=epsilon,
    num_directions=m,
    batch_size=1,
  )


UNITS = [
  np.resize(t.output_step, t.shape) if t.role == "bias" else 1
  for t in MARKED.mark.trainable
]
GOAL = [
  w.astype(float) / unit + 20 for w, unit in zip(LAYOUT.weights(START), UNITS)
]


def bowl(weights):
  """Squared distance of all weights from 20 steps above their start, Q16."""
  total = 0.0
  for w, unit, goal in zip(weights, UNITS, GOAL, strict=True):
    away = (w / unit - goal).ravel()
    total += away @ away
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
  state, recorded = rule.start(START), []
  for _ in range(steps):
    estimate = rule.estimator(Landscape(loss), state)
    recorded.append([int(s) for s in estimate.slopes])
    state = rule.advance(state, estimate)
  return state, recorded


def arrays_of(state):
  return [*state.params, *(a for pair in state.optimizer for a in pair)]


def bytes_of(state):
  return [a.tobytes() for a in arrays_of(state)]


@EVERY
def test_training_descends_and_a_reversed_sign_climbs(case, monkeypatch):
  start = bowl(LAYOUT.weights(START))
  down, _ = train(rule_of(case), 100)
  reverse_rates(monkeypatch)
  up, _ = train(rule_of(case), 30)
  assert bowl(LAYOUT.weights(down.params)) < 0.93 * start
  assert bowl(LAYOUT.weights(up.params)) > start


@EVERY
def test_replay_repeats_a_run_without_a_loss_and_another_seed_is_another(
  case,
):
  """From its slopes alone, and one seed gives the same bytes twice."""
  state, recorded = train(rule_of(case), 12)
  twice, _ = train(rule_of(case), 12)
  other, _ = train(rule_of(case, seed=9), 12)
  again = rule_of(case)
  replayed = again.start(START)
  for slopes in recorded:
    replayed = again.replayed(replayed, slopes)
  assert bytes_of(replayed) == bytes_of(state) == bytes_of(twice)
  assert bytes_of(other) != bytes_of(state)
  assert replayed.step == 12


@EVERY
def test_a_step_holds_no_float_and_keeps_what_it_was_given(case):
  rule = rule_of(case)
  first, _ = train(rule, 3)
  before = bytes_of(first)
  estimate = rule.estimator(Landscape(bowl), first)
  state = rule.advance(first, estimate)
  assert bytes_of(first) == before
  arrays = [*arrays_of(state), *estimate]
  arrays += [*rule.estimator.gradient(estimate, first)]
  assert all(a.dtype.kind == "i" for a in arrays)
  assert state.params.kernels.dtype == np.int16
  assert state.params.biases.dtype == np.int32
  assert np.abs(state.params.kernels).max() <= 127 * 256
  assert estimate.slopes.shape == (case["num_directions"],)
  assert np.abs(estimate.slopes).max() < 1 << 31  # what a journal takes


@pytest.mark.parametrize("case", ESTIMATORS, ids=named)
def test_passes_are_as_many_as_the_method_says(case):
  calls = []
  estimate = rule_of(case).estimator(
    Landscape(lambda w: calls.append(0) or 1), TrainState(3, START)
  )
  m = case["num_directions"]
  most = {"one-sided": m + 1, "sharpness-aware": 4 * m}
  assert len(calls) == most.get(case["method"], 2 * m)
  assert estimate.losses.size == len(calls)
  own = method_for(case).passes_at_once()
  assert len(calls) == own * (1 + (case["method"] == "sharpness-aware"))


@pytest.mark.parametrize("case", ESTIMATORS, ids=named)
def test_flat_ground_moves_nothing(case):
  rule = rule_of(case)
  state, _ = train(rule, 4, loss=lambda w: 7)
  for start, end in zip(START, state.params):
    assert np.array_equal(start, end)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("optimizer", list(kinds.OPTIMIZERS))
def test_8w8a_keeps_every_low_byte_zero_and_anchors_too(
  optimizer, rounding, momentum
):
  case = {
    "method": "spsa", "directions": "normal", "optimizer": optimizer,
    "rounding": rounding, "momentum": momentum, "precision": "8w8a",
    "anchor": 0.01, "num_directions": 2,
  }  # fmt: skip
  state, _ = train(rule_of(case), 30)
  assert not (state.params.kernels & 0xFF).any()
  assert (state.params.kernels != START.kernels).any()
  assert (state.params.biases != START.biases).any()


def test_two_point_slope_is_exact_on_a_linear_loss():
  estimator = estimator_of("spsa", "rademacher", 1)
  for step in range(5):
    estimate = estimator(Landscape(linear), TrainState(step, START))
    plus = int(estimate.losses[0])
    per_step = (plus - linear(LAYOUT.weights(START))) / 2 * np.log(2)
    assert int(estimate.slopes[0]) == pytest.approx(per_step, rel=1e-4, abs=1)


def test_sign_keeps_plus_one_minus_one_and_zero():
  flat = estimator_of("sign-m-spsa", "rademacher", 4)
  state = TrainState(0, START)
  assert set(flat(Landscape(lambda w: 7), state).slopes) == {0}
  slopes = flat(Landscape(linear), state).slopes
  assert set(np.abs(slopes)) == {ONE}


def test_whole_steps_of_epsilon_perturb_every_weight_by_that_many_steps():
  seen = []
  estimator_of("sign-m-spsa", "rademacher", 1)(
    Landscape(lambda w: seen.append(w) or 0), TrainState(0, START)
  )
  for tensor, plus, minus in zip(MARKED.mark.trainable, *seen, strict=True):
    if tensor.role == "kernel":
      difference = np.abs(plus.astype(int) - minus)
      inside = np.abs(plus.astype(int) + minus) < 240
      assert set(difference[inside]) == {4}


def test_momentum_of_a_steady_gradient_reaches_its_limit_and_dies_out():
  optimizer = transforms.sgd(
    LAYOUT, schedule(0.1, "constant", 1), momentum=0.75
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
  ("given", "message"),
  [
    ({"method": "adam"}, "method 'adam' is unknown"),
    ({"epsilon_lsb": 0.0}, "epsilon_lsb=0.0"),
    ({"epsilon_lsb": 1000.0}, "epsilon_lsb=1000.0"),
    ({"epsilon_lsb": float("nan")}, "epsilon_lsb=nan"),
    ({"num_directions": 0}, "num_directions=0"),
  ],
)
def test_a_method_of_an_estimator_out_of_range_is_refused(given, message):
  with pytest.raises(TflmFgError, match=message):
    method_of(**{"method": "spsa", **given})


@pytest.mark.parametrize(
  "rate", [0.0, float("nan"), float("inf"), 1e9, 1e308, -1e308]
)
def test_a_learning_rate_out_of_range_is_refused(rate):
  with pytest.raises(TflmFgError, match="learning_rate_lsb"):
    schedule(rate, "linear", 10)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_schedule_gives_integers_that_fall_to_zero(decay):
  rate = schedule(0.5, decay, 10)
  values = [rate(step) for step in range(12)]
  assert values == sorted(values, reverse=True)
  assert values[0] == ONE // 2
  assert values[5] == ONE // 4
  assert values[10:] == [0, 0]
  assert all(isinstance(v, int) for v in values)
  assert [schedule(-0.5, decay, 10)(s) for s in range(10)] == [
    -v for v in values[:10]
  ]


def test_the_cosine_is_within_a_part_in_ten_thousand_of_the_real_one():
  rate = schedule(1.0, "cosine", 3801)
  real = (1 + np.cos(np.pi * np.arange(3801) / 3801)) / 2
  got = np.array([rate(step) for step in range(3801)]) / ONE
  assert np.abs(got - real).max() < 1e-4


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("kind", list(kinds.OPTIMIZERS))
def test_momentum_out_of_range_is_refused(kind, momentum):
  with pytest.raises(TflmFgError, match="momentum"):
    kinds.OPTIMIZERS[kind].make(LAYOUT, lambda step: 1, momentum)


def test_every_method_takes_a_copy_with_one_field_changed():
  for name in FORWARD:
    method = method_of(name)
    changed = dataclasses.replace(method, sparsity=0.5)
    assert changed.sparsity == 0.5
    assert changed.num_directions == method.num_directions
