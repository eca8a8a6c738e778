"""Turn an integer .tflite into its float32 twin, tensor for tensor.

Every quantized tensor becomes float32 at the same index, constants become the
real numbers that they stand for, and no rounding is left: what the same graph
computes with exact activations, and what float forward gradients train.
"""

from __future__ import annotations

import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg import tflite
from tflm_fg.marking import strip
from tflm_fg.runtimes import require_runs
from tflm_fg.tflite import TYPE_NAMES, has_scale, op_name, tensor_name
from tflm_fg.types import Array, TflmFgError, one_line

_INTEGERS = ("int8", "uint8", "int16", "int32", "int64")

_REQUANTIZING = ("QUANTIZE", "DEQUANTIZE")

_COPYING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE")
"""Operators that copy bytes, whatever scale their output declares."""


def to_float(model: bytes, name: str = "model") -> bytes:
  """Makes the twin.

  Args:
    model: an int8 or int16x8 .tflite, marked or not.
    name: what to call the file in errors.

  Returns:
    A float32 .tflite without a mark. Tensors and operators keep their indices,
    so a mark of the integer file says where the same tensors lie in the twin.
    QUANTIZE and DEQUANTIZE become a CAST that changes nothing. What stands
    behind the file stands behind the twin.

  Raises:
    TflmFgError: if the graph has an operator that means something else in
      floats, or LiteRT does not run the twin.
  """
  file = tflite.ModelFile.open(strip(model, name), name)
  plain = file.unpack()
  if len(plain.subgraphs) != 1:
    raise TflmFgError(
      f"{name}: {len(plain.subgraphs)} subgraphs; a float twin needs one"
    )
  _refuse_redeclared(plain, name)
  for tensor in plain.subgraphs[0].tensors:
    if has_scale(tensor):
      _make_float(plain, tensor, name)
  for op in plain.subgraphs[0].operators:
    if op_name(plain, op) in _REQUANTIZING:
      _make_harmless(plain, op)
  twin = file.repacked(plain)
  _require_runnable(twin, name)
  return twin


def real_values(model: schema.ModelT, index: int) -> NDArray[np.float32]:
  """What a constant of subgraph 0 stands for, in its own shape."""
  tensor = model.subgraphs[0].tensors[index]
  held = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
  values = held.view(np.dtype(TYPE_NAMES[tensor.type]).newbyteorder("<"))
  values = values.reshape([int(d) for d in tensor.shape])
  return _dequantized(values, tensor) if has_scale(tensor) else values


def _dequantized(values: Array, tensor: schema.TensorT) -> NDArray[np.float32]:
  quantization = tensor.quantization
  scales = np.asarray(quantization.scale, np.float64)
  points = quantization.zeroPoint
  points = np.zeros(1, np.int64) if points is None else np.asarray(points)
  axes = [1] * values.ndim
  if len(scales) > 1:
    axes[int(quantization.quantizedDimension)] = -1
    scales = scales.reshape(axes)
  if len(points) > 1:
    points = points.reshape(axes)
  return ((values.astype(np.float64) - points) * scales).astype(np.float32)


def _make_float(
  model: schema.ModelT, tensor: schema.TensorT, name: str
) -> None:
  kind = TYPE_NAMES.get(tensor.type, "unknown")
  if kind not in _INTEGERS or tensor.sparsity is not None:
    told = "sparse" if tensor.sparsity is not None else kind
    raise TflmFgError(
      f"{name}: {tensor_name(tensor)!r} is {told}; a float twin is made of "
      "dense int8 and int16 files"
    )
  index = model.subgraphs[0].tensors.index(tensor)
  if model.buffers[tensor.buffer].data is not None:
    fresh = schema.BufferT()
    fresh.data = real_values(model, index).reshape(-1).view(np.uint8)
    model.buffers.append(fresh)
    tensor.buffer = len(model.buffers) - 1
  tensor.type = schema.TensorType.FLOAT32
  tensor.quantization = None


def _make_harmless(model: schema.ModelT, op: schema.OperatorT) -> None:
  """Lets an operator that requantizes pass floats through."""
  code = copy.copy(model.operatorCodes[op.opcodeIndex])
  code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CAST
  code.version = 1
  model.operatorCodes.append(code)
  op.opcodeIndex = len(model.operatorCodes) - 1
  op.builtinOptionsType = schema.BuiltinOptions.CastOptions
  op.builtinOptions = schema.CastOptionsT()
  op.builtinOptions.inDataType = schema.TensorType.FLOAT32
  op.builtinOptions.outDataType = schema.TensorType.FLOAT32


def _refuse_redeclared(model: schema.ModelT, name: str) -> None:
  """Bytes at another scale are other numbers: floats have no counterpart."""
  tensors = model.subgraphs[0].tensors
  for number, op in enumerate(model.subgraphs[0].operators):
    if op_name(model, op) in _COPYING and len(op.inputs):
      source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
      if _grid(source) != _grid(out):
        raise TflmFgError(
          f"{name}: operator {number} {op_name(model, op)} declares "
          f"{tensor_name(out)!r} at another scale, as a wide head does; make "
          "the float twin of the file from before"
        )


def _grid(tensor: schema.TensorT) -> tuple[float, int] | None:
  if not has_scale(tensor):
    return None
  points = tensor.quantization.zeroPoint
  return (
    float(tensor.quantization.scale[0]),
    int(points[0]) if points is not None and len(points) else 0,
  )


def _require_runnable(twin: bytes, name: str) -> None:
  try:
    require_runs(tflite.ModelFile.open(twin, name), "litert")
  except TflmFgError as fault:
    raise TflmFgError(f"no float twin: {one_line(fault, 300)}") from None
