"""Let numbers of chosen layers flow in as data, one value of them a sample.

Behind a layer, in front of its activation function, a stock MUL takes a gain a
channel and a stock ADD an offset a channel, both constants of shape
[1, 1, 1, C]. `constants_to_inputs` then makes such constants inputs, which may
be [N, 1, 1, C]. The file is for training: `fold` brings what was found back
into kernels and biases.

A layer with a ReLU keeps only what is above zero, and the gain and the offset
must see the rest too. So its sums are kept in int8 over a range that is twice
as wide and a step that is twice as coarse, which moves the layer's output by
one step at most. Sums that the layer would have cut off at the top of its
range stay cut off before a gain under 1 can bring them back, and int16 has
bits to spare for a range that is twice as wide in any case.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.layers import Site, has_scale, tensor_name
from tflm_fg.tflite.model_file import TYPE_NAMES, ModelFile, op_name
from tflm_fg.tflite.surgery.edit import add_tensor, insert_operator
from tflm_fg.tflite.tensors import Part
from tflm_fg.types import TflmFgError

PREFIX = "tflm_fg/layer/"
"""Names of all tensors that are added here begin so; then comes a number."""

OFFSET_SHARE = 2
"""Steps of an offset in one step of the layer's sums."""

GAIN_ONE = 64
"""Steps of a gain that stand for 1: it reaches from 0 to 127 / 64."""

_RELUS = ("RELU", "RELU6")
_ACTIVATIONS = {
  code: name
  for name, code in vars(schema.ActivationFunctionType).items()
  if isinstance(code, int)
}


def constants_to_inputs(part: Part) -> Part:
  """Makes a part's trainable constants inputs, behind its other inputs.

  Args:
    part: a piece of the graph; its trainable constants have shape [1, ...].

  Returns:
    The piece without trainable constants. Fed with the constants' values it
    gives the same outputs.

  Raises:
    TflmFgError: if a constant's first axis is longer than 1.
  """
  model = part.file.unpack()
  graph = model.subgraphs[0]
  for index in part.writable:
    tensor = graph.tensors[index]
    shape = [int(d) for d in tensor.shape]
    if len(shape) < 2 or shape[0] != 1:
      raise TflmFgError(
        f"{tensor.name.decode()}: shape {shape} has no axis of samples; "
        "use another --method"
      )
    tensor.buffer = 0
  graph.inputs = np.array([*graph.inputs, *part.writable], np.int32)
  file = ModelFile.packed(model, part.file.name)
  return part._replace(file=file, writable=())


def perturb_layers(
  model: schema.ModelT, sites: Sequence[Site], gain: bool, name: str = "model"
) -> list[int]:
  """Inserts an offset a channel, and where asked for a gain, behind layers.

  Args:
    model: the unpacked model, edited. The layers' kernels and biases have
      tensors of their own, see `repair.mend`.
    sites: the layers, in the order of running.
    gain: whether a gain comes in front of the offset.
    name: what to call the file in errors.

  Returns:
    The indices of the constants, in the order of running.

  Raises:
    TflmFgError: if a layer's output is not int8 or int16 with a scale, or its
      activation function is neither none, RELU nor RELU6.
  """
  constants, inserted = [], 0
  for number, site in enumerate(sites):
    layer = site.operator + inserted
    output = _required_output(model, layer, name)
    before = len(model.subgraphs[0].operators)
    constants += _perturb(model, layer, output, gain, f"{PREFIX}{number}")
    inserted += len(model.subgraphs[0].operators) - before
  return constants


def _required_output(model: schema.ModelT, layer: int, name: str) -> int:
  """The tensor that a layer makes, where it can be perturbed."""
  graph = model.subgraphs[0]
  op = graph.operators[layer]
  output = int(op.outputs[0])
  tensor = graph.tensors[output]
  kind = TYPE_NAMES.get(tensor.type, "unknown")
  behind = activation_of(op)
  if kind not in ("int8", "int16") or not has_scale(tensor):
    raise TflmFgError(
      f"{name}: {tensor_name(tensor)!r} is {kind}; only layers whose output is "
      "int8 or int16 with a scale can be perturbed"
    )
  if behind not in ("NONE", *_RELUS):
    raise TflmFgError(
      f"{name}: operator {layer} {op_name(model, op)} ends in {behind}; only "
      "layers that end in RELU, RELU6 or nothing can be perturbed"
    )
  return output


def activation_of(op: schema.OperatorT) -> str:
  """The activation function that an operator ends in, or "NONE"."""
  code = int(getattr(op.builtinOptions, "fusedActivationFunction", 0) or 0)
  return _ACTIVATIONS.get(code, str(code))


def _perturb(
  model: schema.ModelT, layer: int, output: int, gain: bool, prefix: str
) -> list[int]:
  """Puts MUL and ADD between a layer and its output; their constants."""
  graph = model.subgraphs[0]
  op, tensor = graph.operators[layer], graph.tensors[output]
  kind = TYPE_NAMES[tensor.type]
  shape = tuple(int(d) for d in tensor.shape)
  scale, zero_point = _wide_range(tensor, activation_of(op), kind)
  channels = (*(1 for _ in shape[:-1]), shape[-1])
  one = GAIN_ONE if kind == "int8" else GAIN_ONE << 8

  def flow(name: str) -> int:
    return add_tensor(model, prefix + name, shape, kind, scale, zero_point)

  def constant(name: str, start: int, step: float) -> int:
    values = np.full(channels, start, kind)
    return add_tensor(model, prefix + name, channels, kind, step, 0, values)

  sums = flow("/sums")
  activation, op.builtinOptions.fusedActivationFunction = (
    op.builtinOptions.fusedActivationFunction,
    0,
  )
  op.outputs = np.array([sums], np.int32)
  constants, position = [], layer + 1
  if gain:
    constants.append(constant("/gain", one, 1 / one))
    scaled = flow("/scaled")
    insert_operator(
      model,
      position,
      "MUL",
      [sums, constants[-1]],
      scaled,
      schema.MulOptionsT(),
      version=2 if kind == "int8" else 4,
    )
    sums, position = scaled, position + 1
  constants.append(constant("/offset", 0, scale / OFFSET_SHARE))
  options = schema.AddOptionsT()
  options.fusedActivationFunction = activation
  options.potScaleInt16 = False
  insert_operator(
    model,
    position,
    "ADD",
    [sums, constants[-1]],
    output,
    options,
    version=2 if kind == "int8" else 3,
  )
  return constants


def _wide_range(
  tensor: schema.TensorT, activation: str, kind: str
) -> tuple[float, int]:
  """Scale and zero point of a layer's sums: as far down as its output up."""
  scale = float(tensor.quantization.scale[0])
  zero_point = int(tensor.quantization.zeroPoint[0])
  if kind == "int16":  # there are bits to spare
    return 2 * scale, 0
  if activation == "NONE":
    return scale, zero_point
  return scale * (127 - zero_point) / 127, 0
