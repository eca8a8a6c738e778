"""Let trainable numbers flow in as data, one value of them a sample.

The constants of an input prompt become inputs as they are. A layer's bias and
the gains in its scales stay what they are in the piece, and what a sample has
beyond them flows in behind the layer, in front of its activation function: a
stock MUL takes gains and a stock ADD offsets, [N, 1, 1, C]. So kernels and
biases are not written, and training needs no copy of them.

A layer with a ReLU keeps only what is above zero, and gain and offset must see
the rest too. So its sums are kept in int8 over a range that is twice as wide
and a step that is twice as coarse, which moves the layer's output by one step
at most. Sums that the layer would have cut off at the top of its range stay cut
off before a gain under 1 can bring them back, and int16 has bits to spare for a
range that is twice as wide in any case.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.layers import TRAINABLE_OPS, has_scale, tensor_name
from tflm_fg.tflite.model_file import TYPE_NAMES, ModelFile, op_name
from tflm_fg.tflite.surgery.edit import add_tensor, insert_operator
from tflm_fg.tflite.tensors import Flow, Part
from tflm_fg.types import NotApplicable

PREFIX = "tflm_fg/layer/"
"""Names of all tensors that are added here begin so; then comes a number."""

OFFSET_SHARE = 2
"""Steps of an offset in one step of the layer's sums."""

GAIN_ONE = 64
"""Steps of a gain that stand for 1 in int8: it reaches to 127 / 64."""

_RELUS = ("RELU", "RELU6")
_ACTIVATIONS = {
  code: name
  for name, code in vars(schema.ActivationFunctionType).items()
  if isinstance(code, int)
}


class FlowingPart(NamedTuple):
  """A piece whose trainable tensors are inputs.

  Attributes:
    part: the piece; behind its own inputs come those of the flows, in order.
    flows: of the trainable tensors, in the order of the mark.
  """

  part: Part
  flows: tuple[Flow, ...]


class _Use(NamedTuple):
  """A layer's trainable tensors, as places in the mark's order; -1 for none."""

  bias: int = -1
  gain: int = -1


def weights_to_inputs(part: Part) -> FlowingPart:
  """Makes a part's trainable tensors inputs, behind its other inputs.

  Args:
    part: a piece of the graph; what trains in it are constants of shape
      [1, ...], biases, and gains of layers.

  Returns:
    The piece without trainable tensors. Fed with what they hold it gives the
    same outputs: bit for bit behind a prompt, within two steps of a layer's
    output behind biases and gains.

  Raises:
    NotApplicable: if a tensor is none of these, or its layer ends in an
      activation function that sums cannot be kept in front of.
  """
  model = part.file.unpack()
  layers, prompts = _uses(model, part)
  flows: dict[int, Flow] = {}
  inputs: dict[int, int] = {}
  for place in prompts:
    index = part.writable[place]
    tensor = model.subgraphs[0].tensors[index]
    flows[place] = Flow(
      "prompt",
      TYPE_NAMES[tensor.type],
      tuple(int(d) for d in tensor.shape[1:]),
      np.ones(1),
    )
    inputs[place] = index
  for number, (operator, use) in enumerate(layers):
    # Operators are looked up: those that were inserted have moved them.
    position = next(
      n for n, op in enumerate(model.subgraphs[0].operators) if op is operator
    )
    name = f"{PREFIX}{number}"
    for place, (index, flow) in _grow(model, position, use, name, part).items():
      inputs[place], flows[place] = index, flow
  graph = model.subgraphs[0]
  order = [inputs[place] for place in range(len(part.writable))]
  for index in order:
    graph.tensors[index].buffer = 0
  graph.inputs = np.array([*graph.inputs, *order], np.int32)
  file = ModelFile.packed(model, part.file.name)
  return FlowingPart(
    part._replace(file=file, writable=(), gains=()),
    tuple(flows[place] for place in range(len(order))),
  )


def _uses(
  model: schema.ModelT, part: Part
) -> tuple[list[tuple[schema.OperatorT, _Use]], list[int]]:
  """What trains of each layer, in the order of running, and the prompts."""
  graph = model.subgraphs[0]
  places = {index: n for n, index in enumerate(part.writable)}
  layers: list[tuple[schema.OperatorT, _Use]] = []
  rest = dict(places)
  for op in graph.operators:
    at = TRAINABLE_OPS.get(op_name(model, op))
    if at is None:
      continue
    kernel, bias = (
      int(op.inputs[i]) if i < len(op.inputs) else -1 for i in at[1:]
    )
    gain = places.get(kernel, -1)
    use = _Use(places.get(bias, -1), gain if gain in part.gains else -1)
    if use != _Use():
      layers.append((op, use))
      rest = {i: n for i, n in rest.items() if n not in use}
  for index in rest:
    tensor = graph.tensors[index]
    shape = [int(d) for d in tensor.shape]
    readers = [
      op_name(model, op) for op in graph.operators if index in op.inputs
    ]
    if not {"ADD", "MUL"} >= set(readers) or len(shape) < 2 or shape[0] != 1:
      raise NotApplicable(
        f"{tensor_name(tensor)}: shape {shape} has no axis of samples; use "
        "another --method"
      )
  return layers, sorted(rest.values())


def _grow(
  model: schema.ModelT, position: int, use: _Use, prefix: str, part: Part
) -> dict[int, tuple[int, Flow]]:
  """Puts MUL and ADD between a layer and its output.

  Returns:
    By place in the mark's order: the index of what flows in, and how.
  """
  graph = model.subgraphs[0]
  op, output = graph.operators[position], _required_output(model, position)
  tensor = graph.tensors[output]
  kind = TYPE_NAMES[tensor.type]
  shape = tuple(int(d) for d in tensor.shape)
  scale, zero_point = _wide_range(tensor, activation_of(op), kind)
  channels = (*(1 for _ in shape[:-1]), shape[-1])
  activation = op.builtinOptions.fusedActivationFunction
  op.builtinOptions.fusedActivationFunction = 0
  versions = {"int8": (2, 2), "int16": (4, 3)}[kind]
  found: dict[int, tuple[int, Flow]] = {}
  flow = op

  def insert(name: str, made: str, step: float, options: object) -> int:
    """Behind the last operator; the index of what flows in."""
    nonlocal flow, position
    position += 1
    constant = add_tensor(model, prefix + made, channels, kind, step)
    behind = add_tensor(
      model, prefix + made + "/in", shape, kind, scale, zero_point
    )
    flow.outputs = np.array([behind], np.int32)
    version = versions[name == "ADD"]
    insert_operator(
      model, position, name, [behind, constant], output, options, version
    )
    flow = graph.operators[position]
    return constant

  if use.gain >= 0:
    one = GAIN_ONE if kind == "int8" else GAIN_ONE << 8
    index = insert("MUL", "/gain", 1 / one, schema.MulOptionsT())
    found[use.gain] = (
      index,
      Flow("gain", kind, channels[1:], np.full(1, float(one))),
    )
  if use.bias >= 0:
    options = schema.AddOptionsT()
    options.potScaleInt16 = False
    index = insert("ADD", "/offset", scale / OFFSET_SHARE, options)
    bias = graph.tensors[part.writable[use.bias]]
    units = np.asarray(bias.quantization.scale, np.float64)
    steps = np.resize(units / (scale / OFFSET_SHARE), shape[-1])
    found[use.bias] = index, Flow("bias", kind, channels[1:], steps, use.gain)
  flow.builtinOptions.fusedActivationFunction = activation
  return found


def _required_output(model: schema.ModelT, position: int) -> int:
  """The tensor that a layer makes, where numbers can flow in behind it."""
  graph = model.subgraphs[0]
  op = graph.operators[position]
  output = int(op.outputs[0])
  tensor = graph.tensors[output]
  kind, behind = TYPE_NAMES.get(tensor.type, "unknown"), activation_of(op)
  if kind not in ("int8", "int16") or not has_scale(tensor):
    raise NotApplicable(
      f"{tensor_name(tensor)!r} is {kind}; a direction for every sample needs "
      "int8 or int16 behind the layer; use another --method"
    )
  if behind not in ("NONE", *_RELUS):
    raise NotApplicable(
      f"{tensor_name(tensor)!r}: its {op_name(model, op)} ends in {behind}; a "
      "direction for every sample needs RELU, RELU6 or nothing there; use "
      "another --method"
    )
  return output


def activation_of(op: schema.OperatorT) -> str:
  """The activation function that an operator ends in, or "NONE"."""
  code = int(getattr(op.builtinOptions, "fusedActivationFunction", 0) or 0)
  return _ACTIVATIONS.get(code, str(code))


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
