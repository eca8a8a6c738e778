"""Ends become floats, and what lies between stays as it was."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import tflm_fg
from converters.float_ends import TAKEN, described, with_float_ends
from tests import models
from tflm_fg.tflite import model_file
from tflm_fg.types import TflmFgError

BYTES = {"float64": 8, "uint32": 4}

KINDS = {
  "dense": models.dense_model,
  "dense, int16": lambda: models.dense_model(wide=True),
  "convolutions": models.conv_model,
  "recurrent": models.recurrent_model,
  "uint8": lambda: models.uint8_model(models.dense_model(per_channel=False)),
  "adapted": lambda: adapted(),
}


@functools.cache
def adapted() -> bytes:
  """A file with a mark and an input prompt."""
  return tflm_fg.mark_trainable(
    models.conv_model(), "prompt", graph_options=tflm_fg.GraphOptions(gain=True)
  ).data


def interpreter(data, resolver=OpResolverType.BUILTIN_REF):
  made = Interpreter(model_content=data, experimental_op_resolver_type=resolver)
  made.allocate_tensors()
  return made


def ends(model, number=0):
  graph = model.subgraphs[number]
  return [
    graph.tensors[i] for f in ("inputs", "outputs") for i in getattr(graph, f)
  ]


def on_steps(details, seed=0):
  """Numbers of an input, and the floats that they stand for."""
  kind = np.iinfo(details["dtype"])
  random = np.random.default_rng(seed)
  numbers = random.integers(
    kind.min, kind.max, details["shape"], dtype=details["dtype"], endpoint=True
  )
  scale, zero_point = details["quantization"]
  return numbers, ((numbers.astype(np.float64) - zero_point) * scale)


def same_outputs(old, new, resolver):
  """What both files give for the same steps; the new one's as steps."""
  before, after = interpreter(old, resolver), interpreter(new, resolver)
  gives, takes = before.get_output_details()[0], before.get_input_details()[0]
  scale, zero_point = gives["quantization"]
  for seed in range(8):
    numbers, floats = on_steps(takes, seed)
    before.set_tensor(takes["index"], numbers)
    after.set_tensor(
      after.get_input_details()[0]["index"], floats.astype(np.float32)
    )
    for engine in (before, after):
      engine.reset_all_variables()
      engine.invoke()
    wanted = before.get_tensor(gives["index"]).astype(np.int64)
    found = after.get_tensor(after.get_output_details()[0]["index"])
    assert found.dtype == np.float32
    yield wanted, np.rint(found.astype(np.float64) / scale) + zero_point


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resolver", ["BUILTIN_REF", "BUILTIN"])
def test_what_lies_between_gives_the_same_numbers(kind, resolver):
  old = KINDS[kind]()
  new = with_float_ends(tflm_fg.strip(old))
  for wanted, found in same_outputs(
    old, new, getattr(OpResolverType, resolver)
  ):
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_every_end_is_one_that_a_browser_passes(kind):
  model = model_file.read(with_float_ends(KINDS[kind]()))
  for tensor in ends(model):
    assert model_file.TYPE_NAMES[tensor.type] in TAKEN


def test_every_signature_gets_float_ends_and_keeps_its_names():
  old = models.signed(models.dense_model(), twins=2)
  assert described(old) == [
    f"{key}(input_0 int8 [1, 8]) -> output_0 int8 [1, 4]"
    for key in ("serve", "twin0", "twin1")
  ]
  new = with_float_ends(old)
  assert described(new) == [
    f"{key}(input_0 float32 [1, 8]) -> output_0 float32 [1, 4]"
    for key in ("serve", "twin0", "twin1")
  ]
  engine = interpreter(new)
  x = np.ones((1, 8), np.float32)
  found = [
    engine.get_signature_runner(key)(input_0=x)["output_0"]
    for key in ("serve", "twin0", "twin1")
  ]
  np.testing.assert_array_equal(found[0], found[1])
  np.testing.assert_array_equal(found[0], found[2])


def test_two_signatures_may_share_a_subgraph():
  model = model_file.read(models.signed(models.dense_model(), twins=0))
  model.signatureDefs.append(copy.deepcopy(model.signatureDefs[0]))
  model.signatureDefs[1].signatureKey = b"again"
  new = with_float_ends(model_file.pack(model))
  engine = interpreter(new)
  x = np.ones((1, 8), np.float32)
  first, second = (
    engine.get_signature_runner(key)(input_0=x)["output_0"]
    for key in ("serve", "again")
  )
  np.testing.assert_array_equal(first, second)
  assert len(new) < len(models.dense_model()) + 1200


def test_constants_and_names_of_tensors_stay():
  old = models.dense_model()
  before, after = (model_file.read(d) for d in (old, with_float_ends(old)))
  assert [t.name for t in ends(before)] == [t.name for t in ends(after)]
  held = [bytes(b.data) for b in before.buffers if b.data is not None]
  assert held == [bytes(b.data) for b in after.buffers if b.data is not None]


def test_a_file_that_has_float_ends_gains_no_operator():
  once = with_float_ends(models.dense_model())
  assert with_float_ends(once) == once


def state_model(kind, scale=None, end=None):
  """Gives back what it is given: [3] of one type, named state.

  With `end` it is an input alone, or an output alone.
  """
  net = models.Builder()
  index = net.tensor("state", (3,), "int8", scale)
  if end == "outputs":
    constant = schema.BufferT()
    constant.data = np.zeros(3 * BYTES.get(kind, 1), np.uint8)
    net.model.buffers.append(constant)
    net.graph.tensors[index].buffer = 1
  codes = {name: code for code, name in model_file.TYPE_NAMES.items()}
  net.graph.tensors[index].type = codes[kind]
  other = net.tensor("other", (3,), "float32")
  inputs = [index, other] if end != "outputs" else [other]
  return net.finish(inputs, [other] if end == "inputs" else [index])


@pytest.mark.parametrize(
  "kind, given, taken",
  [
    ("int8", [-300, -7, 300], [-128, -7, 127]),
    ("int16", [-70000, 255, 70000], [-32768, 255, 32767]),
    ("int64", [-(2**31), 5, 2**31 - 1], [-(2**31), 5, 2**31 - 1]),
    ("bool", [0, 1, 7], [0, 1, 1]),
  ],
)
def test_whole_numbers_without_a_scale_cross_as_int32(kind, given, taken):
  engine = interpreter(with_float_ends(state_model(kind)))
  engine.set_tensor(
    engine.get_input_details()[0]["index"], np.array(given, np.int32)
  )
  engine.invoke()
  found = engine.get_tensor(engine.get_output_details()[0]["index"])
  assert found.dtype == np.int32
  assert found.tolist() == taken


@pytest.mark.parametrize("kind", ["float32", "int32", "uint8"])
def test_what_a_browser_passes_stays(kind):
  old = state_model(kind)
  model = model_file.read(with_float_ends(old))
  assert not model.subgraphs[0].operators


@pytest.mark.parametrize("end", ["inputs", "outputs"])
@pytest.mark.parametrize("kind", ["string", "float64", "uint32", "resource"])
def test_other_types_are_refused_by_name(kind, end):
  with pytest.raises(TflmFgError) as fault:
    with_float_ends(state_model(kind, end=end), "m.tflite")
  said = str(fault.value)
  assert said.startswith(
    f"m.tflite: {end[:-1]} 'state' of subgraph 0 is {kind}"
  )
  assert "convert the model again" in said


def test_a_scale_a_channel_is_refused_by_name():
  with pytest.raises(TflmFgError, match=r"'state' .* a scale a channel"):
    with_float_ends(state_model("int8", scale=[0.1, 0.2, 0.3]))


def test_a_way_in_that_an_operator_runs_too_is_refused():
  model = model_file.read(models.signed(models.dense_model(), twins=1))
  options = schema.CallOnceOptionsT()
  options.initSubgraphIndex = 1
  op = schema.OperatorT()
  op.builtinOptions = options
  op.builtinOptionsType = schema.BuiltinOptions.CallOnceOptions
  op.inputs, op.outputs = [], []
  code = schema.OperatorCodeT()
  code.builtinCode = schema.BuiltinOperator.CALL_ONCE
  code.deprecatedBuiltinCode = 127
  model.operatorCodes.append(code)
  op.opcodeIndex = len(model.operatorCodes) - 1
  model.subgraphs[0].operators.append(op)
  with pytest.raises(TflmFgError, match="operators run subgraph 1"):
    with_float_ends(model_file.pack(model))
