"""Put trainable numbers at the input: an offset and a gain a channel.

The counterpart of visual prompt tuning (Jia et al., 2022) for a graph of fixed
shape: y = gain * x + offset in front of the first layer, as stock int8 MUL and
ADD with a constant. A microphone is a constant a cepstral coefficient; a few
numbers undo it.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.layers import has_scale, tensor_name
from tflm_fg.tflite.model_file import TYPE_NAMES, op_name
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.surgery.edit import (
  add_tensor,
  insert_operator,
  redirect,
)
from tflm_fg.types import NotApplicable

OFFSET, GAIN = "tflm_fg/prompt/offset", "tflm_fg/prompt/gain"

OFFSET_STEPS = 4
"""Steps of the offset in one step of the input: it reaches 127 / 4 of them."""

GAIN_ONE = 64
"""The gain's value that stands for 1: it reaches from 0 to 127 / 64."""

_BEFORE = ("QUANTIZE", "RESHAPE", "EXPAND_DIMS", "SQUEEZE")


def prompts_of(graph: Subgraph) -> list[int]:
  """Indices of the prompt's constants, in the order of running."""
  there = {tensor.name: i for i, tensor in enumerate(graph.tensors)}
  return [there[name] for name in (GAIN, OFFSET) if name in there]


def role_of(graph: Subgraph, index: int) -> str:
  """The role of one of the prompt's constants."""
  return "gain" if graph.tensors[index].name == GAIN else "offset"


def insert_prompt(
  model: schema.ModelT,
  source: int,
  gain: bool,
  name: str,
  common_gain: bool = False,
) -> int:
  """Inserts the operators; outputs stay as they are, bit for bit.

  Args:
    model: the unpacked model, edited.
    source: the input that samples go to.
    gain: whether a gain comes before the offset.
    name: what to call the file in errors.
    common_gain: whether the gain is one number for all channels.

  Returns:
    Count of trainable numbers.

  Raises:
    TflmFgError: if the input is not int8 with a scale.
  """
  flow, position = _first_flow(model, source, name)
  numbers = 0
  for kind in (GAIN, OFFSET) if gain else (OFFSET,):
    alone = common_gain and kind == GAIN
    flow, constant = _insert(model, flow, position, kind, alone)
    numbers += int(np.prod(model.subgraphs[0].tensors[constant].shape))
    position += 1
  return numbers


def _first_flow(
  model: schema.ModelT, source: int, name: str
) -> tuple[int, int]:
  """The activation that the first real layer reads, and that layer's place."""
  graph = model.subgraphs[0]
  flow, position = source, 0
  for number, op in enumerate(graph.operators):
    if op_name(model, op) in _BEFORE and int(op.inputs[0]) == flow:
      flow, position = int(op.outputs[0]), number + 1
  tensor = graph.tensors[flow]
  if TYPE_NAMES.get(tensor.type) == "uint8" and has_scale(tensor):
    return _int8_between(model, flow, position), position + 1
  if TYPE_NAMES.get(tensor.type) != "int8" or not has_scale(tensor):
    raise NotApplicable(
      f"{name}: a prompt needs an int8 input with a scale, "
      f"{tensor_name(tensor)!r} is {TYPE_NAMES.get(tensor.type)}; "
      "choose another --trainable"
    )
  return flow, position


def _int8_between(model: schema.ModelT, flow: int, position: int) -> int:
  """Brings a uint8 flow to int8 and back; the int8 flow, where prompts go."""
  tensor = model.subgraphs[0].tensors[flow]
  name, shape = tensor_name(tensor), tuple(int(d) for d in tensor.shape)
  grid = tensor.quantization
  scale, zero_point = float(grid.scale[0]), int(grid.zeroPoint[0])
  inner, behind = (
    add_tensor(model, f"{name}/{dtype}", shape, dtype, scale, zero_point - less)
    for dtype, less in (("int8", 128), ("uint8", 0))
  )
  redirect(model, flow, behind, position)
  for place, (source, to) in enumerate(((flow, inner), (inner, behind))):
    options = schema.QuantizeOptionsT()
    insert_operator(
      model, position + place, "QUANTIZE", [source], to, options, version=2
    )
  return inner


def _insert(
  model: schema.ModelT, flow: int, position: int, kind: str, alone: bool
) -> tuple[int, int]:
  """One operator; the new flow and the constant, of one number if alone."""
  tensor = model.subgraphs[0].tensors[flow]
  scale = float(tensor.quantization.scale[0])
  shape = tuple(int(d) for d in tensor.shape)
  if kind == GAIN:
    step, start, op, options = 1 / GAIN_ONE, GAIN_ONE, "MUL", schema.MulOptionsT
  else:
    step, start, op, options = (
      scale / OFFSET_STEPS,
      0,
      "ADD",
      schema.AddOptionsT,
    )
  channels = (1,) * len(shape) if alone else channels_of(shape)
  values = np.full(channels, start, np.int8)
  constant = add_tensor(model, kind, values.shape, "int8", step, 0, values)
  zero_point = int(tensor.quantization.zeroPoint[0])
  fresh = add_tensor(model, kind + "/out", shape, "int8", scale, zero_point)
  redirect(model, flow, fresh, position)
  insert_operator(
    model, position, op, [flow, constant], fresh, options(), version=2
  )
  return fresh, constant


def channels_of(shape: tuple[int, ...]) -> tuple[int, ...]:
  """The prompt's shape: one number a channel.

  The last axis that is longer than 1 holds the channels: colours of an image,
  coefficients of [1, frames, coefficients, 1], features of [1, features].
  """
  axis = max((i for i, d in enumerate(shape) if i and d > 1), default=0)
  return tuple(d if i == axis else 1 for i, d in enumerate(shape))
