"""Rewrite a legacy uint8 model to int8, which has the kernels that train.

uint8 and int8 kernels compute the same sums: a uint8 number with its zero point
stands for the same real number as the number less 128 with the zero point less
128. So activations, and constants that are no kernels, are rewritten exactly.

int8 kernels of weights have no zero point. Where all of a kernel's weights lie
within -128 to 127 of its zero point, taking it off is exact; where the zero
point is 128 they always do. Other kernels are quantized anew: each channel of a
convolution that needs it, or a whole FULLY_CONNECTED, gets a coarser scale.

The user's inputs and outputs stay uint8: a QUANTIZE stands at each end.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.tflite.layers import TRAINABLE_OPS, has_scale
from tflm_fg.tflite.model_file import op_name, subgraph_of
from tflm_fg.tflite.subgraph import Operator, Subgraph
from tflm_fg.tflite.surgery.edit import (
  add_buffer,
  add_tensor,
  insert_operator,
  unshare,
)
from tflm_fg.types import TflmFgError

_HALF = 128

_ANY_VERSION = """
  RESHAPE SQUEEZE EXPAND_DIMS SHAPE PACK UNPACK TILE REVERSE_V2 MIRROR_PAD
  BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND DEPTH_TO_SPACE PRELU HARD_SWISH
  RELU_N1_TO_1
""".split()

_VERSIONS = {
  **dict.fromkeys(_ANY_VERSION, 1),
  **dict.fromkeys(
    """
    ADD SUB MUL MAXIMUM MINIMUM AVERAGE_POOL_2D MAX_POOL_2D SOFTMAX LOG_SOFTMAX
    LOGISTIC TANH MEAN SUM REDUCE_MAX REDUCE_MIN CONCATENATION PAD PADV2 RELU
    RELU6 LEAKY_RELU RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR QUANTIZE DEQUANTIZE
    SPACE_TO_DEPTH L2_NORMALIZATION SPLIT SPLIT_V STRIDED_SLICE SLICE TRANSPOSE
    GATHER ARG_MAX ARG_MIN TOPK_V2 BROADCAST_TO EQUAL NOT_EQUAL GREATER
    GREATER_EQUAL LESS LESS_EQUAL
    """.split(),
    2,
  ),
  "CONV_2D": 3,
  "DEPTHWISE_CONV_2D": 3,
  "TRANSPOSE_CONV": 3,
  "FULLY_CONNECTED": 4,
}
"""Operators that int8 has as uint8 has them, with the version that knows it."""

_CHANNEL_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}
"""Operators whose kernels may have a scale a channel, in every engine."""


@dataclasses.dataclass
class _Count:
  """How many kernels came over exactly, and how many were quantized anew."""

  exact: int = 0
  requantized: int = 0


def to_int8(model: schema.ModelT, name: str) -> list[str]:
  """Rewrites all uint8 operators of a model.

  Args:
    model: the unpacked model, edited.
    name: what to call the file in errors.

  Returns:
    One note that says how many kernels were exact.

  Raises:
    TflmFgError: naming the first operator or tensor that int8 has not.
  """
  _require_known(model, name)
  count = _Count()
  for op in model.subgraphs[0].operators:
    _rewrite_kernel(model, op, count)
  ends = _part_ends(model)
  for tensor in model.subgraphs[0].tensors:
    if _is_uint8(tensor) and not any(tensor is end for end in ends):
      _shift(model, tensor)
  _quantize_at_ends(model, ends)
  _one_scale_in_concatenations(model)
  _raise_versions(model)
  return [
    f"uint8 rewritten to int8: {count.exact} kernels exactly, "
    f"{count.requantized} quantized anew without a zero point; inputs and "
    "outputs stay uint8"
  ]


def _is_uint8(tensor: schema.TensorT) -> bool:
  """Whether a tensor has uint8 steps; leftovers of a converter have none."""
  return bool(tensor.type == schema.TensorType.UINT8) and has_scale(tensor)


def _require_known(model: schema.ModelT, name: str) -> None:
  """Refuses what has no counterpart among int8 operators."""
  graph = subgraph_of(model)
  if len(model.subgraphs) > 1:
    raise TflmFgError(
      f"{name}: a uint8 model with {len(model.subgraphs)} subgraphs cannot be "
      "rewritten to int8; convert it again to int8"
    )
  for number, op in enumerate(graph.operators):
    options = model.subgraphs[0].operators[number].builtinOptions
    why = _obstacle(graph, op, getattr(options, "weightsFormat", 0))
    if why:
      raise TflmFgError(
        f"{name}: operator {number} {op.name} {why}, so this uint8 model "
        "cannot be rewritten to int8; convert it again to int8, or train it as "
        "it is with --uint8=keep --trainable=bias"
      )


def _obstacle(graph: Subgraph, op: Operator, weights_format: int) -> str:
  """Why an operator cannot become one of int8; empty if it can, or need not."""
  tensors = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
  dtypes = {t.dtype for t in tensors}
  grids = [t for t in tensors if t.dtype == "uint8"]
  if not grids:
    return ""
  if op.name not in _VERSIONS:
    return "has no int8 form of the same numbers"
  if not all(t.has_scale for t in grids):
    return "has a uint8 tensor without a scale"
  if any(len(t.scales) > 1 for t in grids):
    return "has a uint8 tensor with a scale a channel"
  if "int16" in dtypes:
    return "mixes uint8 and int16"
  if "float32" in dtypes and op.name not in ("QUANTIZE", "DEQUANTIZE"):
    return "mixes uint8 and floats"
  if weights_format:
    return "has shuffled weights"
  if op.name in _CHANNEL_AXES and not _kernel_is_constant(graph, op):
    return "has a kernel that is no constant"
  return ""


def _kernel_is_constant(graph: Subgraph, op: Operator) -> bool:
  return graph.tensors[op.inputs[TRAINABLE_OPS[op.name][1]]].is_constant


def _rewrite_kernel(
  model: schema.ModelT, op: schema.OperatorT, count: _Count
) -> None:
  """Gives a layer an int8 kernel without a zero point."""
  name = op_name(model, op)
  where = TRAINABLE_OPS.get(name)
  tensors = model.subgraphs[0].tensors
  if where is None or not _is_uint8(tensors[op.inputs[where[1]]]):
    return
  if model.buffers[tensors[op.inputs[where[1]]].buffer].data is None:
    return
  unshare(model, op, where[1])
  kernel = tensors[op.inputs[where[1]]]
  shape = [int(d) for d in kernel.shape]
  held = np.asarray(model.buffers[kernel.buffer].data).view(np.uint8)
  weights = held.astype(np.int64) - int(kernel.quantization.zeroPoint[0])
  scale = float(kernel.quantization.scale[0])
  axis = _CHANNEL_AXES.get(name)
  values, coarser = _symmetric(weights.reshape(shape), axis)
  kernel.buffer = add_buffer(model, values)
  kernel.type = schema.TensorType.INT8
  scales = np.asarray(scale * coarser, np.float32)
  kernel.quantization.scale = scales
  kernel.quantization.zeroPoint = np.zeros(len(scales), np.int64)
  kernel.quantization.quantizedDimension = axis or 0
  kernel.quantization.min = kernel.quantization.max = None
  if np.all(coarser == 1):
    count.exact += 1
    return
  count.requantized += 1
  if len(op.inputs) > where[2] and op.inputs[where[2]] >= 0:
    unshare(model, op, where[2])
    bias = tensors[op.inputs[where[2]]]
    source = tensors[op.inputs[where[0]]].quantization.scale[0]
    _rescale_bias(model, bias, coarser, scales * np.float32(source))


def _symmetric(
  weights: NDArray[np.int64], axis: int | None
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
  """Weights without a zero point.

  Args:
    weights: int64, less their zero point, -255 to 255.
    axis: of the channels; None for one scale for all.

  Returns:
    The int8 weights, and by what each scale grows: float64 [1], or [channels]
    where a channel's scale must grow; 1 where the weights are exact.
  """
  others = tuple(i for i in range(weights.ndim) if i != axis)
  low = weights.min(axis=others if axis is not None else None)
  high = weights.max(axis=others if axis is not None else None)
  low, high = np.atleast_1d(low), np.atleast_1d(high)
  fits = (low >= -_HALF) & (high < _HALF)
  coarser = np.where(fits, 1.0, np.maximum(-low, high) / (_HALF - 1))
  if np.all(fits):
    return weights.astype(np.int8), np.ones(1)
  shape = [1] * weights.ndim
  if axis is not None:
    shape[axis] = -1
  return np.rint(weights / coarser.reshape(shape)).astype(np.int8), coarser


def _rescale_bias(
  model: schema.ModelT,
  bias: schema.TensorT,
  coarser: NDArray[np.float64],
  scales: NDArray[np.float32],
) -> None:
  """Counts a bias in the units of a kernel whose scale grew."""
  old = np.asarray(model.buffers[bias.buffer].data).view("<i4")
  bias.buffer = add_buffer(model, np.rint(old / coarser).astype("<i4"))
  bias.quantization = schema.QuantizationParametersT()
  bias.quantization.scale = np.asarray(scales, np.float32)
  bias.quantization.zeroPoint = np.zeros(len(scales), np.int64)


def _shift(model: schema.ModelT, tensor: schema.TensorT) -> None:
  """Takes 128 off a tensor's numbers and off its zero point."""
  tensor.type = schema.TensorType.INT8
  quantization = tensor.quantization
  points = np.zeros(1, np.int64)
  if quantization.zeroPoint is not None and len(quantization.zeroPoint):
    points = np.asarray(quantization.zeroPoint, np.int64)
  quantization.zeroPoint = points - _HALF
  held = model.buffers[tensor.buffer].data
  if held is not None:
    tensor.buffer = add_buffer(
      model, np.asarray(held).view(np.uint8) ^ np.uint8(_HALF)
    )


def _part_ends(model: schema.ModelT) -> list[schema.TensorT]:
  """Gives the uint8 inputs and outputs inner tensors that operators use.

  Returns:
    The user's tensors, which no operator uses any more.
  """
  graph = model.subgraphs[0]
  ends = []
  for index in dict.fromkeys(int(i) for i in (*graph.inputs, *graph.outputs)):
    tensor = graph.tensors[index]
    if not _is_uint8(tensor):
      continue
    twin = add_tensor(
      model,
      (tensor.name or b"").decode("utf-8", "replace") + "/int8",
      tuple(int(d) for d in tensor.shape),
      "uint8",
      float(tensor.quantization.scale[0]),
      int(tensor.quantization.zeroPoint[0]),
    )
    for op in graph.operators:
      for field in ("inputs", "outputs"):
        old = np.asarray(getattr(op, field), np.int32)
        setattr(op, field, np.where(old == index, twin, old).astype(np.int32))
    ends.append(tensor)
  return ends


def _quantize_at_ends(model: schema.ModelT, ends: list[schema.TensorT]) -> None:
  graph = model.subgraphs[0]
  twins = len(graph.tensors) - len(ends)
  inputs = {int(i) for i in graph.inputs}
  for number, end in enumerate(ends):
    index = next(i for i, t in enumerate(graph.tensors) if t is end)
    flow, place = [index, twins + number], 0
    if index not in inputs:
      flow, place = flow[::-1], len(graph.operators)
    options = schema.QuantizeOptionsT()
    insert_operator(model, place, "QUANTIZE", flow[:1], flow[1], options, 2)


def _one_scale_in_concatenations(model: schema.ModelT) -> None:
  """Puts QUANTIZE where a uint8 CONCATENATION brought inputs to one scale."""
  graph = model.subgraphs[0]
  for op in list(graph.operators):
    if op_name(model, op) != "CONCATENATION":
      continue
    out = graph.tensors[op.outputs[0]]
    if out.type != schema.TensorType.INT8:
      continue
    for position, index in enumerate(op.inputs):
      tensor = graph.tensors[index]
      if _grid(tensor) == _grid(out):
        continue
      fresh = add_tensor(
        model,
        f"{(tensor.name or b'').decode('utf-8', 'replace')}/joined",
        tuple(int(d) for d in tensor.shape),
        "int8",
        *_grid(out),
      )
      op.inputs = np.array(op.inputs, np.int32)
      op.inputs[position] = fresh
      place = next(i for i, o in enumerate(graph.operators) if o is op)
      options = schema.QuantizeOptionsT()
      insert_operator(model, place, "QUANTIZE", [int(index)], fresh, options, 2)


def _grid(tensor: schema.TensorT) -> tuple[float, int]:
  quantization = tensor.quantization
  return float(quantization.scale[0]), int(quantization.zeroPoint[0])


def _raise_versions(model: schema.ModelT) -> None:
  """Lets operator codes name the version that has int8."""
  graph = model.subgraphs[0]
  for op in graph.operators:
    touched = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    if any(t.type == schema.TensorType.INT8 for t in touched):
      code = model.operatorCodes[op.opcodeIndex]
      needed = _VERSIONS.get(op_name(model, op), 1)
      code.version = max(code.version, needed)
