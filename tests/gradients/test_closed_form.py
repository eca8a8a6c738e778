"""The closed form is the head's true gradient, from one pass."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tflm_fg
from tests import models
from tests.climbing import reverse_rates
from tests.options import method_of, options
from tflm_fg import journal
from tflm_fg.fixed_point import masters
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.gradients import closed_form
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.methods import Auto, ClosedForm, SignSPSA
from tflm_fg.optimizers import transforms
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions, installed
from tflm_fg.samples import Dataset
from tflm_fg.tflite.split_graph import exact_tensors
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.build import step_rule
from tflm_fg.training.objective import CLASSIFY, loss_of
from tflm_fg.types import Params, TflmFgError, Vectors

X, Y = models.separable()
TEST = models.separable(seed=1)
MODELS = {
  "int8": models.dense_model(),
  "per-tensor": models.dense_model(per_channel=False),
  "16x8": models.dense_model(wide=True),
  "conv": models.conv_model(),
}
SETTINGS = options(method="closed-form", learning_rate_lsb=18)


def data_for(model):
  if model is not MODELS["conv"]:
    return X, Y
  x = np.random.default_rng(0).normal(0, 1.5, (90, 6, 5, 2)).astype("f4")
  return x, np.arange(90) % 3


def softmax(logits):
  p = np.exp(logits - logits.max(axis=1, keepdims=True))
  return p / p.sum(axis=1, keepdims=True)


def test_residual_is_softmax_minus_label():
  random = np.random.default_rng(0)
  logits = random.integers(-128, 128, (50, 7)).astype(np.int8)
  labels = random.integers(0, 7, 50)
  got = CrossEntropy(0.06).residual(logits, labels) / 65536
  want = softmax(logits * 0.06) - np.eye(7)[labels]
  assert np.abs(got - want).max() < 1e-4


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("trainable", ["head", "head/kernel", "head/bias"])
def test_slopes_are_the_float_gradient_in_steps(kind, trainable):
  model = MODELS[kind]
  x, y = data_for(model)
  marked = tflm_fg.mark_trainable(model, trainable)
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  samples = graph.samples(Dataset(x, y), "x")
  layout = Layout(marked.mark.trainable)
  weights = graph.suffix.params()
  part = graph.part(samples, CLASSIFY)
  rule = step_rule(SETTINGS["method"].filled(), layout, len(samples), part)
  head = rule.estimator.head
  passes = BatchPasses(graph.suffix, loss_of(graph.logits), samples)
  state = TrainState(0, layout.params(weights))
  estimate = rule.estimator(passes, state)
  assert graph.suffix.forward_passes == 1

  # Weights of centred inputs, each divided by its spread: V u = W x, and the
  # bias is one more weight, of a constant input.
  features = samples.inputs[0].reshape(len(samples), -1).astype(float)
  u = (
    features - head.input_zero_point - features_mean(features, head, trainable)
  )
  spread = 2.0**head.spread_bits
  u /= spread
  length = (u**2).sum(axis=1).mean() + 1 / 16
  safe, bias_square = 2 / (1.1 * length), length / 10
  logits = passes.logits(weights) * graph.logits.scale
  residual = (softmax(logits) - np.eye(logits.shape[1])[y]) / len(y)
  gradient = rule.estimator.gradient(estimate, state)
  for tensor in marked.mark.trainable:
    if tensor.role == "kernel":
      scales = np.reshape(tensor.scales, (-1, 1))
      steps = residual.T @ u * safe / (scales * head.input_scale * spread)
      got = gradient.kernels.reshape(steps.shape)
    else:
      units = np.array(tensor.scales) * np.array(tensor.output_step)
      steps = residual.sum(axis=0) * safe * bias_square / units
      got = gradient.biases
    error = np.abs(got / 65536 - steps).max()
    assert error < 0.01 * np.abs(steps).max() + 1e-4


def features_mean(features, head, trainable):
  """The mean input in whole steps, where a bias can take it up; else zero."""
  mean = features.mean(axis=0) - head.input_zero_point
  if trainable == "head/kernel":
    mean = np.zeros_like(mean)
  rounded = np.sign(mean) * np.floor(np.abs(mean) + 0.5)
  assert np.array_equal(head.centre, rounded)
  return rounded


def test_spreads_are_powers_of_two_near_the_deviation_and_never_tiny():
  random = np.random.default_rng(0)
  deviations = np.array([40, 20, 10, 5, 0.1, 0])
  x = np.rint(random.normal(3, deviations, (4000, 6))).clip(-128, 127)
  head = closed_form.head_of(
    x.astype(np.int8), 0.1, 3, CrossEntropy(0.06), has_bias=True
  )
  counted = deviations + 40 / 20  # the floor that no input goes under
  assert np.abs(head.spread_bits - np.log2(counted)).max() <= 0.6
  assert head.spread_bits[-1] >= 1


def test_centring_leaves_no_more_of_the_mean_than_half_a_step():
  x = np.random.default_rng(0).integers(-128, 127, (999, 5)).astype(np.int8)
  head = closed_form.head_of(x, 0.1, -7, CrossEntropy(0.06), has_bias=True)
  rest = (x.astype(int) + 7 - head.centre).mean(axis=0)
  assert np.abs(rest).max() <= 0.5


@st.composite
def centred_steps(draw):
  """A head's masters, a gradient and a mean input; many saturate."""
  classes, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 6))
  seed = draw(st.integers(0, 2**32 - 1))
  random = np.random.default_rng(seed)
  most = 127 << 8
  near = draw(st.sampled_from([0, 100, 1 << 14, most]))
  kernels = random.integers(-most, most + 1, classes * inputs)
  kernels = np.where(random.random(kernels.size) < 0.5, near, kernels)
  gradient = random.integers(-1, 2, kernels.size) * draw(
    st.sampled_from([1, 300, 1 << 16, 1 << 24])
  )
  centre = random.integers(-255, 256, inputs)
  return classes, inputs, kernels.astype(np.int16), gradient, centre


@settings(max_examples=100)
@given(centred_steps())
def test_the_mean_logit_stands_still_whatever_the_kernel_does(case):
  """Exact in integers but for one rounding, even where weights saturate."""
  classes, inputs, kernels, gradient, centre = case
  marked = tflm_fg.mark_trainable(
    models.dense_model(2, inputs, max(classes, 2))
  )
  kernel, bias = marked.mark.trainable
  kernel = dataclasses.replace(
    kernel, shape=(classes, inputs), scales=(0.01,), output_step=(256,)
  )
  bias = dataclasses.replace(
    bias, shape=(classes,), scales=(0.01,), output_step=(9,)
  )
  layout = Layout((kernel, bias))
  params = Params(kernels, np.zeros(classes, np.int32))
  inner = transforms.sgd(layout, schedule(1.0, "constant", 1), 0.5)
  optimizer = transforms.centred(inner, layout, centre)
  still = Vectors(gradient.astype(np.int64), np.zeros(classes, np.int64))
  state, now = optimizer.init(params), params
  for step in range(3):
    copy = Vectors(*(g.copy() for g in still))
    updates, state = optimizer.update(copy, state, now, step)
    after = masters.apply_updates(now, updates)
    moved = after.kernels.astype(np.int64) - now.kernels
    at_mean = moved.reshape(classes, inputs) @ centre
    # A bias unit is 256 master units times one input step.
    shift = after.biases.astype(np.int64) - now.biases
    assert (np.abs(256 * shift + at_mean) <= 128).all()
    now = after


def test_without_a_centre_an_optimizer_stays_as_it_is():
  layout = Layout(tflm_fg.mark_trainable(MODELS["int8"]).mark.trainable)
  inner = transforms.sgd(layout, lambda step: 1)
  assert transforms.centred(inner, layout, np.zeros(0, np.int64)) is inner


@pytest.mark.parametrize("runtime", installed())
@pytest.mark.parametrize("kind", ["int8", "per-tensor", "16x8"])
def test_a_hundred_passes_are_enough(kind, runtime):
  report = tflm_fg.adapt(
    MODELS[kind], X, Y, test=TEST, runtime=runtime, **SETTINGS
  ).report
  assert report["forward_passes"] <= 100
  assert report["accuracy_after"] > 0.9
  assert report["loss_after"] < 0.5 * report["loss_before"]


def test_one_seed_gives_the_same_bytes_and_the_journal_replays_to_them():
  one, two = (tflm_fg.adapt(MODELS["int8"], X, Y, **SETTINGS) for _ in range(2))
  assert one.marked_model == two.marked_model
  recorded = journal.parse(one.journal.to_bytes())
  assert tflm_fg.replay(recorded, one.start) == one.marked_model


def test_a_reversed_sign_climbs(monkeypatch):
  reverse_rates(monkeypatch)
  climbing = options(
    method="closed-form", learning_rate_lsb=4.0, validation_fraction=0.0
  )
  report = tflm_fg.adapt(MODELS["int8"], X, Y, **climbing).report
  assert report["loss_after"] > 2 * report["loss_before"]


@pytest.mark.parametrize("trainable", ["bias", "all", "hidden", "head,hidden"])
def test_more_than_the_head_is_refused(trainable):
  with pytest.raises(TflmFgError, match="'closed-form' trains the last"):
    tflm_fg.adapt(MODELS["int8"], X, Y, trainable=trainable, **SETTINGS)


def test_a_head_that_ends_in_a_relu_is_refused():
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  flow = net.dense(net.dense(x, 16, "hidden"), 4, "head", relu=True)
  data = net.finish([x.index], [flow.index])
  with pytest.raises(TflmFgError, match="'closed-form' trains the last"):
    tflm_fg.adapt(data, X, Y, **SETTINGS)


def test_defaults_are_the_methods_own_and_a_value_overrides():
  report = tflm_fg.adapt(MODELS["int8"], X, Y, trainable="head").report
  assert report["settings"]["method"] == "auto"
  assert report["method"] == "closed-form"
  own = ClosedForm.defaults["steps"]
  assert own < 100
  assert Auto().steps is None
  assert SignSPSA().filled().steps > 1000
  assert SETTINGS["method"].filled().steps == own
  assert method_of("closed-form", steps=7).steps == 7

  def as_phase(method, **own):
    return method.as_phase(ClosedForm, **own).filled().steps

  assert as_phase(Auto()) == own
  assert as_phase(Auto(steps=7), steps=9) == 7
  assert as_phase(Auto(), steps=9) == 9


def test_a_head_is_exact_wherever_its_constants_stand_in_the_file():
  """Converters put constants first, widening appends what it adds."""
  for trainable in ("head", "wide-head"):
    marked = tflm_fg.mark_trainable(MODELS["conv"], trainable)
    head = tuple(t.index for t in marked.mark.trainable)
    assert exact_tensors(marked.data, marked.mark) == head
  kernel, _ = marked.mark.trainable
  assert kernel.index < marked.mark.head_input


@pytest.mark.parametrize("trainable", ["head", "head/kernel", "head/bias"])
def test_any_part_of_the_head_trains_and_replays(trainable):
  result = tflm_fg.adapt(
    MODELS["conv"],
    *data_for(MODELS["conv"]),
    trainable=trainable,
    **options(method="closed-form", validation_fraction=0.0),
  )
  assert result.report["loss_after"] < result.report["loss_before"]
  recorded = journal.parse(result.journal.to_bytes())
  assert bool(recorded.records[0].centre) == (trainable == "head")
  assert tflm_fg.replay(recorded, result.start) == result.marked_model
