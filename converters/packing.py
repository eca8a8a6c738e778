"""Write a file in which equal parts are written once.

A graph of many small operators is mostly book-keeping: tensors of the same few
shapes, options with the same content, vectors of the same numbers. A flatbuffer
may refer to one of them from many places.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
  """Writes equal vectors of numbers once, and starts constants on 16 bytes.

  Those of a few bytes start on 4 or 8, as their numbers need it.
  """

  def __init__(self, size: int) -> None:
    super().__init__(size)
    self._vectors: dict[tuple[str, bytes], int] = {}

  def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802,N803
    if elemSize == 1:  # no number is longer than its constant
      alignment = min(_ALIGNMENT, 1 << max(numElems.bit_length() - 1, 2))
    return super().StartVector(elemSize, numElems, alignment)

  def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802
    if x.dtype == np.uint8:  # constants: equal ones are shared by buffers
      return int(super().CreateNumpyVector(x))
    key = x.dtype.str, x.tobytes()
    if key not in self._vectors:
      self._vectors[key] = super().CreateNumpyVector(x)
    return self._vectors[key]


def packed(model: schema.ModelT) -> bytes:
  """Writes a model; its tables are changed to be written once."""
  shared = _Shared()
  for graph in model.subgraphs:
    for tensor in graph.tensors:
      tensor.quantization = shared.one(tensor.quantization)
    graph.tensors = [shared.one(tensor) for tensor in graph.tensors]
    for op in graph.operators:
      op.builtinOptions = shared.one(op.builtinOptions)
      op.inputs = np.asarray(op.inputs, np.int32)
      op.outputs = np.asarray(op.outputs, np.int32)
  builder = _Builder(1 << 16)
  builder.Finish(model.Pack(builder), _IDENTIFIER)
  return bytes(builder.Output())


class _Shared:
  """Tables by their content."""

  def __init__(self) -> None:
    self._known: dict[Any, Any] = {}

  def one(self, table: Any) -> Any:
    """The first table with this content, which is written once."""
    if table is None:
      return None
    key = self._key(table)
    if key not in self._known:
      self._known[key] = _written_once(table)
    return self._known[key]

  def _key(self, value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
      held = np.asarray(value)
      return held.dtype.str, held.shape, held.tobytes()
    if hasattr(value, "Pack"):
      if hasattr(value, "packed_once"):
        return id(value)
      content = tuple((k, self._key(v)) for k, v in vars(value).items())
      return type(value).__name__, content
    return value


def _written_once(table: Any) -> Any:
  """Lets a table be written once into a builder, however often it is asked."""
  write, where = table.Pack, {}

  def once(builder: Any) -> int:
    if id(builder) not in where:
      where[id(builder)] = write(builder)
    return int(where[id(builder)])

  table.packed_once = True
  table.Pack = once
  return table
