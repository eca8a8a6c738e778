"""Scales and zero points with which kernels can compute.

A kernel makes a multiplier of its tensors' scales, and stops the process where
that is no number, or not in the range that it takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

LEAST, MOST = 1e-30, 1e30
"""Scales of activations lie between these. Of an activation that is always zero
converters make one of 1e-11; beyond these a float32 loses bits, and a product
of two may have none left."""

QUANTIZED = frozenset(
  (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16)
)
"""Types that kernels read as quantized."""

NO_NUMBERS = frozenset(
  (
    schema.TensorType.STRING,
    schema.TensorType.RESOURCE,
    schema.TensorType.VARIANT,
  )
)
"""Types that hold addresses."""

COMPUTING = frozenset(
  "ADD SUB MUL DIV SQUARED_DIFFERENCE CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV "
  "FULLY_CONNECTED BATCH_MATMUL SOFTMAX LOG_SOFTMAX LOGISTIC TANH HARD_SWISH "
  "LEAKY_RELU PRELU ELU RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ABS RSQRT EXP "
  "MEAN SUM REDUCE_PROD QUANTIZE DEQUANTIZE L2_NORMALIZATION "
  "AVERAGE_POOL_2D L2_POOL_2D SVDF UNIDIRECTIONAL_SEQUENCE_LSTM GELU "
  "EQUAL NOT_EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL".split()
)
"""Operators whose kernels make multipliers of their tensors' scales."""

_MOST_SHIFT = {schema.TensorType.INT16: 15}
_SHIFT = 20
"""ADD and SUB shift their inputs left by so many bits, int16 by 15."""


def scales_fault(
  name: str,
  operator: schema.OperatorT,
  tensors: Sequence[schema.TensorT],
  buffers: Sequence[schema.BufferT],
) -> str:
  """What is wrong with the scales that an operator's kernel reads.

  Constants may have a scale of 0: converters give it to weights that are all
  zero, and it is mended before they train.

  Args:
    name: of the operator.
    operator: unpacked.
    tensors: of its subgraph.
    buffers: of the file.

  Returns:
    Which tensor and what; empty for nothing.
  """
  if name not in COMPUTING:
    return ""
  if (
    name == "BATCH_MATMUL"
    and tensors[operator.outputs[0]].type not in QUANTIZED
  ):
    return ""  # sums of products as int32, which have no scale
  for index in [*_list(operator.inputs), *_list(operator.outputs)]:
    if index >= 0 and tensors[index].type in NO_NUMBERS:
      return f"computes with tensor {index}, which has no numbers"
  made = [] if name == "SOFTMAX" else _list(operator.outputs)
  used = [
    int(i)
    for i in [*_list(operator.inputs), *made]
    if i >= 0
    and tensors[i].type in QUANTIZED
    and not _is_constant(tensors[i], buffers)
  ]
  for index in used:
    scale = _scale(tensors[index])
    if scale is None:
      return f"computes with tensor {index}, which has no scale"
    if not LEAST <= scale <= MOST:
      return f"computes with tensor {index}, which has scale {scale:g}"
  if name in ("ADD", "SUB"):
    return _sum_fault(operator, tensors)
  if name == "SOFTMAX":
    return _softmax_fault(operator, tensors)
  return ""


def _is_constant(
  tensor: schema.TensorT, buffers: Sequence[schema.BufferT]
) -> bool:
  data = buffers[tensor.buffer].data
  return data is not None and len(data) > 0


def _sum_fault(
  operator: schema.OperatorT, tensors: Sequence[schema.TensorT]
) -> str:
  """Kernels of sums need inputs that are not much coarser than the output."""
  read = [_scale(tensors[i]) for i in operator.inputs]
  made = tensors[operator.outputs[0]]
  own = _scale(made)
  if made.type not in QUANTIZED or not own or not all(read):
    return ""
  most = max(scale for scale in read if scale)
  bits = _MOST_SHIFT.get(made.type, _SHIFT)
  if 2 * most / own >= 1 << bits:
    return f"adds steps of {most:g} to steps of {own:g}"
  return ""


_LEAST_SOFTMAX = 2.0**-26
"""Beta times the input's scale must be more: kernels shift it by 26 bits."""


def _softmax_fault(
  operator: schema.OperatorT, tensors: Sequence[schema.TensorT]
) -> str:
  read = tensors[operator.inputs[0]]
  scale = _scale(read)
  beta = float(operator.builtinOptions.beta)
  if read.type == schema.TensorType.FLOAT32 or scale is None:
    return ""
  if beta * scale <= _LEAST_SOFTMAX:
    return f"has Beta {beta:g} and an input of scale {scale:g}"
  return ""


def _scale(tensor: schema.TensorT) -> float | None:
  """The first scale; None where there is none."""
  held = tensor.quantization
  if held is None or held.scale is None or not len(held.scale):
    return None
  scale = float(held.scale[0])
  return scale if math.isfinite(scale) else None


def _list(values: Iterable[Any] | None) -> list[Any]:
  return [] if values is None else list(values)
