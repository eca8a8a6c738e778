"""Prefix then suffix is the whole graph, bit for bit, in every engine."""

import dataclasses
import functools

import numpy as np
import pytest

from tests import models
from tflm_fg.runtimes.registry import installed, open_session
from tflm_fg.tflite import model_file
from tflm_fg.tflite.model_file import verify
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import cut, whole
from tflm_fg.types import TflmFgError


def residual_model():
  """x -> conv a -> conv b; a + b -> mean -> head: two tensors cross a cut."""
  net = models.Network(3)
  x = net.activation("x", (1, 6, 5, 2), 4.0)
  a = net.convolution(x, 4, "a")
  b = net.convolution(a, 4, "b")
  total = net.activation("sum", (1, 6, 5, 4), 6.0)
  net.operator(
    "ADD", [a.index, b.index], total.index, models.schema.AddOptionsT(), 2
  )
  flow = net.dense(net.mean(total), 3, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(flow).index])


def parallel_model():
  """x -> a -> b -> c; a + c -> mean -> head: training c leaves two inputs."""
  net = models.Network(4)
  x = net.activation("x", (1, 6, 5, 2), 4.0)
  a = net.convolution(x, 4, "a")
  c = net.convolution(net.convolution(a, 4, "b"), 4, "c")
  total = net.activation("sum", (1, 6, 5, 4), 6.0)
  net.operator(
    "ADD", [a.index, c.index], total.index, models.schema.AddOptionsT(), 2
  )
  flow = net.dense(net.mean(total), 3, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(flow).index])


@pytest.mark.parametrize("runtime", installed())
@pytest.mark.parametrize(
  "trainable", ["head", "depthwise", "b/kernel", "c/kernel", "conv"]
)
@pytest.mark.parametrize("wide", [False, True])
def test_prefix_then_suffix_equals_the_whole(runtime, trainable, wide):
  residual = {"b/kernel": residual_model, "c/kernel": parallel_model}
  if trainable in residual and wide:
    pytest.skip("the residual models are int8")
  plain = functools.partial(models.conv_model, wide=wide)
  data = residual.get(trainable, plain)()
  marked = mark_file(data, trainable)
  x = models.int8_samples((6, 5, 2), 5, dtype="int16" if wide else "int8")
  pieces = cut(marked.data, marked.mark)
  values = {pieces.graph_input: x}
  if pieces.prefix is not None:
    prefix = open_session(runtime, pieces.prefix)
    values.update(zip(pieces.prefix.outputs, prefix.run((x,))))
  suffix = open_session(runtime, pieces.suffix)
  (parts,) = suffix.run(tuple(values[i] for i in pieces.suffix.inputs))
  session = open_session(runtime, whole(marked.data, marked.mark))
  assert np.array_equal(parts, session.run((x,))[0])


def test_a_residual_that_crosses_the_cut_flows_in_beside_it():
  marked = mark_file(parallel_model(), "c/kernel")
  pieces = cut(marked.data, marked.mark)
  tensors = model_file.read(marked.data).subgraphs[0].tensors
  names = {tensors[i].name for i in pieces.suffix.inputs}
  assert names == {b"a/out", b"b/out"}


def test_no_prefix_where_the_first_layer_trains():
  marked = mark_file(models.conv_model(), "all")
  assert cut(marked.data, marked.mark).prefix is None


def test_the_suffix_of_a_head_is_small_sound_and_aligned():
  marked = mark_file(models.conv_model(), "head")
  pieces = cut(marked.data, marked.mark)
  for part in (pieces.prefix, pieces.suffix):
    verify(part.data)
    assert part.file.is_aligned
    assert len(part.data) < len(marked.data)
  model = model_file.read(pieces.suffix.data)
  names = [model_file.op_name(model, op) for op in model.subgraphs[0].operators]
  assert names == ["FULLY_CONNECTED"]


def test_cutting_leaves_the_marked_file_as_it_was():
  marked = mark_file(models.conv_model(), "head")
  before = bytes(bytearray(marked.data))
  cut(marked.data, marked.mark)
  whole(marked.data, marked.mark)
  assert marked.data == before


def test_a_reshape_to_one_sample_takes_a_batch():
  net = models.Network()
  x = net.activation("x", (1, 2, 4), 4.0)
  flat = net.tensor("flat", (1, 8), "int8", x.scale, x.zero_point)
  shape = net.tensor("shape", (2,), "int32", data=np.array([1, 8]))
  net.operator("RESHAPE", [x.index, shape], flat)
  flow = net.dense(dataclasses.replace(x, index=flat, shape=(1, 8)), 3, "head")
  marked = mark_file(net.finish([x.index], [flow.index]), "head")
  part = whole(marked.data, marked.mark)
  session = open_session("litert", part)
  assert session.traits.batches
  assert session.run((models.int8_samples((2, 4), 7),))[0].shape == (7, 3)


@pytest.mark.parametrize("operator", ["CALL_ONCE", "VAR_HANDLE"])
def test_models_that_keep_state_are_refused_by_operator(operator):
  model = model_file.read(models.dense_model())
  code = models.schema.OperatorCodeT()
  code.builtinCode = getattr(models.schema.BuiltinOperator, operator)
  code.deprecatedBuiltinCode = 127
  model.operatorCodes.append(code)
  op = models.schema.OperatorT()
  op.opcodeIndex = len(model.operatorCodes) - 1
  op.inputs, op.outputs = [], []
  model.subgraphs[0].operators.insert(0, op)
  marked = mark_file(model_file.pack(model), "head")
  with pytest.raises(TflmFgError, match=f"resource variables .{operator}"):
    cut(marked.data, marked.mark)


def test_several_inputs_are_refused():
  net = models.Network()
  first = net.activation("first", (1, 4), 4.0)
  second = net.activation("second", (1, 4), 4.0)
  total = net.activation("sum", (1, 4), 4.0)
  net.operator(
    "ADD",
    [first.index, second.index],
    total.index,
    models.schema.AddOptionsT(),
    2,
  )
  out = net.dense(total, 3, "head")
  marked = mark_file(
    net.finish([first.index, second.index], [out.index]), "head"
  )
  with pytest.raises(TflmFgError, match="2 inputs"):
    cut(marked.data, marked.mark)
