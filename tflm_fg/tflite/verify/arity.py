"""How many tensors each operator reads and writes, and which it may lack.

An engine takes an input of -1 for one that is not there, and kernels ask only
for those that may be absent: any other -1 is read as an address.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ai_edge_litert import schema_py_generated as schema

MANY = math.inf
"""Any number of inputs or outputs."""


class Arity(NamedTuple):
  """What an operator reads and writes.

  Attributes:
    least: inputs that must be given.
    most: inputs that there may be.
    optional: places among the inputs that may be -1.
    outputs: how many; `MANY` where its options say it.
  """

  least: int
  most: float
  optional: frozenset[int] = frozenset()
  outputs: float = 1


def _same(names: str, arity: Arity) -> Mapping[str, Arity]:
  return dict.fromkeys(names.split(), arity)


def _lstm(least: int) -> Arity:
  """Gates and peepholes, projections and normalizations may be absent."""
  absent = {1, 5, 9, 10, 11, 12, 16, 17, *range(20, 24)}
  return Arity(least, 24, frozenset(absent))


ARITIES: Mapping[str, Arity] = {
  **_same(
    "ABS CAST CEIL COS DEPTH_TO_SPACE DEQUANTIZE ELU EXP FLOOR GELU HARD_SWISH "
    "L2_NORMALIZATION LEAKY_RELU LOG LOGICAL_NOT LOGISTIC LOG_SOFTMAX NEG "
    "QUANTIZE RANK RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 ROUND RSQRT SHAPE SIGN "
    "SIN SOFTMAX SPACE_TO_DEPTH SQRT SQUARE SQUEEZE TANH WHERE ZEROS_LIKE "
    "AVERAGE_POOL_2D L2_POOL_2D MAX_POOL_2D READ_VARIABLE",
    Arity(1, 1),
  ),
  **_same(
    "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE POW FLOOR_DIV "
    "FLOOR_MOD EQUAL NOT_EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL "
    "LOGICAL_AND LOGICAL_OR PRELU BATCH_MATMUL MEAN SUM REDUCE_ALL REDUCE_ANY "
    "REDUCE_MAX REDUCE_MIN REDUCE_PROD TRANSPOSE TILE PAD MIRROR_PAD "
    "EXPAND_DIMS GATHER GATHER_ND RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR "
    "ARG_MAX ARG_MIN BROADCAST_TO REVERSE_V2 EMBEDDING_LOOKUP FILL CUMSUM",
    Arity(2, 2),
  ),
  **_same(
    "PADV2 SLICE SELECT SELECT_V2 SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND RANGE "
    "SCATTER_ND",
    Arity(3, 3),
  ),
  **_same("CONCATENATION PACK ADD_N", Arity(1, MANY)),
  **_same("CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED CONV_3D",
          Arity(2, 3, frozenset({2}))),
  "TRANSPOSE_CONV": Arity(3, 4, frozenset({3})),
  "RESHAPE": Arity(1, 2),
  "STRIDED_SLICE": Arity(4, 4),
  "ONE_HOT": Arity(4, 4),
  "SPLIT": Arity(2, 2, outputs=MANY),
  "SPLIT_V": Arity(3, 3, outputs=MANY),
  "UNPACK": Arity(1, 1, outputs=MANY),
  "TOPK_V2": Arity(2, 2, outputs=2),
  "SVDF": Arity(5, 5, frozenset({3})),
  "RNN": Arity(5, 5),
  "UNIDIRECTIONAL_SEQUENCE_RNN": Arity(5, 5),
  "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm(20),
  "ASSIGN_VARIABLE": Arity(2, 2, outputs=0),
  "IF": Arity(1, MANY, outputs=MANY),
  "WHILE": Arity(1, MANY, outputs=MANY),
}  # fmt: skip
"""Operators that are not here are left to the engines."""


def arity_fault(
  name: str,
  operator: schema.OperatorT,
  tensors: Sequence[schema.TensorT],
  buffers: Sequence[schema.BufferT],
) -> str:
  """What is wrong with an operator's lists of tensors; empty for nothing.

  Args:
    name: of the operator.
    operator: unpacked.
    tensors: of its subgraph.
    buffers: of the file.
  """
  arity = ARITIES.get(name)
  if arity is None:
    return ""
  del tensors, buffers
  given = [] if operator.inputs is None else [int(i) for i in operator.inputs]
  made = [] if operator.outputs is None else list(operator.outputs)
  if not arity.least <= len(given) <= arity.most:
    need = f"{arity.least}"
    if arity.most > arity.least:
      need += " or more" if arity.most == MANY else f" to {arity.most}"
    return f"reads {len(given)} tensors, needs {need}"
  if arity.outputs not in (MANY, len(made)):
    return f"writes {len(made)} tensors, should write {arity.outputs}"
  for place, index in enumerate(given):
    if index < 0 and place not in arity.optional:
      return f"lacks its input {place}, which it needs"
  return ""
