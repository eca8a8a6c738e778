"""A head computed here gives an engine's logits, or is one step away."""

import numpy as np
import pytest

from tests import models
from tflm_fg.gradients.dense_passes import DensePasses, dense_layer
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples import Dataset
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import cut
from tflm_fg.training.objective import loss_of
from tflm_fg.types import TflmFgError

X, Y = models.separable()
MODELS = {
  "per channel": models.dense_model(),
  "per tensor": models.dense_model(per_channel=False),
  "16x8": models.dense_model(wide=True),
  "pointwise": models.pointwise_model(),
}


def opened(kind, trainable="head"):
  marked = mark_file(MODELS[kind], trainable)
  graph = SplitModel(
    marked.data, marked.mark, RuntimeOptions(runtime="litert-reference")
  )
  x, y = X, Y
  if kind == "pointwise":
    x = np.random.default_rng(0).normal(0, 1.5, (90, 6, 5, 2)).astype("f4")
    y = np.arange(90) % 3
  layer = dense_layer(
    cut(marked.data, marked.mark).suffix, marked.mark.trainable
  )
  return graph, graph.samples(Dataset(x, y), "x"), layer


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("trainable", ["head", "head/kernel", "head/bias"])
def test_logits_are_the_engines_and_few_are_one_step_away(kind, trainable):
  graph, samples, layer = opened(kind, trainable)
  passes = DensePasses(
    layer=layer,
    inputs=samples.inputs,
    labels=samples.labels,
    loss=loss_of(graph.logits),
  )
  random = np.random.default_rng(0)
  held = graph.suffix.params()
  for scale in (0, 1, 60):
    weights = []
    for array in held:
      noise = random.integers(-scale, scale + 1, array.shape)
      if array.dtype.itemsize > 2:
        noise *= 50
        weights.append((array + noise).astype(array.dtype))
      else:
        weights.append(np.clip(array + noise, -127, 127).astype(array.dtype))
    graph.suffix.load(weights)
    (wanted,) = graph.suffix.run(samples.inputs)
    got = passes.logits(weights)
    assert got.dtype == wanted.dtype
    away = np.abs(got.astype(int) - wanted.reshape(len(wanted), -1))
    assert away.max() <= 1 and away.mean() < 0.02


def test_losses_are_those_of_the_logits_and_no_engine_runs():
  graph, samples, layer = opened("per channel")
  loss = loss_of(graph.logits)
  passes = DensePasses(
    layer=layer,
    inputs=samples.inputs,
    labels=samples.labels,
    loss=loss,
  )
  before = graph.forward_passes
  weights = graph.suffix.params()
  (total,) = passes.losses([weights])
  assert total == loss(passes.logits(weights), samples.labels)
  assert passes.activations(weights)[0] is samples.inputs[0]
  assert graph.forward_passes == before


def test_what_is_no_dense_layer_of_int8_is_refused():
  marked = mark_file(models.conv_model(), "all")
  with pytest.raises(TflmFgError, match=r"CONV_2D.*one dense layer"):
    dense_layer(cut(marked.data, marked.mark).suffix, marked.mark.trainable)
