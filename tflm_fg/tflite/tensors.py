"""Read from .tflite bytes what tensors are, without unpacking the file."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.tflite.model_file import TYPE_NAMES, data_span
from tflm_fg.tflite.verify_indices import ITEM_BYTES
from tflm_fg.types import Array, TflmFgError, TrainableTensor, Weights


class TensorSpec(NamedTuple):
  """A tensor's shape, dtype name and quantization (scale 0: none)."""

  shape: tuple[int, ...]
  dtype: str
  scale: float
  zero_point: int


def tensor_spec(data: bytes, index: int) -> TensorSpec:
  """Reads a tensor's shape and quantization from a verified file."""
  tensor = schema.Model.GetRootAsModel(data, 0).Subgraphs(0).Tensors(index)
  quantization = tensor.Quantization()
  given = quantization is not None and quantization.ScaleLength() > 0
  points = given and quantization.ZeroPointLength() > 0
  return TensorSpec(
    shape=tuple(tensor.Shape(i) for i in range(tensor.ShapeLength())),
    dtype=TYPE_NAMES.get(tensor.Type(), "unknown"),
    scale=float(quantization.Scale(0)) if given else 0.0,
    zero_point=int(quantization.ZeroPoint(0)) if points else 0,
  )


def tensor_count(data: bytes) -> int:
  """Count of tensors in subgraph 0 of a verified file."""
  model = schema.Model.GetRootAsModel(data, 0)
  return int(model.Subgraphs(0).TensorsLength())


def activation_bytes(data: bytes) -> int:
  """The most bytes of activations alive at once in subgraph 0.

  A lower bound of an engine's arena, which adds its own book-keeping and the
  gaps of its planner.

  Args:
    data: a verified .tflite.
  """
  model = schema.Model.GetRootAsModel(data, 0)
  graph = model.Subgraphs(0)
  last: dict[int, int] = {}
  first = {graph.Inputs(i): 0 for i in range(graph.InputsLength())}
  count = graph.OperatorsLength()
  for number in range(count):
    op = graph.Operators(number)
    for i in range(op.InputsLength()):
      last[op.Inputs(i)] = number
    for i in range(op.OutputsLength()):
      first[op.Outputs(i)] = number
  for i in range(graph.OutputsLength()):
    last[graph.Outputs(i)] = count
  return max(
    sum(
      _tensor_bytes(graph.Tensors(t))
      for t, start in first.items()
      if start <= number <= last.get(t, start)
    )
    for number in range(max(count, 1))
  )


def _tensor_bytes(tensor: schema.Tensor) -> int:
  shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
  return math.prod(shape) * ITEM_BYTES.get(tensor.Type(), 0)


_DTYPES = {
  schema.TensorType.FLOAT32: "float32",
  schema.TensorType.INT8: "int8",
  schema.TensorType.INT16: "int16",
  schema.TensorType.INT32: "int32",
  schema.TensorType.INT64: "int64",
}


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
