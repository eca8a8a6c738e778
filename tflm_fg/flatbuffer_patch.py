"""Find constants inside .tflite bytes and write them there, in place."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.base import Array, TflmFgError, TrainableTensor, Weights

_DTYPES = {
  schema.TensorType.FLOAT32: "float32",
  schema.TensorType.INT8: "int8",
  schema.TensorType.INT16: "int16",
  schema.TensorType.INT32: "int32",
  schema.TensorType.INT64: "int64",
}


def data_span(buffer: schema.Buffer) -> tuple[int, int]:
  """Start and length of a buffer's bytes in the file; (0, 0) if empty."""
  if not buffer.DataLength():
    return 0, 0
  table = buffer._tab
  return int(table.Vector(table.Offset(4))), int(buffer.DataLength())


class Patchable:
  """A verified model whose constants can be read and written by index.

  Attributes:
    data: the file; a write gives new bytes and leaves these.
  """

  def __init__(
    self, data: bytes, indices: Sequence[int], subgraph: int = 0
  ) -> None:
    self.data = data
    graph = schema.Model.GetRootAsModel(data, 0)
    tensors = [graph.Subgraphs(subgraph).Tensors(i) for i in indices]
    self.spans = [data_span(graph.Buffers(t.Buffer())) for t in tensors]
    self._dtypes = [np.dtype(_DTYPES[t.Type()]) for t in tensors]
    self._shapes = [
      tuple(t.Shape(i) for i in range(t.ShapeLength())) for t in tensors
    ]

  def read(self, source: bytes | Array | None = None) -> Weights:
    """The constants as arrays, copied from `source` or the file."""
    held = self.data if source is None else source
    return [
      np.frombuffer(held, dtype, length // dtype.itemsize, start)
      .reshape(shape)
      .copy()
      for (start, length), dtype, shape in zip(
        self.spans, self._dtypes, self._shapes
      )
    ]

  def write(self, weights: Weights) -> bytes:
    """The file with other constants: their own bytes and no other change.

    Raises:
      TflmFgError: if an array does not fill its constant.
    """
    out = bytearray(self.data)
    self.write_into(out, weights)
    return bytes(out)

  def write_into(self, out: bytearray | Array, weights: Weights) -> None:
    """Writes the constants' bytes into a buffer laid out as the file."""
    view = memoryview(out)  # type: ignore[arg-type]
    for (start, length), array, dtype in zip(
      self.spans, weights, self._dtypes, strict=True
    ):
      if array.nbytes != length or array.dtype != dtype:
        raise TflmFgError(
          f"a constant of {length} bytes of {dtype} cannot hold "
          f"{array.nbytes} bytes of {array.dtype}"
        )
      view[start : start + length] = array.tobytes()


def weights_of(data: bytes, tensors: Sequence[TrainableTensor]) -> Weights:
  """Reads the trainable tensors' values from a verified file, as copies."""
  return Patchable(data, [t.index for t in tensors]).read()


def private_copy(data: bytes) -> tuple[bytes, NDArray[np.uint8]]:
  """A copy of a file for an engine that points into it, writable by a view.

  Returns:
    The copy, which must outlive the view, and uint8 [len(data)] over it.
  """
  model = bytes(bytearray(data))
  address = np.frombuffer(model, np.uint8).ctypes.data
  memory = (ctypes.c_uint8 * len(model)).from_address(address)
  return model, np.ctypeslib.as_array(memory)
