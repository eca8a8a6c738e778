"""Find the operators of a .tflite whose weights could train."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.model_file import TYPE_NAMES, op_name, operator_names
from tflm_fg.types import TflmFgError

HEAD_OPS = ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL")

_AFTER_LOGITS = (
  "SOFTMAX",
  "LOG_SOFTMAX",
  "LOGISTIC",
  "QUANTIZE",
  "DEQUANTIZE",
)
_SHAPING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def find_logits(model: schema.ModelT) -> int:
  """The tensor in front of a final SOFTMAX or LOGISTIC, or the output.

  Operators that only shape or quantize may stand around the SOFTMAX.
  """
  graph = model.subgraphs[0]
  writer = {int(o): op for op in graph.operators or [] for o in op.outputs}
  if graph.outputs is None or not len(graph.outputs):
    raise TflmFgError("the model has no output")
  tensor = logits = int(graph.outputs[0])
  while tensor in writer and len(writer[tensor].inputs):
    name = op_name(model, writer[tensor])
    if name not in (*_AFTER_LOGITS, *_SHAPING):
      break
    tensor = int(writer[tensor].inputs[0])
    if name in _AFTER_LOGITS:
      logits = tensor
  return logits


def served_logits(model: schema.ModelT) -> int:
  """The logits as the file gives them away.

  Training looks at a layer of int16 weights before its sums are rounded to
  int8; whoever runs the file does not see them.
  """
  logits, graph = find_logits(model), model.subgraphs[0]
  for op in graph.operators or []:
    if op_name(model, op) == "QUANTIZE" and int(op.inputs[0]) == logits:
      rounded = int(op.outputs[0])
      types = [TYPE_NAMES.get(graph.tensors[i].type) for i in (logits, rounded)]
      if types == ["int16", "int8"]:
        return rounded
  return logits


def last_head(model: schema.ModelT) -> Site | None:
  """The last FULLY_CONNECTED or CONV_2D; None if there is none."""
  operators = model.subgraphs[0].operators
  heads = [
    s
    for s in sites_of(model)
    if op_name(model, operators[s.operator]) in HEAD_OPS
  ]
  return heads[-1] if heads else None


TRAINABLE_OPS = {
  "FULLY_CONNECTED": (0, 1, 2),
  "CONV_2D": (0, 1, 2),
  "DEPTHWISE_CONV_2D": (0, 1, 2),
  "TRANSPOSE_CONV": (2, 1, 3),
}
"""Operator -> positions of its activation, kernel and bias."""

LOW = "/tflm_fg/low"
"""The low bytes of a kernel have its name and this."""


class Site(NamedTuple):
  """A layer whose kernel and bias could train.

  Attributes:
    operator: reads the kernel.
    activation: what it reads beside that.
    kernel: a tensor, as are the next two.
    bias: -1 where the converter dropped it.
    low: the kernel's low bytes, in a layer that runs twice; else -1.
    low_operator: reads them.
    bias_operator: reads the bias where it is another: an int16 layer's ADD.
  """

  operator: int
  activation: int
  kernel: int
  bias: int
  low: int = -1
  low_operator: int = -1
  bias_operator: int = -1

  @property
  def is_finer(self) -> bool:
    """Whether the engine holds 16 bits of each weight."""
    return self.low >= 0 or self.bias_operator >= 0

  def parts(self, roles: Collection[str]) -> list[tuple[str, int, int]]:
    """(role, tensor, operator that reads it) of what has these roles."""
    found = []
    if "kernel" in roles:
      found.append(("kernel", self.kernel, self.operator))
    if "kernel" in roles and self.low >= 0:
      found.append(("low", self.low, self.low_operator))
    if "bias" in roles and self.bias >= 0:
      reader = max(self.operator, self.bias_operator)
      found.append(("bias", self.bias, reader))
    return found


def sites_of(model: schema.ModelT) -> list[Site]:
  """The operators of subgraph 0 that hold a constant kernel, in order."""
  graph = model.subgraphs[0]
  sites: list[Site] = []
  for number, op in enumerate(graph.operators or []):
    if op_name(model, op) == "BATCH_MATMUL":
      sites += _whole_site(model, number)
      continue
    where = TRAINABLE_OPS.get(op_name(model, op))
    if where is None or len(op.inputs) <= where[1]:
      continue
    activation, kernel = (int(op.inputs[i]) for i in where[:2])
    bias = int(op.inputs[where[2]]) if len(op.inputs) > where[2] else -1
    if not _is_constant(model, kernel):
      continue
    name = tensor_name(graph.tensors[kernel])
    if sites and name == tensor_name(graph.tensors[sites[-1].kernel]) + LOW:
      sites[-1] = sites[-1]._replace(low=kernel, low_operator=number)
    else:
      sites.append(Site(number, activation, kernel, bias))
  return sites


def _whole_site(model: schema.ModelT, number: int) -> list[Site]:
  """The layer of int16 weights that a BATCH_MATMUL begins, if it does."""
  operators = model.subgraphs[0].operators
  product, *behind = operators[number : number + 2]
  if len(product.inputs) != 2 or not behind or len(behind[0].inputs) != 2:
    return []
  activation, kernel = (int(i) for i in product.inputs)
  flow, bias = (int(i) for i in behind[0].inputs)
  options = product.builtinOptions
  fits = (
    op_name(model, behind[0]) == "ADD"
    and [flow] == [int(o) for o in product.outputs]
    and bool(getattr(options, "adjY", False))
    and not getattr(options, "adjX", False)
    and all(_is_constant(model, i, "int16") for i in (kernel, bias))
  )
  site = Site(number, activation, kernel, bias, bias_operator=number + 1)
  return [site] if fits else []


def _is_constant(
  model: schema.ModelT, index: int, kind: str | None = None
) -> bool:
  tensor = model.subgraphs[0].tensors[index]
  held = index >= 0 and model.buffers[tensor.buffer].data is not None
  return held and kind in (None, TYPE_NAMES.get(tensor.type))


def activations_of(data: bytes, operators: Collection[int]) -> dict[int, int]:
  """Operators with the activation that each reads, of a verified file."""
  graph = schema.Model.GetRootAsModel(data, 0).Subgraphs(0)
  return {number: graph.Operators(number).Inputs(0) for number in operators}


def outputs_of(data: bytes, operators: Collection[int]) -> dict[int, int]:
  """Operators with the activation that each makes, of a verified file.

  An int16 layer's sums count as the int8 that they are brought to.
  """
  graph = schema.Model.GetRootAsModel(data, 0).Subgraphs(0)
  made = {number: graph.Operators(number).Outputs(0) for number in operators}
  names = operator_names(data)
  for number, output in made.items():
    behind = number + 1
    if (
      names[number].startswith("ADD")
      and names[behind : behind + 1] == ("QUANTIZE",)
      and graph.Operators(behind).Inputs(0) == output
    ):
      made[number] = graph.Operators(behind).Outputs(0)
  return made


def untrainable(model: schema.ModelT, site: Site) -> str | None:
  """Why an operator's weights cannot be trained; None if they can."""
  graph = model.subgraphs[0]
  kernel, activation = (
    graph.tensors[site.kernel],
    graph.tensors[site.activation],
  )
  held = TYPE_NAMES.get(kernel.type, "unknown")
  flows = TYPE_NAMES.get(activation.type, "unknown")
  if held in ("float32", "float16", "bfloat16"):
    return f"{held} weights; quantize the model to int8 first"
  if held != ("int16" if site.bias_operator >= 0 else "int8"):
    return f"{held} weights; only int8 weights can be trained"
  if flows not in ("int8", "int16"):
    return (
      f"hybrid: int8 weights with {flows} activations; convert with a "
      "representative dataset"
    )
  quantization = kernel.quantization
  if quantization is None or quantization.scale is None:
    return "weights without a scale"
  output = graph.tensors[graph.operators[site.operator].outputs[0]]
  if not has_scale(activation) or not has_scale(output):
    return "its input or output has no scale; convert it to full integers"
  if site.bias >= 0:
    bias = graph.tensors[site.bias]
    kind = TYPE_NAMES.get(bias.type, "unknown")
    if kind not in ("int32", "int64") and site.bias_operator < 0:
      return f"{kind} bias; need int32 or int64"
    if model.buffers[bias.buffer].data is None:
      return "a bias that is no constant"
  if kernel.sparsity is not None:
    return "sparse weights; convert without sparsity"
  if quantization.zeroPoint is not None and np.any(quantization.zeroPoint):
    return "asymmetric weights; convert with symmetric int8 weights"
  return None


def tensor_name(tensor: schema.TensorT) -> str:
  """A tensor's name as text."""
  return (tensor.name or b"").decode("utf-8", "replace")


def has_scale(tensor: schema.TensorT) -> bool:
  """Whether a tensor is quantized with scales that stand for something."""
  quantization = tensor.quantization
  given = quantization is not None and quantization.scale is not None
  return (
    given and len(quantization.scale) > 0 and bool(quantization.scale[0] > 0)
  )
