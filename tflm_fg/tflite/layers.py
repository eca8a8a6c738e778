"""Find the operators of a .tflite whose weights could train."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike, NDArray

from tflm_fg.tflite.subgraph import Subgraph

HEAD_OPS = ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL")

_AFTER_LOGITS = (
  "SOFTMAX",
  "LOG_SOFTMAX",
  "LOGISTIC",
  "QUANTIZE",
  "DEQUANTIZE",
  "ARG_MAX",
)
SHAPING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def logits_before(graph: Subgraph, output: int) -> int:
  """The tensor in front of a final SOFTMAX or LOGISTIC, or the output.

  Operators that only shape or quantize may stand around the SOFTMAX.

  Args:
    graph: the subgraph.
    output: tensor index of one of its outputs.
  """
  writer = {o: op for op in graph.operators for o in op.outputs}
  tensor = logits = output
  while tensor in writer and writer[tensor].inputs:
    name = writer[tensor].name
    if name not in (*_AFTER_LOGITS, *SHAPING):
      break
    tensor = writer[tensor].inputs[0]
    if name in _AFTER_LOGITS:
      logits = tensor
  return logits


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
    if "scale" in roles:
      found.append(("scale", self.kernel, self.operator))
    if "kernel" in roles and self.low >= 0:
      found.append(("low", self.low, self.low_operator))
    if "bias" in roles and self.bias >= 0:
      reader = max(self.operator, self.bias_operator)
      found.append(("bias", self.bias, reader))
    return found


def reads_one_vector(graph: Subgraph, operator: int) -> bool:
  """Whether a layer reads a sample's whole input once, as one vector.

  A FULLY_CONNECTED may read [1, 25, 20, 8] as 4,000 numbers, and the window of
  a CONV_2D may be as large as its input. A layer that reads its input position
  by position does not.
  """
  op = graph.operators[operator]
  read = graph.tensors[op.inputs[0]].shape
  if op.name == "BATCH_MATMUL":
    return math.prod(read[:-1]) == 1
  rows, *window = graph.tensors[op.inputs[1]].shape
  made = graph.tensors[op.outputs[0]].shape
  return math.prod(window) == math.prod(read) and math.prod(made) == rows


def sites_of(graph: Subgraph) -> list[Site]:
  """The operators that hold a constant kernel, in order."""
  sites: list[Site] = []
  for number, op in enumerate(graph.operators):
    if op.name == "BATCH_MATMUL":
      sites += _whole_site(graph, number)
      continue
    where = TRAINABLE_OPS.get(op.name)
    if where is None or len(op.inputs) <= where[1]:
      continue
    activation, kernel = (op.inputs[i] for i in where[:2])
    bias = op.inputs[where[2]] if len(op.inputs) > where[2] else -1
    if not _is_constant(graph, kernel):
      continue
    name = graph.tensors[kernel].name
    if sites and name == graph.tensors[sites[-1].kernel].name + LOW:
      sites[-1] = sites[-1]._replace(low=kernel, low_operator=number)
    else:
      sites.append(Site(number, activation, kernel, bias))
  return sites


def _whole_site(graph: Subgraph, number: int) -> list[Site]:
  """The layer of int16 weights that a BATCH_MATMUL begins, if it does."""
  product, *behind = graph.operators[number : number + 2]
  if len(product.inputs) != 2 or not behind or len(behind[0].inputs) != 2:
    return []
  activation, kernel = product.inputs
  flow, bias = behind[0].inputs
  fits = (
    behind[0].name == "ADD"
    and (flow,) == product.outputs
    and product.transposes == (False, True)
    and all(
      _is_constant(graph, i) and graph.tensors[i].dtype == "int16"
      for i in (kernel, bias)
    )
  )
  site = Site(number, activation, kernel, bias, bias_operator=number + 1)
  return [site] if fits else []


def _is_constant(graph: Subgraph, index: int) -> bool:
  return index >= 0 and graph.tensors[index].is_constant


def outputs_of(graph: Subgraph, operators: Collection[int]) -> dict[int, int]:
  """Operators with the activation that each makes.

  An int16 layer's sums count as the int8 that they are brought to.
  """
  made = {number: graph.output(number) for number in operators}
  for number, output in made.items():
    behind = graph.operators[number + 1 : number + 2]
    if (
      graph.operators[number].name == "ADD"
      and behind
      and behind[0].name == "QUANTIZE"
      and behind[0].inputs[0] == output
    ):
      made[number] = behind[0].outputs[0]
  return made


def untrainable(
  graph: Subgraph, site: Site, roles: Collection[str] = ("kernel",)
) -> str | None:
  """Why an operator's weights cannot be trained; None if they can.

  Args:
    graph: the subgraph.
    site: the operator.
    roles: what shall train: the bias of a uint8 layer can, its kernel cannot.
  """
  kernel = graph.tensors[site.kernel]
  activation = graph.tensors[site.activation]
  if kernel.dtype == activation.dtype == "uint8":
    return _uint8_untrainable(graph, site, roles)
  if kernel.dtype in ("float32", "float16", "bfloat16"):
    return f"{kernel.dtype} weights; quantize the model to int8 first"
  if kernel.dtype != ("int16" if site.bias_operator >= 0 else "int8"):
    return f"{kernel.dtype} weights; only int8 weights can be trained"
  if activation.dtype not in ("int8", "int16"):
    return (
      f"hybrid: int8 weights with {activation.dtype} activations; convert "
      "with a representative dataset"
    )
  if not kernel.scales:
    return "weights without a scale"
  output = graph.tensors[graph.output(site.operator)]
  if not activation.has_scale or not output.has_scale:
    return "its input or output has no scale; convert it to full integers"
  if site.bias >= 0:
    bias = graph.tensors[site.bias]
    if bias.dtype not in ("int32", "int64") and site.bias_operator < 0:
      return f"{bias.dtype} bias; need int32 or int64"
    if not bias.is_constant:
      return "a bias that is no constant"
  if kernel.is_sparse:
    return "sparse weights; convert without sparsity"
  if any(kernel.zero_points):
    return "asymmetric weights; convert with symmetric int8 weights"
  return None


def _uint8_untrainable(
  graph: Subgraph, site: Site, roles: Collection[str]
) -> str | None:
  """The same of a layer of a legacy uint8 model that stays as it is."""
  output = graph.tensors[graph.output(site.operator)]
  if "kernel" in roles:
    return (
      "uint8 weights, of which --uint8=keep lets only biases train: choose "
      "--trainable=bias, first-bias or prompt, or leave --uint8 out"
    )
  if site.bias < 0:
    return "a uint8 layer without a bias; leave --uint8=keep out"
  bias = graph.tensors[site.bias]
  if bias.dtype != "int32" or not bias.is_constant or not output.has_scale:
    return "a uint8 layer whose bias is no int32 constant"
  return None


_COMPILED = {
  "ethos-u": "Vela compiled for an Ethos-U",
  "edgetpu-custom-op": "edgetpu_compiler compiled for an Edge TPU",
  "DSP_CUSTOM": "a compiler made for a DSP",
}
"""Custom operators that hold a whole compiled network, and who makes them."""


def foreign_fault(graph: Subgraph) -> str:
  """Why a graph with a custom operator cannot be adapted, and what to do.

  Returns:
    One line of the first such operator; empty where there is none.
  """
  for number, op in enumerate(graph.operators):
    if not op.is_custom:
      continue
    if op.name in _COMPILED:
      why = f"a network that {_COMPILED[op.name]}: adapt the file that the "
      why += "compiler was given, and compile the adapted file again"
    elif op.name == "TFLite_Detection_PostProcess":
      why = "which makes boxes of a detector's outputs: export the detector "
      why += "without it"
    elif op.name.startswith("Flex"):
      why = "an operator of TensorFlow alone: convert without SELECT_TF_OPS"
    else:
      why = "a custom operator that only its own delegate or application can "
      why += "run: use a file without it"
    return f"operator {number} is {op.name!r}, {why}"
  return ""


MIN_SCALE = 1e-7
"""Weights this small come from a converter that was shown zeros."""


def useless_scales(
  input_scale: float, output_scale: float, scales: ArrayLike
) -> NDArray[np.bool_]:
  """Which kernel scales let no weight move the output by one step.

  Even a weight of 127 times an input of the whole range is less than that.
  Converters give such scales to channels of zeros, and to channels that batch
  normalization has folded away.

  Args:
    input_scale: of what the layer reads.
    output_scale: of what it makes.
    scales: of the kernel, one or one a channel.

  Returns:
    bool, one an element of `scales`.
  """
  kernel = np.asarray(scales, np.float64)
  reach = 127 * input_scale * 255 * kernel
  return (reach < output_scale) | (kernel < MIN_SCALE)


def dead_channels(graph: Subgraph, operator: int) -> NDArray[np.bool_]:
  """Which channels of a layer cannot train, see `useless_scales`.

  Returns:
    bool, one a scale of its kernel; all false for an operator that is none of
    `TRAINABLE_OPS`, or has no scales.
  """
  op = graph.operators[operator]
  if op.name not in TRAINABLE_OPS:
    return np.zeros(1, np.bool_)
  activation, kernel = (
    graph.tensors[op.inputs[i]] for i in TRAINABLE_OPS[op.name][:2]
  )
  output = graph.tensors[op.outputs[0]]
  if not (activation.has_scale and output.has_scale and kernel.scales):
    return np.zeros(1, np.bool_)
  return useless_scales(activation.scales[0], output.scales[0], kernel.scales)


def tensor_name(tensor: schema.TensorT) -> str:
  """An unpacked tensor's name as text."""
  return (tensor.name or b"").decode("utf-8", "replace")


def has_scale(tensor: schema.TensorT) -> bool:
  """Whether an unpacked tensor has scales that stand for something."""
  quantization = tensor.quantization
  given = quantization is not None and quantization.scale is not None
  return (
    given and len(quantization.scale) > 0 and bool(quantization.scale[0] > 0)
  )


def bias_of(graph: Subgraph, kernel: int) -> list[int]:
  """The bias of the layer that reads a kernel; none where it has none."""
  for op in graph.operators:
    places = TRAINABLE_OPS.get(op.name)
    if places is None or len(op.inputs) <= places[1]:
      continue
    if op.inputs[places[1]] == kernel:
      return [i for i in op.inputs[places[2] : places[2] + 1] if i >= 0]
  return []
