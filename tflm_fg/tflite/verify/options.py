"""Whether each operator has the options that its kernel reads, and sane ones.

A kernel that finds another table than its own, or none, computes with zeros: it
divides by a stride of 0, or splits into no parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

MOST_STEPS = 1 << 15
"""Strides, windows and blocks are smaller."""

_NEEDED = {
  "CONV_2D": "Conv2D",
  "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
  "TRANSPOSE_CONV": "TransposeConv",
  "AVERAGE_POOL_2D": "Pool2D",
  "MAX_POOL_2D": "Pool2D",
  "L2_POOL_2D": "Pool2D",
  "SOFTMAX": "Softmax",
  "SPLIT": "Split",
  "SPLIT_V": "SplitV",
  "PACK": "Pack",
  "UNPACK": "Unpack",
  "SPACE_TO_DEPTH": "SpaceToDepth",
  "DEPTH_TO_SPACE": "DepthToSpace",
  "WHILE": "While",
  "IF": "If",
  "CONV_3D": "Conv3D",
}
"""Operators that cannot do without their options."""

_TAKEN = {
  "ADD": "Add",
  "ARG_MAX": "ArgMax",
  "ARG_MIN": "ArgMin",
  "BATCH_MATMUL": "BatchMatMul",
  "CONCATENATION": "Concatenation",
  "DIV": "Div",
  "FULLY_CONNECTED": "FullyConnected",
  "GATHER": "Gather",
  "L2_NORMALIZATION": "L2Norm",
  "LEAKY_RELU": "LeakyRelu",
  "MEAN": "Reducer",
  "MIRROR_PAD": "MirrorPad",
  "MUL": "Mul",
  "REDUCE_ALL": "Reducer",
  "REDUCE_ANY": "Reducer",
  "REDUCE_MAX": "Reducer",
  "REDUCE_MIN": "Reducer",
  "REDUCE_PROD": "Reducer",
  "RESHAPE": "Reshape",
  "RESIZE_BILINEAR": "ResizeBilinear",
  "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor",
  "SQUEEZE": "Squeeze",
  "STRIDED_SLICE": "StridedSlice",
  "SUB": "Sub",
  "SUM": "Reducer",
  "SVDF": "SVDF",
  "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
"""Operators whose options may be absent, which stands for zeros."""

_ABOVE_ZERO = (
  "strideW",
  "strideH",
  "strideD",
  "filterWidth",
  "filterHeight",
  "dilationWFactor",
  "dilationHFactor",
  "dilationDFactor",
  "blockSize",
  "numSplits",
  "depthMultiplier",
)
"""Fields of which a kernel makes sizes, or by which it divides."""

_FLOATS = ("beta", "alpha", "cellClip", "projClip")

_LISTS: Mapping[str, Callable[[Any], bool]] = {
  "padding": lambda value: value in (0, 1),
  "fusedActivationFunction": lambda value: 0 <= value <= 5,
}


def options_fault(
  name: str,
  operator: schema.OperatorT,
  tensors: Sequence[schema.TensorT],
  buffers: Sequence[schema.BufferT],
) -> str:
  """What is wrong with an operator's options; empty for nothing.

  Args:
    name: of the operator.
    operator: unpacked.
    tensors: of its subgraph.
    buffers: of the file.
  """
  del tensors, buffers
  needed = _NEEDED.get(name)
  kind = needed or _TAKEN.get(name)
  if kind is None:
    return ""
  options = operator.builtinOptions
  if options is None and not operator.builtinOptionsType:
    return f"lacks its {kind}Options" if needed else ""
  if not isinstance(options, getattr(schema, f"{kind}OptionsT")):
    return f"has other options than its {kind}Options"
  for field in _ABOVE_ZERO:
    value = getattr(options, field, 1)
    if not 0 < value < MOST_STEPS:
      return f"has {_shown(field)} {value}"
  for field in _FLOATS:
    value = getattr(options, field, 0.0)
    if not math.isfinite(value) or (value < 0 and field == "beta"):
      return f"has {_shown(field)} {value}"
  for field, fits in _LISTS.items():
    if not fits(getattr(options, field, 0)):
      return f"has {_shown(field)} {getattr(options, field)}"
  return ""


def _shown(field: str) -> str:
  """A field as the schema writes it: StrideH."""
  return field[0].upper() + field[1:]
