"""Check every index, shape and size of a structurally sound .tflite."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

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


def check_indices(model: schema.Model) -> None:
  """Checks every index, shape and buffer size of a structurally sound model.

  Raises:
    ValueError: naming the subgraph, operator or tensor.
  """
  if model.Version() != 3:
    raise ValueError(f"schema version {model.Version()}, need 3")
  if not model.SubgraphsLength():
    raise ValueError("no subgraph")
  if model.ExternalBuffersLength() or model.ExternalBufferGroupsLength():
    raise ValueError("weights in other files")
  for i in range(model.BuffersLength()):
    if model.Buffers(i).Offset() > 1:
      raise ValueError(f"buffer {i} lies outside the flatbuffer")
  for number in range(model.SubgraphsLength()):
    graph = model.Subgraphs(number)
    where = f"subgraph {number}"
    constants = [
      _check_tensor(model, graph.Tensors(i), f"{where} tensor {i}")
      for i in range(graph.TensorsLength())
    ]
    _check_operators(model, graph, constants, where)
  for i in range(model.MetadataLength()):
    _check_range(
      model.Metadata(i).Buffer(), model.BuffersLength(), f"metadata {i} buffer"
    )


def _check_range(index: int, size: int, what: str) -> None:
  if not 0 <= index < size:
    raise ValueError(f"{what} is {index}, out of {size}")


def _check_tensor(
  model: schema.Model, tensor: schema.Tensor, what: str
) -> bool:
  """Checks one tensor; True if it holds a constant or a variable."""
  _check_range(tensor.Buffer(), model.BuffersLength(), f"{what} buffer")
  shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
  if any(d < 0 for d in shape) or math.prod(shape) > MAX_ELEMENTS:
    raise ValueError(f"{what} has shape {shape}")
  (tensor.Name() or b"").decode()  # engines raise on names that are no text
  _check_quantization(tensor, shape, what)
  held = int(model.Buffers(tensor.Buffer()).DataLength())
  item = ITEM_BYTES.get(tensor.Type())
  if held and item and tensor.Sparsity() is None:
    need = math.prod(shape) * item
    if held != need:
      raise ValueError(
        f"{what} of shape {shape} holds {held} bytes, needs {need}"
      )
  return bool(held) or bool(tensor.IsVariable())


def _check_quantization(
  tensor: schema.Tensor, shape: list[int], what: str
) -> None:
  quantization = tensor.Quantization()
  if quantization is None or not quantization.ScaleLength():
    return
  scales = quantization.ScaleAsNumpy()
  if not np.all(np.isfinite(scales)) or np.any(scales < 0):
    raise ValueError(f"{what} has a scale that is negative or not finite")
  axis = quantization.QuantizedDimension()
  count = len(scales)
  if count > 1 and not (0 <= axis < len(shape) and shape[axis] == count):
    raise ValueError(
      f"{what} of shape {shape} has {count} scales on axis {axis}"
    )
  if quantization.ZeroPointLength() not in (0, 1, count):
    raise ValueError(f"{what} has {quantization.ZeroPointLength()} zero points")


def _check_operators(
  model: schema.Model,
  graph: schema.SubGraph,
  constants: list[bool],
  where: str,
) -> None:
  tensors = len(constants)
  known = {i for i, constant in enumerate(constants) if constant}
  for i in range(graph.InputsLength()):
    _check_range(graph.Inputs(i), tensors, f"{where} input {i}")
    known.add(graph.Inputs(i))
  variables = {i for i in range(tensors) if graph.Tensors(i).IsVariable()}
  for number in range(graph.OperatorsLength()):
    operator = graph.Operators(number)
    what = f"{where} operator {number}"
    _check_range(operator.OpcodeIndex(), model.OperatorCodesLength(), what)
    for i in range(operator.InputsLength()):
      index = operator.Inputs(i)
      if index != -1:
        _check_range(index, tensors, f"{what} input {i}")
        _require_known(model, graph, index, known, f"{what} input {i}")
    for i in range(operator.OutputsLength()):
      index = operator.Outputs(i)
      _check_range(index, tensors, f"{what} output {i}")
      if index in known - variables:
        raise ValueError(f"{what} writes tensor {index}, which is taken")
      known.add(index)
    _check_strides(model, operator, what)
  for i in range(graph.OutputsLength()):
    _check_range(graph.Outputs(i), tensors, f"{where} output {i}")
    _require_known(model, graph, graph.Outputs(i), known, f"{where} output {i}")


def _require_known(
  model: schema.Model,
  graph: schema.SubGraph,
  index: int,
  known: set[int],
  what: str,
) -> None:
  empty = 0 in [
    graph.Tensors(index).Shape(i)
    for i in range(graph.Tensors(index).ShapeLength())
  ]
  if index not in known and not empty:
    raise ValueError(f"{what} reads tensor {index} before anything writes it")


_Options = tuple[int, Callable[[], schema.Conv2DOptions]]
_STRIDED: dict[int, _Options] = {
  getattr(schema.BuiltinOperator, operator): (
    getattr(schema.BuiltinOptions, options),
    getattr(schema, options),
  )
  for operator, options in (
    ("CONV_2D", "Conv2DOptions"),
    ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"),
    ("TRANSPOSE_CONV", "TransposeConvOptions"),
    ("AVERAGE_POOL_2D", "Pool2DOptions"),
    ("MAX_POOL_2D", "Pool2DOptions"),
    ("L2_POOL_2D", "Pool2DOptions"),
  )
}
"""Operators whose kernels divide by what their options say."""


def _check_strides(
  model: schema.Model, operator: schema.Operator, what: str
) -> None:
  code = model.OperatorCodes(operator.OpcodeIndex())
  number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
  if number not in _STRIDED:
    return
  kind, make = _STRIDED[number]
  raw = operator.BuiltinOptions()
  if raw is None or operator.BuiltinOptionsType() != kind:
    raise ValueError(f"{what} lacks its strides")
  options = make()
  options.Init(raw.Bytes, raw.Pos)
  for name in ("StrideW", "StrideH", "FilterWidth", "FilterHeight"):
    read = getattr(options, name, None)
    if read is not None and not 0 < read() < 2**15:
      raise ValueError(f"{what} has {name} {read()}")
