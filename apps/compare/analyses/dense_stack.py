"""Models of any size for timing, made without a converter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg import tflite


def dense_stack(widths: Sequence[int]) -> bytes:
  """An int8 model of FULLY_CONNECTED layers with random weights, ReLU between.

  Args:
    widths: of the input and of every layer; at least two.

  Returns:
    A .tflite of [1, widths[0]] to [1, widths[-1]].
  """
  stack = _Stack()
  flow = stack.tensor("x", (1, widths[0]), "INT8", 4 / 127)
  first = flow
  for number, units in enumerate(widths[1:], 1):
    relu = number < len(widths) - 1
    flow = stack.dense(f"dense{number}", flow, widths[number - 1], units, relu)
  graph = stack.model.subgraphs[0]
  graph.inputs, graph.outputs = np.array([[first], [flow]], np.int32)
  return tflite.pack(stack.model)


class _Stack:
  """A model that grows by a layer at a time."""

  def __init__(self) -> None:
    graph, code = schema.SubGraphT(), schema.OperatorCodeT()
    graph.tensors, graph.operators = [], []
    code.builtinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.deprecatedBuiltinCode, code.version = code.builtinCode, 4
    self.model = schema.ModelT()
    self.model.version, self.model.description = 3, b"benchmark"
    self.model.buffers = [schema.BufferT()]
    self.model.operatorCodes, self.model.subgraphs = [code], [graph]
    self._random = np.random.default_rng(0)

  def tensor(
    self,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    scale: float,
    values: Any = None,
  ) -> int:
    """Adds a tensor, a constant if it has values."""
    tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
    tensor.name, tensor.shape = name.encode(), np.array(shape, np.int32)
    tensor.type = getattr(schema.TensorType, dtype)
    quantization.scale = np.array([scale], np.float32)
    quantization.zeroPoint = np.zeros(1, np.int64)
    tensor.quantization, tensor.buffer = quantization, 0
    if values is not None:
      buffer = schema.BufferT()
      buffer.data = np.frombuffer(values.tobytes(), np.uint8)
      tensor.buffer = len(self.model.buffers)
      self.model.buffers.append(buffer)
    tensors = self.model.subgraphs[0].tensors
    tensors.append(tensor)
    return len(tensors) - 1

  def dense(
    self, name: str, flow: int, inputs: int, units: int, relu: bool
  ) -> int:
    """Adds a layer whose outputs fill their range about."""
    scale = 2 / 127 / inputs**0.5
    kernel = self._random.integers(-127, 128, (units, inputs)).astype(np.int8)
    bias = np.zeros(units, np.int32)
    parts = [
      flow,
      self.tensor(f"{name}/kernel", kernel.shape, "INT8", scale, kernel),
      self.tensor(f"{name}/bias", bias.shape, "INT32", scale * 4 / 127, bias),
    ]
    out = self.tensor(f"{name}/out", (1, units), "INT8", 4 / 127)
    op, options = schema.OperatorT(), schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = int(relu)
    op.opcodeIndex, op.inputs = 0, np.array(parts, np.int32)
    op.outputs = np.array([out], np.int32)
    op.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    op.builtinOptions = options
    self.model.subgraphs[0].operators.append(op)
    return out
