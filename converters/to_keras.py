"""Make a float Keras model of a quantized .tflite, to backpropagate through it.

Weights are dequantized, activations are floats, the output is the logits:
what backpropagation could do with the same network from the same start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.tflite import find_logits, op_name, read, subgraph_of
from tflm_fg.types import TflmFgError

_PADDING = {schema.Padding.SAME: "same", schema.Padding.VALID: "valid"}
_ACTIVATIONS = {
  schema.ActivationFunctionType.NONE: None,
  schema.ActivationFunctionType.RELU: "relu",
  schema.ActivationFunctionType.RELU6: "relu6",
}


def to_keras(data: bytes, name: str = "model") -> Any:
  """Builds the model.

  Args:
    data: a .tflite of one input, of the common layers of classifiers.
    name: what to call the file in errors.

  Returns:
    A keras.Model: float samples [N, ...] to logits [N, classes]. Layers are
    named after the index of their kernel in the file, "t<index>".

  Raises:
    TflmFgError: naming the first operator that has no counterpart here.
  """
  import keras

  model = read(data, name)
  graph = model.subgraphs[0]
  first = int(graph.inputs[0])
  inputs = keras.Input(tuple(int(d) for d in graph.tensors[first].shape[1:]))
  flows, logits = {first: inputs}, find_logits(subgraph_of(model))
  kernels: dict[str, list[NDArray[np.float32]]] = {}
  for op in graph.operators:
    if logits in flows:
      break
    kind = op_name(model, op)
    if kind not in _LAYERS:
      raise TflmFgError(f"{name}: no float counterpart for {kind} yet")
    layer, weights = _LAYERS[kind](keras.layers, model, op)
    sources = [flows[int(i)] for i in op.inputs if int(i) in flows]
    flow = layer(sources[0] if len(sources) == 1 else sources)
    kernels[layer.name] = weights
    activation = _ACTIVATIONS[
      getattr(op.builtinOptions, "fusedActivationFunction", 0)
    ]
    if activation:
      flow = keras.layers.Activation(activation)(flow)
    flows[int(op.outputs[0])] = flow
  built = keras.Model(inputs, flows[logits])
  for layer_name, weights in kernels.items():
    if weights:
      built.get_layer(layer_name).set_weights(weights)
  return built


def _constant(model: schema.ModelT, index: int) -> NDArray[np.float32]:
  """A constant as floats, dequantized where it has a scale."""
  tensor = model.subgraphs[0].tensors[index]
  dtype = {
    schema.TensorType.INT8: "int8",
    schema.TensorType.INT32: "<i4",
    schema.TensorType.INT64: "<i8",
    schema.TensorType.FLOAT32: "<f4",
  }[tensor.type]
  values = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(dtype)
  values = values.reshape([int(d) for d in tensor.shape]).astype(np.float64)
  quantization = tensor.quantization
  if quantization is not None and quantization.scale is not None:
    shape = [1] * values.ndim
    if len(quantization.scale) > 1:
      shape[int(quantization.quantizedDimension)] = -1
    points = np.asarray(quantization.zeroPoint).reshape(shape)
    values = (values - points) * quantization.scale.reshape(shape)
  return values.astype(np.float32)


def _weights(
  model: schema.ModelT, op: schema.OperatorT
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
  """Kernel, and the bias in a list if there is one."""
  kernel = _constant(model, int(op.inputs[1]))
  has_bias = len(op.inputs) > 2 and int(op.inputs[2]) >= 0
  return kernel, [_constant(model, int(op.inputs[2]))] if has_bias else []


def _name(op: schema.OperatorT) -> str:
  return f"t{int(op.inputs[1])}"


_Built = tuple[Any, list[NDArray[np.float32]]]


def _dense(layers: Any, model: schema.ModelT, op: schema.OperatorT) -> _Built:
  kernel, bias = _weights(model, op)
  layer = layers.Dense(len(kernel), use_bias=bool(bias), name=_name(op))
  return layer, [kernel.T, *bias]


def _conv(layers: Any, model: schema.ModelT, op: schema.OperatorT) -> _Built:
  kernel, bias = _weights(model, op)
  options = op.builtinOptions
  layer = layers.Conv2D(
    len(kernel),
    kernel.shape[1:3],
    strides=(options.strideH, options.strideW),
    dilation_rate=(options.dilationHFactor, options.dilationWFactor),
    padding=_PADDING[options.padding],
    use_bias=bool(bias),
    name=_name(op),
  )
  return layer, [kernel.transpose(1, 2, 3, 0), *bias]


def _depthwise(
  layers: Any, model: schema.ModelT, op: schema.OperatorT
) -> _Built:
  kernel, bias = _weights(model, op)
  options = op.builtinOptions
  multiplier = options.depthMultiplier
  layer = layers.DepthwiseConv2D(
    kernel.shape[1:3],
    strides=(options.strideH, options.strideW),
    dilation_rate=(options.dilationHFactor, options.dilationWFactor),
    padding=_PADDING[options.padding],
    depth_multiplier=multiplier,
    use_bias=bool(bias),
    name=_name(op),
  )
  return layer, [kernel[0].reshape(*kernel.shape[1:3], -1, multiplier), *bias]


def _pool(kind: str) -> Callable[..., _Built]:
  def build(layers: Any, model: schema.ModelT, op: schema.OperatorT) -> _Built:
    del model
    options = op.builtinOptions
    layer = getattr(layers, kind)(
      (options.filterHeight, options.filterWidth),
      strides=(options.strideH, options.strideW),
      padding=_PADDING[options.padding],
    )
    return layer, []

  return build


def _mean(layers: Any, model: schema.ModelT, op: schema.OperatorT) -> _Built:
  keep = bool(op.builtinOptions.keepDims)
  rank = len(model.subgraphs[0].tensors[int(op.inputs[0])].shape)
  if rank != 4:
    raise TflmFgError("MEAN over anything but positions of [1, H, W, C]")
  return layers.GlobalAveragePooling2D(keepdims=keep), []


def _reshape(layers: Any, model: schema.ModelT, op: schema.OperatorT) -> _Built:
  shape = model.subgraphs[0].tensors[int(op.outputs[0])].shape
  return layers.Reshape(tuple(int(d) for d in shape[1:])), []


def _add(layers: Any, model: schema.ModelT, op: schema.OperatorT) -> _Built:
  del model, op
  return layers.Add(), []


def _identity(
  layers: Any, model: schema.ModelT, op: schema.OperatorT
) -> _Built:
  del model, op
  return layers.Identity(), []


def _relu(layers: Any, model: schema.ModelT, op: schema.OperatorT) -> _Built:
  del model, op
  return layers.ReLU(), []


_LAYERS: dict[str, Callable[..., _Built]] = {
  "FULLY_CONNECTED": _dense,
  "CONV_2D": _conv,
  "DEPTHWISE_CONV_2D": _depthwise,
  "AVERAGE_POOL_2D": _pool("AveragePooling2D"),
  "MAX_POOL_2D": _pool("MaxPooling2D"),
  "MEAN": _mean,
  "RESHAPE": _reshape,
  "SQUEEZE": _reshape,
  "ADD": _add,
  "RELU": _relu,
  "QUANTIZE": _identity,
  "DEQUANTIZE": _identity,
}
