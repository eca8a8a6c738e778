"""What all graphs of a file share: buffers, operators' codes, signatures.

Only operators that `VERSIONS` lists are written, each with the version that is
listed, so that a file never needs a newer runtime than the oldest that we test:
tflite-runtime 2.14 has all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

VERSIONS: Mapping[str, int] = {
  "ADD": 1,
  "ARG_MAX": 2,
  "ASSIGN_VARIABLE": 1,
  "BATCH_MATMUL": 2,
  "BITWISE_XOR": 1,
  "CALL_ONCE": 1,
  "CAST": 1,
  "CONCATENATION": 2,
  "DEQUANTIZE": 2,
  "DIV": 1,
  "DYNAMIC_UPDATE_SLICE": 1,
  "EQUAL": 1,
  "FILL": 3,
  "FLOOR_DIV": 1,
  "FLOOR_MOD": 1,
  "FULLY_CONNECTED": 5,
  "GATHER": 2,
  "GREATER_EQUAL": 1,
  "IF": 1,
  "LESS": 1,
  "LOGICAL_AND": 1,
  "MAXIMUM": 1,
  "MINIMUM": 1,
  "MUL": 1,
  "NOT_EQUAL": 1,
  "PAD": 1,
  "QUANTIZE": 1,
  "RANGE": 1,
  "READ_VARIABLE": 1,
  "REDUCE_MAX": 1,
  "RESHAPE": 1,
  "RIGHT_SHIFT": 1,
  "SELECT_V2": 1,
  "SLICE": 2,
  "SUB": 1,
  "SUM": 1,
  "TRANSPOSE": 2,
  "VAR_HANDLE": 1,
  "WHILE": 1,
}
"""Operator -> version that is written."""

WITH_OPTIONS: Mapping[str, str] = {
  "BATCH_MATMUL": "BatchMatMul",
  "CALL_ONCE": "CallOnce",
  "IF": "If",
  "REDUCE_MAX": "Reducer",
  "SUM": "Reducer",
  "VAR_HANDLE": "VarHandle",
  "WHILE": "While",
}
"""Operators that need more to be said than their inputs; their options' names.

All others do what we want where options are missing, which spares 8 bytes each.
"""


class FileBuilder:
  """An unpacked model that graphs and signatures are added to."""

  def __init__(self, model: schema.ModelT) -> None:
    """Begins with a model, which is edited."""
    self.model = model
    self.model.signatureDefs = []
    self.functions: dict[str, Any] = {}
    self._buffers: dict[bytes, int] = {}
    for number, buffer in enumerate(model.buffers):
      if buffer.data is not None:
        self._buffers.setdefault(bytes(buffer.data), number)

  def buffer(self, content: bytes) -> int:
    """The number of a buffer with these bytes; equal ones are kept once."""
    if content not in self._buffers:
      fresh = schema.BufferT()
      fresh.data = np.frombuffer(content, np.uint8)
      self._buffers[content] = len(self.model.buffers)
      self.model.buffers.append(fresh)
    return self._buffers[content]

  def signature(
    self,
    name: str,
    graph: int,
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
  ) -> None:
    """Lets callers find a subgraph and its tensors by names."""
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = name.encode(), graph
    made.inputs, made.outputs = _entries(inputs), _entries(outputs)
    self.model.signatureDefs.append(made)


def _entries(named: Mapping[str, int]) -> list[schema.TensorMapT]:
  found = []
  for name, tensor in named.items():
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    found.append(entry)
  return found
