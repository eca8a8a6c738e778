"""Check every index, shape and size of a structurally sound .tflite."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPE_NAMES: dict[int, str] = {
  code: name.lower()
  for name, code in vars(schema.TensorType).items()
  if isinstance(code, int)
}
ITEM_BYTES = {
  schema.TensorType.FLOAT32: 4,
  schema.TensorType.FLOAT16: 2,
  schema.TensorType.INT32: 4,
  schema.TensorType.UINT8: 1,
  schema.TensorType.INT64: 8,
  schema.TensorType.BOOL: 1,
  schema.TensorType.INT16: 2,
  schema.TensorType.COMPLEX64: 8,
  schema.TensorType.INT8: 1,
  schema.TensorType.FLOAT64: 8,
  schema.TensorType.COMPLEX128: 16,
  schema.TensorType.UINT64: 8,
  schema.TensorType.UINT32: 4,
  schema.TensorType.UINT16: 2,
  schema.TensorType.BFLOAT16: 2,
}
"""Bytes of one element; types absent here have no fixed whole-byte size."""


MAX_ELEMENTS = 1 << 28
"""No tensor of a model for phones and microcontrollers is larger."""

MOST_INPUT = 1 << 25
"""Nor has a sample as many numbers: a picture of 3840 x 2160 has 25 million."""


def check_root(root: schema.Model) -> None:
  """Refuses another schema and weights that the file does not hold.

  Raises:
    ValueError: with the reason.
  """
  if root.Version() != 3:
    raise ValueError(f"schema version {root.Version()}, need 3")
  if not root.SubgraphsLength():
    raise ValueError("no subgraph")
  if root.ExternalBuffersLength() or root.ExternalBufferGroupsLength():
    raise ValueError("weights in other files")


def check_indices(model: schema.ModelT) -> None:
  """Checks every index, shape and buffer size of an unpacked model.

  Args:
    model: unpacked, with the constants that lie outside its flatbuffer.

  Raises:
    ValueError: naming the subgraph, operator or tensor.
  """
  buffers = model.buffers or []
  if not _integers(model.subgraphs[0].outputs):
    raise ValueError("subgraph 0 has no outputs")
  for number, graph in enumerate(model.subgraphs):
    where = f"subgraph {number}"
    constants = [
      _check_tensor(buffers, tensor, f"{where} tensor {i}")
      for i, tensor in enumerate(graph.tensors or [])
    ]
    _check_operators(model, graph, constants, where)
  for i, entry in enumerate(model.metadata or []):
    _check_range(entry.buffer, len(buffers), f"metadata {i} buffer")


def _check_range(index: int, size: int, what: str) -> None:
  if not 0 <= index < size:
    raise ValueError(f"{what} is {index}, out of {size}")


def _integers(values: Iterable[int] | None) -> list[int]:
  return [] if values is None else [int(value) for value in values]


def _check_tensor(
  buffers: Sequence[schema.BufferT], tensor: schema.TensorT, what: str
) -> bool:
  """Checks one tensor; True if it holds a constant or a variable."""
  _check_range(tensor.buffer, len(buffers), f"{what} buffer")
  shape = _integers(tensor.shape)
  if any(d < 0 for d in shape) or math.prod(shape) > MAX_ELEMENTS:
    raise ValueError(f"{what} has shape {shape}")
  (tensor.name or b"").decode()  # engines raise on names that are no text
  _check_quantization(tensor, shape, what)
  content = buffers[tensor.buffer].data
  held = 0 if content is None else len(content)
  item = ITEM_BYTES.get(tensor.type)
  if held and item and tensor.sparsity is None:
    need = math.prod(shape) * item
    if held != need:
      raise ValueError(
        f"{what} of shape {shape} holds {held} bytes, needs {need}"
      )
  return bool(held) or bool(tensor.isVariable)


_LIMITS = {
  schema.TensorType.INT8: (-128, 127),
  schema.TensorType.UINT8: (0, 255),
  schema.TensorType.INT16: (-(1 << 15), (1 << 15) - 1),
}
"""Types that kernels read as quantized, with the zero points that they take."""


def _quantization_fault(
  quantization: schema.QuantizationParametersT | None,
  kind: int,
  shape: Sequence[int],
  axis: int,
) -> str:
  """What is wrong with a tensor's quantization by itself; empty for nothing.

  Args:
    quantization: as the file has it.
    kind: the tensor's type.
    shape: of the tensor.
    axis: along which several scales lie.
  """
  if quantization is None or quantization.scale is None:
    return ""
  scales = np.asarray(quantization.scale)
  count = len(scales)
  if not count:
    return ""
  if not np.all(np.isfinite(scales)) or np.any(scales < 0):
    return "has a scale that is negative or not finite"
  if count > 1 and not (0 <= axis < len(shape) and shape[axis] == count):
    return f"of shape {list(shape)} has {count} scales on axis {axis}"
  points = quantization.zeroPoint
  points = [] if points is None else [int(point) for point in points]
  if len(points) not in (1, count):
    return f"has {len(points)} zero points for {count} scales"
  low, high = _LIMITS.get(kind, (-(1 << 31), (1 << 31) - 1))
  for point in points:
    if not low <= point <= high:
      kind_name = TYPE_NAMES.get(kind, "its type")
      return f"has zero point {point}, {kind_name} takes {low} to {high}"
  return ""


def _check_quantization(
  tensor: schema.TensorT, shape: list[int], what: str
) -> None:
  held = tensor.quantization
  if held is None or held.scale is None:
    return
  axis = meant_axis(int(held.quantizedDimension), len(held.scale), shape)
  if fault := _quantization_fault(held, tensor.type, shape, axis):
    raise ValueError(f"{what} {fault}")


def _check_operators(
  model: schema.ModelT,
  graph: schema.SubGraphT,
  constants: list[bool],
  where: str,
) -> None:
  tensors = graph.tensors or []
  known = {i for i, constant in enumerate(constants) if constant}
  for i, index in enumerate(_integers(graph.inputs)):
    _check_range(index, len(tensors), f"{where} input {i}")
    shape = _integers(tensors[index].shape)
    if math.prod(shape) > MOST_INPUT:
      raise ValueError(f"{where} input {i} has shape {shape}")
    known.add(index)
  variables = {i for i, tensor in enumerate(tensors) if tensor.isVariable}
  for number, operator in enumerate(graph.operators or []):
    what = f"{where} operator {number}"
    if operator.largeCustomOptionsSize:
      raise ValueError(f"{what} has its options outside the flatbuffer")
    _check_range(operator.opcodeIndex, len(model.operatorCodes or []), what)
    for i, index in enumerate(_integers(operator.inputs)):
      if index != -1:
        _check_range(index, len(tensors), f"{what} input {i}")
        _require_known(tensors, index, known, f"{what} input {i}")
    for i, index in enumerate(_integers(operator.outputs)):
      _check_range(index, len(tensors), f"{what} output {i}")
      if index in known - variables:
        raise ValueError(f"{what} writes tensor {index}, which is taken")
      known.add(index)
    for i, index in enumerate(_integers(operator.intermediates)):
      if index != -1:
        _check_range(index, len(tensors), f"{what} intermediate {i}")
  for i, index in enumerate(_integers(graph.outputs)):
    _check_range(index, len(tensors), f"{where} output {i}")
    _require_known(tensors, index, known, f"{where} output {i}")


def _require_known(
  tensors: Sequence[schema.TensorT], index: int, known: set[int], what: str
) -> None:
  if index not in known and 0 not in _integers(tensors[index].shape):
    raise ValueError(f"{what} reads tensor {index} before anything writes it")


_AXIS_FIELD = 4 + 2 * 6  # slot 6 of a QuantizationParameters table


def meant_axis(axis: int, count: int, shape: Sequence[int]) -> int:
  """The axis along which a tensor's scales lie.

  Older converters gave the bias of a depthwise convolution, which has one axis,
  the axis 3 of its kernel. TFLM never looks at it, and the file works; LiteRT
  refuses it. Every number of such a tensor has a scale of its own, so only one
  axis can be meant.

  Args:
    axis: as the file says.
    count: of the scales.
    shape: of the tensor.

  Returns:
    0 for a tensor of one axis with a scale for each number; else the axis.
  """
  return 0 if count > 1 and list(shape) == [count] else axis


def with_meant_axes(data: bytes) -> tuple[bytes, tuple[str, ...]]:
  """A sound file with the axes that are meant.

  Args:
    data: the file.

  Returns:
    The file, of the same length, and a note that says what was mended; the
    same bytes and none where all axes fit.
  """
  root = schema.Model.GetRootAsModel(data, 0)
  places: dict[int, int] = {}
  names = []
  for number in range(root.SubgraphsLength()):
    graph = root.Subgraphs(number)
    for index in range(graph.TensorsLength()):
      tensor = graph.Tensors(index)
      quantization = tensor.Quantization()
      if quantization is None:
        continue
      axis, count = (
        quantization.QuantizedDimension(),
        quantization.ScaleLength(),
      )
      shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
      meant = meant_axis(axis, count, shape)
      if meant != axis:
        table = quantization._tab
        # An axis that is not 0, the default, stands in the file.
        places[table.Pos + table.Offset(_AXIS_FIELD)] = meant
        names.append((tensor.Name() or b"").decode("utf-8", "replace"))
  if not places:
    return data, ()
  out = bytearray(data)
  for place, axis in places.items():
    struct.pack_into("<i", out, place, axis)
  return bytes(out), (
    f"{names[0]}: its scales name an axis that it does not have"
    + (f", as do those of {len(names) - 1} more" if names[1:] else "")
    + "; the axis was corrected, which changes no output",
  )
