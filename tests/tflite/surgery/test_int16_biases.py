"""int32 biases beside int16 activations: widened, refused, or left alone."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tests.refusals import refused
from tflm_fg.runtimes.registry import installed, open_session
from tflm_fg.tflite import model_file
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.known_forms import misread_biases
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole

KINDS = ("dense", "conv", "depthwise", "transposed")


def layer(kind):
  """An int16 layer with an int64 bias, and a head behind it."""
  net = models.Network(0, wide=True)
  shape = (1, 8) if kind == "dense" else (1, 4, 3, 2)
  x = net.activation("x", shape, 4.0)
  if kind == "dense":
    flow = net.dense(x, 6)
  elif kind == "transposed":
    flow = net.transposed(x, 3, "up")
  else:
    flow = net.convolution(x, 2, depthwise=kind == "depthwise")
  if len(shape) == 4:
    flow = net.mean(flow)
  out = net.dense(flow, 3, "head")
  return net.finish([x.index], [out.index]), shape


def with_int32_biases(data, says=schema.TensorType.FLOAT32):
  """The same file with int32 biases, its options saying so or nothing."""
  model = model_file.read(data)
  for tensor in model.subgraphs[0].tensors:
    if tensor.type == schema.TensorType.INT64:
      buffer = model.buffers[tensor.buffer]
      values = np.asarray(buffer.data).view("<i8").astype("<i4")
      buffer.data, tensor.type = values.view(np.uint8), schema.TensorType.INT32
  for op in model.subgraphs[0].operators:
    if hasattr(op.builtinOptions, "quantizedBiasType"):
      op.builtinOptions.quantizedBiasType = says
  return model_file.pack(model)


def outputs(data, shape, runtime):
  x = np.random.default_rng(1).integers(-20_000, 20_000, (4, *shape[1:]))
  session = open_session(runtime, whole(data, unmarked(data)))
  return session.run((x.astype("int16"),))[0]


@pytest.mark.parametrize("runtime", sorted({*installed()} - {"tf"}))
@pytest.mark.parametrize("kind", KINDS)
def test_a_marked_file_gives_what_int64_biases_give(kind, runtime):
  """Whether the options said int32 already or not."""
  data, shape = layer(kind)
  want = outputs(data, shape, runtime)
  for says in (schema.TensorType.FLOAT32, schema.TensorType.INT32):
    marked = mark_file(with_int32_biases(data, says), "bias")
    assert not misread_biases(marked.file.subgraph)
    got = outputs(tflm_fg.strip(marked.data), shape, runtime)
    assert np.abs(got.astype(int) - want).max() <= 2


def test_biases_that_every_engine_reads_stay_as_they_are():
  narrow = with_int32_biases(layer("conv")[0], schema.TensorType.INT32)
  marked = mark_file(narrow, "head")
  assert not any("widened" in note for note in marked.notes)
  assert marked.mark.trainable[1].dtype == "int32"


def test_what_is_changed_is_said_once():
  marked = mark_file(with_int32_biases(layer("depthwise")[0]), "head")
  (note,) = [note for note in marked.notes if "widened" in note]
  assert "2 int16 layers" in note


@pytest.mark.parametrize("runtime", sorted({*installed()} - {"tf"}))
def test_a_file_that_would_be_misread_is_not_run(runtime):
  data, shape = layer("depthwise")
  narrow = with_int32_biases(data)
  refused(
    lambda: outputs(narrow, shape, runtime),
    "DEPTHWISE_CONV_2D",
    "tflm-fg-convert",
  )
