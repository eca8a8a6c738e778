"""The closed form is the head's true gradient, from one pass."""

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg import journal, runtimes
from tflm_fg.base import TflmFgError
from tflm_fg.data import Dataset
from tflm_fg.graph import Graph, loss_of
from tflm_fg.losses import CrossEntropy
from tflm_fg.passes import BatchPasses
from tflm_fg.quant import Layout, dequantize

X, Y = models.separable()
TEST = models.separable(seed=1)
MODELS = {
  "int8": models.dense_model(),
  "per-tensor": models.dense_model(per_channel=False),
  "16x8": models.dense_model(wide=True),
  "conv": models.conv_model(),
}
SETTINGS = tflm_fg.Settings(method="closed-form")


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
  marked = tflm_fg.mark(model, trainable)
  graph = Graph(marked.data, marked.mark, "litert")
  clips = graph.clips(Dataset(x, y), "x")
  layout = Layout(marked.mark.trainable)
  head = graph.head(clips)
  weights = graph.suffix.params()
  rule = SETTINGS.rule(layout, len(clips), head)
  passes = BatchPasses(graph.suffix, loss_of(graph.logits), clips)
  estimate = rule.estimator(passes, layout.params(weights), 0)
  assert graph.suffix.forward_passes == 1

  features = clips.inputs[0].reshape(len(clips), -1)
  inputs = dequantize(features, head.input_scale, head.input_zero_point)
  logits = passes.logits(weights) * graph.logits.scale
  residual = (softmax(logits) - np.eye(logits.shape[1])[y]) / len(y)
  safe = 2 / ((inputs**2).sum(axis=1).mean() + 1)
  gradient = rule.estimator.gradient(estimate)
  for tensor in marked.mark.trainable:
    if tensor.role == "kernel":
      steps = residual.T @ inputs * safe / np.reshape(tensor.scales, (-1, 1))
      got = gradient.kernels.reshape(steps.shape)
    else:
      units = np.array(tensor.scales) * np.array(tensor.output_step)
      steps = residual.sum(axis=0) * safe / units
      got = gradient.biases
    error = np.abs(got / 65536 - steps).max()
    assert error < 0.01 * np.abs(steps).max() + 1e-4


@pytest.mark.parametrize("runtime", runtimes.installed())
@pytest.mark.parametrize("kind", ["int8", "per-tensor", "16x8"])
def test_a_hundred_passes_are_enough(kind, runtime):
  report = tflm_fg.adapt(
    MODELS[kind], X, Y, test=TEST, runtime=runtime, settings=SETTINGS
  ).report
  assert report["forward_passes"] <= 100
  assert report["accuracy_after"] > 0.9
  assert report["loss_after"] < 0.5 * report["loss_before"]


def test_one_seed_gives_the_same_bytes_and_the_journal_replays_to_them():
  one, two = (
    tflm_fg.adapt(MODELS["int8"], X, Y, settings=SETTINGS) for _ in range(2)
  )
  assert one.model == two.model
  recorded = journal.parse(one.journal.to_bytes())
  assert tflm_fg.replay(recorded, one.marked) == one.model


def test_a_reversed_sign_climbs():
  settings = tflm_fg.Settings(
    method="closed-form", learning_rate_lsb=-4.0, validation_fraction=0.0
  )
  report = tflm_fg.adapt(MODELS["int8"], X, Y, settings=settings).report
  assert report["loss_after"] > 2 * report["loss_before"]


@pytest.mark.parametrize("trainable", ["bias", "all", "hidden", "head,hidden"])
def test_more_than_the_head_is_refused(trainable):
  with pytest.raises(TflmFgError, match="'closed-form' trains the last"):
    tflm_fg.adapt(MODELS["int8"], X, Y, trainable=trainable, settings=SETTINGS)


def test_a_head_that_ends_in_a_relu_is_refused():
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  flow = net.dense(net.dense(x, 16, "hidden"), 4, "head", relu=True)
  data = net.finish([x.index], [flow.index])
  with pytest.raises(TflmFgError, match="'closed-form' trains the last"):
    tflm_fg.adapt(data, X, Y, settings=SETTINGS)


def test_defaults_are_the_methods_own_and_a_value_overrides():
  assert tflm_fg.Settings().steps == 3800
  assert SETTINGS.steps == 80
  assert tflm_fg.Settings(method="closed-form", steps=7).steps == 7
