"""Prefix then suffix is the whole graph, bit for bit, in every engine."""

import numpy as np
import pytest

from tests import models
from tflm_fg import flatbuffer, runtimes
from tflm_fg.base import TflmFgError
from tflm_fg.flatbuffer_cut import cut, whole
from tflm_fg.flatbuffer_mark import mark
from tflm_fg.flatbuffer_verify import verify


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


@pytest.mark.parametrize("runtime", runtimes.installed())
@pytest.mark.parametrize("trainable", ["head", "depthwise", "b/kernel", "conv"])
@pytest.mark.parametrize("wide", [False, True])
def test_prefix_then_suffix_equals_the_whole(runtime, trainable, wide):
  residual = trainable == "b/kernel"
  if residual and wide:
    pytest.skip("the residual model is int8")
  data = residual_model() if residual else models.conv_model(wide=wide)
  marked = mark(data, trainable)
  x = models.int8_clips((6, 5, 2), 5, dtype="int16" if wide else "int8")
  pieces = cut(marked.data, marked.mark)
  values = {pieces.graph_input: x}
  if pieces.prefix is not None:
    prefix = runtimes.open_session(runtime, pieces.prefix)
    values.update(zip(pieces.prefix.outputs, prefix.run((x,))))
  suffix = runtimes.open_session(runtime, pieces.suffix)
  (parts,) = suffix.run(tuple(values[i] for i in pieces.suffix.inputs))
  session = runtimes.open_session(runtime, whole(marked.data, marked.mark))
  assert np.array_equal(parts, session.run((x,))[0])


def test_a_residual_that_crosses_the_cut_flows_in_beside_it():
  marked = mark(residual_model(), "b/kernel")
  pieces = cut(marked.data, marked.mark)
  assert len(pieces.suffix.inputs) == 1  # conv b and ADD both read conv a
  marked = mark(residual_model(), "head")
  assert len(cut(marked.data, marked.mark).suffix.inputs) == 1


def test_no_prefix_where_the_first_layer_trains():
  marked = mark(models.conv_model(), "all")
  assert cut(marked.data, marked.mark).prefix is None


def test_the_suffix_of_a_head_is_small_sound_and_aligned():
  marked = mark(models.conv_model(), "head")
  pieces = cut(marked.data, marked.mark)
  for part in (pieces.prefix, pieces.suffix):
    verify(part.data)
    assert flatbuffer.is_aligned(part.data)
    assert len(part.data) < len(marked.data)
  model = flatbuffer.read(pieces.suffix.data)
  names = [flatbuffer.op_name(model, op) for op in model.subgraphs[0].operators]
  assert names == ["FULLY_CONNECTED"]


def test_cutting_leaves_the_marked_file_as_it_was():
  marked = mark(models.conv_model(), "head")
  before = bytes(bytearray(marked.data))
  cut(marked.data, marked.mark)
  whole(marked.data, marked.mark)
  assert marked.data == before


def test_a_reshape_to_one_clip_takes_a_batch():
  net = models.Network()
  x = net.activation("x", (1, 2, 4), 4.0)
  flat = net.tensor("flat", (1, 8), "int8", x.scale)
  shape = net.tensor("shape", (2,), "int32", data=np.array([1, 8]))
  net.operator("RESHAPE", [x.index, shape], flat)
  flow = net.dense(models.Flow(flat, (1, 8), x.scale), 3, "head")
  marked = mark(net.finish([x.index], [flow.index]), "head")
  part = whole(marked.data, marked.mark)
  session = runtimes.open_session("litert", part)
  assert session.traits.batches
  assert session.run((models.int8_clips((2, 4), 7),))[0].shape == (7, 3)


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
  marked = mark(net.finish([first.index, second.index], [out.index]), "head")
  with pytest.raises(TflmFgError, match="2 inputs"):
    cut(marked.data, marked.mark)
