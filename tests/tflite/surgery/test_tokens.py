"""A head that joins layers of tokens, as vision transformers have them."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tests.options import options
from tflm_fg.placement.measure import measured
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import (
  RuntimeOptions,
  installed,
  open_session,
)
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.wide_head import widths_of

SAMPLES = np.random.default_rng(0).integers(-128, 128, (12, 4, 4, 2))
SAMPLES = SAMPLES.astype("int8")
ENGINES = sorted({*installed()} - {"tf"})


def reshaped(net, flow, shape, name):
  """RESHAPE to a constant shape with a fixed batch."""
  target = net.tensor(
    f"{name}/shape", (len(shape),), "int32", data=np.array(shape)
  )
  out = net.tensor(name, shape, "int8", flow.scale, flow.zero_point)
  options = schema.ReshapeOptionsT()
  net.operator("RESHAPE", [flow.index, target], out, options, 1)
  return models.Flow(out, shape, flow.scale, flow.zero_point)


@functools.cache
def token_model(shape):
  """Patches [1, 4, 4, 6] as tokens of a shape -> dense -> mean -> head."""
  net = models.Network(6)
  x = net.activation("x", (1, 4, 4, 2), 4.0, models.IMAGE)
  flow = net.convolution(x, 6, "patches")
  flow = reshaped(net, flow, (*shape, 6), "tokens")
  weights = net._weights("mixed", (5, 6), 0, flow, True)
  out = net.activation("mixed/out", (*shape, 5), 4.0)
  dense = schema.FullyConnectedOptionsT()
  dense.keepNumDims = len(shape) > 1
  net.operator("FULLY_CONNECTED", [flow.index, *weights], out.index, dense, 5)
  flow = reshaped(net, out, (1, 4, 4, 5), "grid")
  flow = net.convolution(flow, 4, "last")
  flow = net.dense(net.mean(flow), 3, "head", reach=8.0)
  return net.finish([x.index], [flow.index])


SHAPES = [(16,), (1, 16), (2, 8), (2, 2, 4)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def widened(shape, measure=False):
  data, graph_options = token_model(shape), GraphOptions()
  if measure:
    graph_options, _ = measured(data, SAMPLES, graph_options, RuntimeOptions())
  return data, mark_file(data, "wide-head", graph_options=graph_options)


@every_shape
@pytest.mark.parametrize("runtime", ENGINES)
def test_joining_tokens_leaves_the_outputs_as_they_were(runtime, shape):
  data, marked = widened(shape, measure=runtime == "litert")
  before, after = (
    open_session(runtime, whole(file, unmarked(file))).run((SAMPLES,))[0]
    for file in (data, tflm_fg.strip(marked.data))
  )
  assert len(np.unique(before)) > 3
  assert before.tobytes() == after.tobytes()


@every_shape
def test_the_head_reads_the_mean_over_tokens_of_each_sample(shape):
  _, marked = widened(shape)
  assert widths_of(marked.file) == [6, 5]
  graph = SplitModel(marked.file, marked.mark, RuntimeOptions())
  (together,) = graph.features(SAMPLES)
  alone = np.concatenate(
    [graph.features(SAMPLES[i : i + 1])[0] for i in range(len(SAMPLES))]
  )
  assert np.array_equal(together, alone)
  assert (together[:, -5:].std(axis=0) > 0).sum() > 2


def test_all_forms_of_the_same_tokens_give_the_head_the_same():
  found = []
  for shape in SHAPES:
    _, marked = widened(shape)
    graph = SplitModel(marked.file, marked.mark, RuntimeOptions())
    found.append(graph.features(SAMPLES)[0])
  assert all(np.array_equal(found[0], other) for other in found[1:])


@every_shape
def test_a_wide_head_over_tokens_adapts(shape):
  y = np.arange(len(SAMPLES)) % 3
  result = tflm_fg.adapt(
    token_model(shape),
    SAMPLES,
    y,
    trainable="wide-head",
    **options(method="closed-form", steps=3),
  )
  assert tflm_fg.replay(result.journal, token_model(shape)) == (
    result.marked_model
  )
