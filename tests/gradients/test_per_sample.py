"""A direction for every sample: exact sums, true slopes, replay, no writes."""

import dataclasses

import numpy as np
import pytest

from apps.kws.model.shipped import shipped_model
from tests import models
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, TrainState
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.per_sample import (
  PerSample,
  ScanFirst,
  jump_first,
)
from tflm_fg.gradients.sample_slopes import PerSampleSlopes, require_data
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.losses.information_maximization import InformationMaximisation
from tflm_fg.losses.squared_error import Grid, SquaredError
from tflm_fg.optimizers import transforms
from tflm_fg.optimizers.kinds import OPTIMIZERS
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.runtimes.input_weights import InputWeightsSession
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import cut
from tflm_fg.tflite.surgery.perturbation_inputs import weights_to_inputs
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.trainer import StepRule
from tflm_fg.types import Samples, TflmFgError, Vectors

N = 24


class Open:
  """A prompt of a small model, open with its numbers as inputs."""

  def __init__(self, gain=True, runtime="litert-reference"):
    marked = mark_file(
      models.dense_model(), "prompt", graph_options=GraphOptions(gain=gain)
    )
    self.layout = Layout(marked.mark.trainable)
    self.part = cut(marked.data, marked.mark).suffix
    flowing = weights_to_inputs(self.part)
    inner = open_session(runtime, flowing.part, "in-place")
    self.session = InputWeightsSession(inner, self.part, flowing.flows)
    self.scale = tensor_spec(marked.data, marked.mark.logits).scale
    self.params = self.layout.params(self.session.params())
    x = models.int8_samples((8,), N)
    self.samples = Samples((x,), np.arange(N) % 4)

  def estimator(self, loss=None, **own):
    return PerSampleSlopes(
      layout=self.layout,
      directions=Directions(self.layout, own.pop("seed", 0)),
      epsilon_lsb=own.pop("epsilon_lsb", 8.0),
      batch_size=own.pop("batch_size", N),
      loss=loss or CrossEntropy(self.scale),
    )

  def passes(self, loss=None):
    return BatchPasses(
      self.session, loss or CrossEntropy(self.scale), self.samples
    )


@pytest.fixture(scope="module")
def prompt():
  return Open()


def test_gradient_is_the_mean_of_directions_by_the_samples_own_slopes(prompt):
  estimator, state = prompt.estimator(), TrainState(3, prompt.params)
  loss, x, y = CrossEntropy(prompt.scale), *_of(prompt)
  drawn = estimator.directions.at(3, N)
  wanted = np.zeros(prompt.layout.num_kernels)
  for i in range(N):
    z = drawn.kernels[i].astype(np.int64)
    ends = []
    for sign in (1, -1):
      moved = Vectors(
        prompt.params.kernels + sign * 8 * 256 * z, prompt.params.biases
      )
      prompt.session.load(prompt.layout.weights(moved))
      (logits,) = prompt.session.run((x[i : i + 1],))
      ends.append(int(loss.per_sample(logits, y[i : i + 1])[0]))
    wanted += (ends[0] - ends[1]) * np.log(2) / 16 * z / N
  estimate = estimator(prompt.passes(), state)
  got = estimator.gradient(estimate, state).kernels
  assert np.abs(got - wanted).max() <= 1
  assert np.abs(wanted).max() > 100


def _of(prompt):
  return prompt.samples.inputs[0], prompt.samples.labels


def test_two_passes_are_run_and_their_losses_told(prompt):
  before = prompt.session.forward_passes
  estimate = prompt.estimator()(prompt.passes(), TrainState(0, prompt.params))
  assert prompt.session.forward_passes == before + 2
  assert estimate.losses.shape == (2,) and (estimate.losses > 0).all()


def test_what_flows_in_differs_by_two_epsilons_between_the_passes(prompt):
  estimator = prompt.estimator()
  drawn = estimator.directions.of(TrainState(0, prompt.params), N)
  plus, minus = estimator.weight_sets(prompt.params, drawn)
  for some, others, tensor in zip(plus, minus, prompt.layout.tensors):
    assert some.shape == (N, *tensor.shape[1:]) and some.dtype == np.int8
    assert set(np.unique(some.astype(int) - others)) == {-16, 16}


@pytest.mark.parametrize("batch", [N, 2])
def test_slopes_alone_replay_the_same_steps(batch):
  prompt = Open(runtime="litert")
  samples = prompt.samples.take(np.arange(batch))
  estimator = prompt.estimator(batch_size=batch)
  step_rule = _rule(prompt, estimator)
  alone = dataclasses.replace(estimator, loss=None)
  replayer = dataclasses.replace(step_rule, estimator=alone)
  passes = BatchPasses(prompt.session, estimator.loss, samples)
  state = again = step_rule.start(prompt.params)
  for _ in range(6):
    estimate = estimator(passes, state)
    assert estimate.slopes.size == min(batch, prompt.layout.num_kernels)
    assert np.abs(estimate.slopes).max() < 2**31
    state = step_rule.advance(state, estimate)
    again = replayer.replayed(again, estimate.slopes.tolist())
    assert np.array_equal(state.params.kernels, again.params.kernels)
  assert not np.array_equal(state.params.kernels, prompt.params.kernels)


def test_a_step_with_too_few_slopes_is_refused(prompt):
  estimator = prompt.estimator(batch_size=4)
  short = Estimate(np.zeros(3, np.int64), np.zeros(0, np.int64))
  with pytest.raises(TflmFgError, match="step 5: 3 slopes of 4 samples"):
    estimator.gradient(short, TrainState(5, prompt.params))


class Layers:
  """Biases and gains of a small model's inner layers, as inputs."""

  def __init__(self, trainable):
    marked = mark_file(models.conv_model(), trainable)
    self.layout = Layout(marked.mark.trainable)
    part = cut(marked.data, marked.mark).suffix
    flowing = weights_to_inputs(part)
    inner = open_session("litert", flowing.part, "in-place")
    self.session = InputWeightsSession(inner, part, flowing.flows)
    self.loss = CrossEntropy(tensor_spec(marked.data, marked.mark.logits).scale)
    self.params = self.layout.params(self.session.params())
    x = models.int8_samples((6, 5, 2), 64)
    self.samples = Samples((x,), np.arange(64) % 3)


@pytest.mark.parametrize(
  "trainable", ["first-bias", "inner-bias", "bias", "gain", "inner-bias,gain"]
)
def test_biases_and_gains_of_layers_lower_the_loss_of_their_samples(trainable):
  layers = Layers(trainable)
  estimator = PerSampleSlopes(
    layout=layers.layout,
    directions=Directions(layers.layout, 0),
    epsilon_lsb=8.0,
    batch_size=64,
    loss=layers.loss,
  )
  step_rule = _rule(layers, estimator, rate=2.0)
  passes = BatchPasses(layers.session, layers.loss, layers.samples)
  state = step_rule.start(layers.params)
  first = passes.losses([layers.layout.weights(state.params)])
  for _ in range(60):
    state = step_rule.advance(state, estimator(passes, state))
  last = passes.losses([layers.layout.weights(state.params)])
  assert last[0] < 0.9 * first[0]


def _rule(prompt, estimator, kind="sign", rate=4.0):
  make = OPTIMIZERS[kind].make
  return StepRule(
    estimator, make(prompt.layout, schedule(rate, "linear", 60), 0.8)
  )


@pytest.mark.parametrize("kind", ["sign", "rms", "sgd"])
@pytest.mark.parametrize("name", ["cross-entropy", "squares", "no labels"])
def test_every_loss_falls_under_every_step_rule(name, kind):
  prompt = Open(runtime="litert")
  loss, labels = _loss(prompt, name)
  samples = dataclasses.replace(prompt.samples, labels=labels)
  estimator = prompt.estimator(loss)
  rate = 30.0 if kind == "sgd" else 4.0
  step_rule = _rule(prompt, estimator, kind, rate)
  passes = BatchPasses(prompt.session, loss, samples)
  state = step_rule.start(prompt.params)
  first = passes.losses([prompt.layout.weights(state.params)])
  for _ in range(60):
    state = step_rule.advance(state, estimator(passes, state))
  last = passes.losses([prompt.layout.weights(state.params)])
  assert last[0] < first[0]


def _loss(prompt, name):
  labels = prompt.samples.labels
  if name == "cross-entropy":
    return CrossEntropy(prompt.scale), labels
  if name == "no labels":
    return InformationMaximisation(prompt.scale), labels
  grid = Grid(scale=prompt.scale, zero_point=0, bits=8)
  return SquaredError(grid=grid), grid.put(np.eye(4)[labels] * 4)


def test_differences_without_labels_add_up_to_what_the_loss_changes_by():
  random = np.random.default_rng(0)
  some = random.integers(-80, 80, (40, 5)).astype(np.int8)
  others = (some + random.integers(-3, 4, some.shape)).astype(np.int8)
  loss, none = InformationMaximisation(0.05), np.full(40, -1)
  parts = loss.differences(some, others, none)
  whole = loss(some, none) - loss(others, none)
  assert abs(parts.sum() - whole) < 0.02 * abs(whole) + 400


def test_a_direction_for_every_sample_points_closer_to_the_gradient(prompt):
  state = TrainState(0, prompt.params)
  true = np.mean(
    [
      _gradient(prompt, prompt.estimator(seed=seed), state)
      for seed in range(200, 400)
    ],
    axis=0,
  )
  own, common = [], []
  for seed in range(40):
    estimator = prompt.estimator(seed=seed)
    own.append(_cosine(_gradient(prompt, estimator, state), true))
    one = _Common(**vars_of(estimator))
    common.append(_cosine(_gradient(prompt, one, state), true))
  assert np.mean(own) > np.mean(common) + 0.1


class _Common(PerSampleSlopes):
  """The same estimator with one direction for all samples."""

  def _drawn(self, state):
    return np.repeat(self.directions.of(state, 1), self.batch_size, axis=0)


def vars_of(estimator):
  fields = dataclasses.fields(estimator)
  return {f.name: getattr(estimator, f.name) for f in fields}


def _gradient(prompt, estimator, state):
  estimate = estimator(prompt.passes(), state)
  return estimator.gradient(estimate, state).kernels.astype(float)


def _cosine(a, b):
  return a @ b / np.sqrt((a @ a) * (b @ b))


def test_the_scan_begins_at_the_gain_with_the_lowest_loss():
  prompt = Open(runtime="litert")
  starts = (16, 32, 64, 100)
  estimator = ScanFirst(inner=prompt.estimator(), role="gain", starts=starts)
  step_rule = StepRule(
    estimator,
    jump_first(
      transforms.sign(prompt.layout, schedule(4, "linear", 9), 0.8),
      prompt.layout,
    ),
  )
  state = step_rule.start(prompt.params)
  before = prompt.session.forward_passes
  estimate = estimator(prompt.passes(), state)
  assert prompt.session.forward_passes == before + len(starts)
  after = step_rule.advance(state, estimate)
  gains = _of_role(prompt, after, "gain")
  assert (gains == starts[int(np.argmin(estimate.losses))] << 8).all()
  assert not _of_role(prompt, after, "offset").any()
  # The next step is the inner estimator's first, under its first rate.
  nearer = step_rule.advance(after, estimator(prompt.passes(), after))
  assert np.abs(_of_role(prompt, nearer, "offset")).max() == 4 << 8


def _of_role(prompt, state, role):
  return np.concatenate(
    [
      state.params.kernels[where].astype(int)
      for tensor, where in prompt.layout.places
      if tensor.role == role
    ]
  )


def test_only_numbers_that_flow_in_as_data_are_taken():
  head = mark_file(models.conv_model(), "head")
  with pytest.raises(
    TflmFgError, match=r"head/kernel.*--trainable=prompt, bias or gain"
  ):
    require_data(Layout(head.mark.trainable))
  require_data(Open().layout)


def test_without_a_loss_it_only_replays(prompt):
  alone = dataclasses.replace(prompt.estimator(), loss=None)
  with pytest.raises(TflmFgError, match="prompt"):
    alone(prompt.passes(), TrainState(0, prompt.params))
  slopes = np.zeros(prompt.layout.num_kernels, np.int64)
  empty = Estimate(slopes, np.zeros(0, np.int64))
  assert not alone.gradient(empty, TrainState(0, prompt.params)).kernels.any()


@pytest.mark.parametrize("epsilon", [0.0, 128.0])
def test_a_perturbation_out_of_range_is_refused(epsilon):
  with pytest.raises(TflmFgError, match="epsilon_lsb"):
    PerSample(epsilon_lsb=epsilon)


def test_every_optimizer_has_a_rate_of_its_own():
  def rates(layout):
    return {
      name: PerSample(optimizer=name).for_layout(layout).learning_rate_lsb
      for name in OPTIMIZERS
    }

  prompt, layers = Open().layout, Layers("gain").layout
  assert rates(prompt) == {
    "sign": 4.0, "sgd": 20.0, "frank-wolfe": 1.0, "rms": 4.0,
  }  # fmt: skip
  assert rates(layers)["sign"] == rates(layers)["rms"] == 1.0
  many = Layout(mark_file(shipped_model(), "bias").mark.trainable)
  assert rates(many)["rms"] == pytest.approx(3 * rates(many)["sign"], rel=0.01)
  assert rates(Layers("gain").layout)["sgd"] == 16.0
  own = PerSample(learning_rate_lsb=3.0, steps=7).for_layout(prompt)
  assert (own.learning_rate_lsb, own.steps, own.validate_every) == (3.0, 7, 80)
  assert PerSample(steps=7).for_layout(layers).validate_every == 7
  assert PerSample().for_layout(layers).epsilon_lsb == 4.0


def test_numbers_of_layers_replay_from_gradients_and_from_slopes():
  layers = Layers("inner-bias,gain")
  for predicts in (True, False):
    estimator = PerSampleSlopes(
      layout=layers.layout,
      directions=Directions(layers.layout, 0),
      epsilon_lsb=4.0,
      batch_size=8,
      loss=layers.loss,
      predicts=predicts,
    )
    alone = dataclasses.replace(estimator, loss=None)
    step_rule = _rule(layers, estimator, rate=1.0)
    replayer = dataclasses.replace(step_rule, estimator=alone)
    passes = BatchPasses(
      layers.session, layers.loss, layers.samples.take(np.arange(8))
    )
    state = again = step_rule.start(layers.params)
    for _ in range(4):
      estimate = estimator(passes, state)
      numbers = layers.layout.num_kernels + layers.layout.num_biases
      assert len(estimate.slopes) == (numbers if predicts else 8)
      state = step_rule.advance(state, estimate)
      again = replayer.replayed(again, estimate.slopes.tolist())
    assert all(map(np.array_equal, state.params, again.params))
    assert not np.array_equal(state.params.biases, layers.params.biases)
