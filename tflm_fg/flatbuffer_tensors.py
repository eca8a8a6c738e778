"""Read from .tflite bytes what tensors are, without unpacking the file."""

from __future__ import annotations

import math
from typing import NamedTuple

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.flatbuffer import TYPE_NAMES
from tflm_fg.flatbuffer_indices import ITEM_BYTES


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
  """The most bytes of activations alive at once in subgraph 0, clip by clip.

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
