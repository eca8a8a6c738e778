"""Small quantized models and data, built in code, for tests of any engine."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite import model_file, packing
from tflm_fg.tflite.layers import TRAINABLE_OPS

_TYPES = {
  "uint8": schema.TensorType.UINT8,
  "int8": schema.TensorType.INT8,
  "int16": schema.TensorType.INT16,
  "int32": schema.TensorType.INT32,
  "int64": schema.TensorType.INT64,
  "float32": schema.TensorType.FLOAT32,
}


FEATURES = -9
"""An input of numbers of both signs."""

IMAGE = -128
"""An input from zero up; also what a ReLU lets through."""

SIGNED = 11
"""Any other activation, logits among them."""


class Builder:
  """Adds tensors and operators to a one-subgraph model."""

  def __init__(self) -> None:
    self.model = schema.ModelT()
    self.model.version = 3
    self.model.description = b"built by a test"
    self.model.operatorCodes = []
    self.model.buffers = [schema.BufferT()]
    self.graph = schema.SubGraphT()
    self.graph.tensors, self.graph.operators = [], []
    self.model.subgraphs = [self.graph]

  def tensor(
    self,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    scale: Any = None,
    zero_point: int = 0,
    axis: int = 0,
    data: np.ndarray | None = None,
  ) -> int:
    tensor = schema.TensorT()
    tensor.name = name.encode()
    tensor.shape = np.array(shape, np.int32)
    tensor.type = _TYPES[dtype]
    tensor.buffer = 0
    if scale is not None:
      quantization = schema.QuantizationParametersT()
      quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
      points = np.full(len(quantization.scale), zero_point, np.int64)
      quantization.zeroPoint = points
      quantization.quantizedDimension = axis
      tensor.quantization = quantization
    if data is not None:
      buffer = schema.BufferT()
      raw = np.ascontiguousarray(data, dtype).tobytes()
      buffer.data = np.frombuffer(raw, np.uint8)
      tensor.buffer = len(self.model.buffers)
      self.model.buffers.append(buffer)
    self.graph.tensors.append(tensor)
    return len(self.graph.tensors) - 1

  def operator(
    self,
    name: str,
    inputs: list[int],
    output: int,
    options: Any = None,
    version: int = 1,
  ) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    self.model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex = len(self.model.operatorCodes) - 1
    op.inputs = np.array(inputs, np.int32)
    op.outputs = np.array([output], np.int32)
    if options is not None:
      kind = type(options).__name__.removesuffix("T")
      op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
      op.builtinOptions = options
    self.graph.operators.append(op)

  def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
    self.graph.inputs = np.array(inputs, np.int32)
    self.graph.outputs = np.array(outputs, np.int32)
    return model_file.pack(self.model)


@dataclasses.dataclass(frozen=True)
class Flow:
  """An activation tensor on its way through the graph."""

  index: int
  shape: tuple[int, ...]
  scale: float
  zero_point: int


class Network(Builder):
  """Layers with random int8 weights, scaled so that activations fill int8.

  Zero points are as converters give them: none is 0 but those of int16.
  """

  def __init__(
    self, seed: int = 0, wide: bool = False, per_channel: bool = True
  ) -> None:
    super().__init__()
    self.random = np.random.default_rng(seed)
    self.wide, self.per_channel = wide, per_channel
    self.flow_type = "int16" if wide else "int8"

  def activation(
    self,
    name: str,
    shape: tuple[int, ...],
    reach: float,
    zero_point: int = SIGNED,
  ) -> Flow:
    scale = reach / (32767 if self.wide else 127)
    zero_point = 0 if self.wide else zero_point
    index = self.tensor(name, shape, self.flow_type, scale, zero_point)
    return Flow(index, shape, scale, zero_point)

  def _weights(
    self, name: str, shape: tuple[int, ...], axis: int, flow: Flow, bias: bool
  ) -> list[int]:
    channels = shape[axis]
    fan_in = int(np.prod(shape)) // channels
    scales = np.full(
      channels if self.per_channel else 1, 2.5 / 127 / fan_in**0.5
    )
    if self.per_channel:
      scales = scales * self.random.uniform(0.7, 1.3, channels)
    kernel = np.clip(self.random.normal(0, 50, shape).round(), -127, 127)
    made = [
      self.tensor(f"{name}/kernel", shape, "int8", scales, 0, axis, kernel)
    ]
    if not bias:
      return [*made, -1]
    units = scales * flow.scale
    values = np.round(self.random.normal(0, 0.05, channels) / units)
    kind = "int64" if self.wide else "int32"
    made.append(
      self.tensor(f"{name}/bias", (channels,), kind, units, 0, 0, values)
    )
    return made

  def dense(
    self,
    flow: Flow,
    units: int,
    name: str = "dense",
    relu: bool = False,
    bias: bool = True,
    reach: float = 4.0,
  ) -> Flow:
    weights = self._weights(name, (units, flow.shape[-1]), 0, flow, bias)
    zero_point = IMAGE if relu else SIGNED
    out = self.activation(f"{name}/out", (1, units), reach, zero_point)
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = int(relu)
    version = 4 if not self.wide else 7
    self.operator(
      "FULLY_CONNECTED", [flow.index, *weights], out.index, options, version
    )
    return out

  def convolution(
    self,
    flow: Flow,
    channels: int,
    name: str = "conv",
    depthwise: bool = False,
    size: int = 3,
    relu: bool = True,
    reach: float = 4.0,
  ) -> Flow:
    height, width, depth = flow.shape[1:]
    window = (size, size, depth)
    shape = (1, *window) if depthwise else (channels, *window)
    axis = 3 if depthwise else 0
    weights = self._weights(name, shape, axis, flow, True)
    channels = depth if depthwise else channels
    zero_point = IMAGE if relu else SIGNED
    shape = (1, height, width, channels)
    out = self.activation(f"{name}/out", shape, reach, zero_point)
    options = (
      schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    )
    options.strideW = options.strideH = 1
    options.dilationWFactor = options.dilationHFactor = 1
    options.fusedActivationFunction = int(relu)
    if depthwise:
      options.depthMultiplier = 1
    op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    self.operator(op, [flow.index, *weights], out.index, options, 3)
    return out

  def transposed(self, flow: Flow, channels: int, name: str) -> Flow:
    height, width, depth = flow.shape[1:]
    shape = (1, 2 * height, 2 * width, channels)
    weights = self._weights(name, (channels, 3, 3, depth), 0, flow, True)
    target = self.tensor(f"{name}/shape", (4,), "int32", data=np.array(shape))
    out = self.activation(f"{name}/out", shape, 4.0)
    options = schema.TransposeConvOptionsT()
    options.strideW = options.strideH = 2
    kernel, bias = weights
    inputs = [target, kernel, flow.index, bias]
    self.operator("TRANSPOSE_CONV", inputs, out.index, options, 3)
    return out

  def mean(self, flow: Flow, keep: bool = False) -> Flow:
    axes = self.tensor("axes", (2,), "int32", data=np.array([1, 2]))
    shape = (1, *([1, 1] if keep else []), flow.shape[-1])
    out = self.activation("mean/out", shape, 4.0, flow.zero_point)
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    self.operator("MEAN", [flow.index, axes], out.index, options, 2)
    return out

  def softmax(self, flow: Flow) -> Flow:
    scale = 1 / 32768 if self.wide else 1 / 256
    zero = 0 if self.wide else -128
    index = self.tensor("softmax", flow.shape, self.flow_type, scale, zero)
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    self.operator("SOFTMAX", [flow.index], index, options, 2)
    return Flow(index, flow.shape, scale, zero)


def recurrent_model(*, seed: int = 0, units: int = 4) -> bytes:
  """x [1, 5, 8] -> LSTM with state in variables -> dense -> softmax of 3.

  The operator is what converters write: int8 activations, an int16 cell, and
  two variables that keep output and cell from run to run.
  """
  net = Network(seed)
  steps, depth = 5, 8
  x = net.activation("x", (1, steps, depth), 4.0, FEATURES)
  gates = range(4)

  def matrix(name: str, columns: int) -> int:
    values = np.clip(net.random.normal(0, 50, (units, columns)), -127, 127)
    return net.tensor(name, (units, columns), "int8", 1 / 127, 0, 0, values)

  inner = [matrix(f"lstm/input_{g}", depth) for g in gates]
  outer = [matrix(f"lstm/recurrent_{g}", units) for g in gates]
  unit = x.scale / 127
  biases = [
    net.tensor(
      f"lstm/bias_{g}",
      (units,),
      "int32",
      unit,
      data=net.random.normal(0, 0.3 / unit, units).round(),
    )
    for g in gates
  ]
  output_state = net.tensor("lstm/output", (1, units), "int8", 1 / 128, 0)
  cell_state = net.tensor("lstm/cell", (1, units), "int16", 2.0**-11, 0)
  for index in (output_state, cell_state):
    net.graph.tensors[index].isVariable = True
  shape = (1, steps, units)
  out = Flow(net.tensor("lstm/out", shape, "int8", 1 / 128), shape, 1 / 128, 0)
  inputs = [x.index, *inner, *outer, -1, -1, -1, *biases, -1, -1]
  inputs += [output_state, cell_state, -1, -1, -1, -1]
  options = schema.UnidirectionalSequenceLSTMOptionsT()
  options.fusedActivationFunction = schema.ActivationFunctionType.TANH
  options.cellClip = 10.0
  net.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, out.index, options, 1)
  between = [net.tensor(f"lstm/{i}", (0,), "int16", 2.0**-12) for i in gates]
  between.append(net.tensor("lstm/4", (0,), "int8", 1 / 128, 0))
  net.graph.operators[-1].intermediates = np.array(between, np.int32)
  flat = Flow(
    net.tensor("flat", (1, steps * units), "int8", 1 / 128),
    (1, steps * units),
    1 / 128,
    0,
  )
  target = net.tensor("target", (2,), "int32", data=np.array(flat.shape))
  options = schema.ReshapeOptionsT()
  options.newShape = np.array(flat.shape, np.int32)
  net.operator("RESHAPE", [out.index, target], flat.index, options, 1)
  head = net.dense(flat, 3, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(head).index])


def dense_model(
  inputs: int = 8,
  hidden: int = 16,
  classes: int = 4,
  *,
  seed: int = 0,
  wide: bool = False,
  per_channel: bool = True,
  bias: bool = True,
  softmax: bool = True,
) -> bytes:
  """x [1, inputs] -> dense, ReLU -> dense -> softmax; logits scale 8 / 127."""
  net = Network(seed, wide, per_channel)
  x = net.activation("x", (1, inputs), 4.0, FEATURES)
  flow = net.dense(x, hidden, "hidden", relu=True, bias=bias)
  flow = net.dense(flow, classes, "head", bias=bias, reach=8.0)
  out = net.softmax(flow) if softmax else flow
  return net.finish([x.index], [out.index])


def regression_model(
  outputs: int = 1, *, seed: int = 0, wide: bool = False, tail: str = ""
) -> bytes:
  """x [1, 8] -> dense, ReLU -> dense [1, outputs], numbers from -8.7 to 7.3.

  Tail: "squeeze" makes the output [1], "dequantize" floats, "logistic" bends.
  """
  net = Network(seed, wide)
  x = net.activation("x", (1, 8), 4.0, FEATURES)
  flow = net.dense(x, 16, "hidden", relu=True)
  flow = net.dense(flow, outputs, "head", reach=8.0)
  out = flow.index
  if tail == "squeeze":
    out = net.tensor("out", (1,), net.flow_type, flow.scale, flow.zero_point)
    options = schema.SqueezeOptionsT()
    options.squeezeDims = np.array([1], np.int32)
    net.operator("SQUEEZE", [flow.index], out, options, 1)
  elif tail == "dequantize":
    out = net.tensor("out", flow.shape, "float32")
    net.operator(
      "DEQUANTIZE", [flow.index], out, schema.DequantizeOptionsT(), 2
    )
  elif tail == "logistic":
    scale, zero = (1 / 32768, 0) if wide else (1 / 256, -128)
    out = net.tensor("out", flow.shape, net.flow_type, scale, zero)
    net.operator("LOGISTIC", [flow.index], out, version=2)
  return net.finish([x.index], [out])


def conv_model(
  *, seed: int = 0, wide: bool = False, per_channel: bool = True
) -> bytes:
  """x [1, 6, 5, 2] -> conv, depthwise, mean, dense -> softmax of 3."""
  net = Network(seed, wide, per_channel)
  x = net.activation("x", (1, 6, 5, 2), 4.0, IMAGE)
  flow = net.convolution(x, 4, "conv")
  flow = net.convolution(flow, 4, "depthwise", depthwise=True)
  flow = net.dense(net.mean(flow), 3, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(flow).index])


def deep_model(
  *, seed: int = 0, wide: bool = False, per_channel: bool = True
) -> bytes:
  """x [1, 8] -> dense, dense with ReLU -> dense -> softmax of 4."""
  net = Network(seed, wide, per_channel)
  x = net.activation("x", (1, 8), 4.0, FEATURES)
  flow = net.dense(x, 16, "first", relu=True)
  flow = net.dense(flow, 12, "second", relu=True)
  flow = net.dense(flow, 4, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(flow).index])


def pointwise_model(
  *, seed: int = 6, wide: bool = False, per_channel: bool = True
) -> bytes:
  """x [1, 6, 5, 2] -> two conv, mean -> 1x1 conv, logits [1, 1, 1, 3].

  The usual seed is one under which the ReLUs let something through.
  """
  net = Network(seed, wide, per_channel)
  x = net.activation("x", (1, 6, 5, 2), 4.0, IMAGE)
  flow = net.convolution(x, 4, "conv")
  flow = net.convolution(flow, 5, "second")
  flow = net.mean(flow, keep=True)
  flow = net.convolution(flow, 3, "head", size=1, relu=False, reach=8.0)
  return net.finish([x.index], [flow.index])


def shaped_head_model(kind: str, *, seed: int = 6) -> bytes:
  """x [1, 6, 5, 2] -> two conv -> a head of 3 with shaping around it.

  Kinds: "flattened", a FULLY_CONNECTED that reads [1, 6, 5, 4]; "reshaped", a
  1x1 convolution of one position, RESHAPE and SOFTMAX; "pooled", a convolution
  over positions and MEAN behind it.
  """
  net = Network(seed)
  x = net.activation("x", (1, 6, 5, 2), 4.0, IMAGE)
  flow = net.convolution(net.convolution(x, 5, "first"), 4, "second")
  if kind == "flattened":
    whole = dataclasses.replace(flow, shape=(1, 120))
    return net.finish([x.index], [net.dense(whole, 3, "head").index])
  if kind == "reshaped":
    flow = net.mean(flow, keep=True)
  flow = net.convolution(flow, 3, "head", size=1, relu=False)
  if kind == "pooled":
    return net.finish([x.index], [net.mean(flow).index])
  shape = net.tensor("shape", (2,), "int32", data=np.array([1, 3]))
  index = net.tensor("flat", (1, 3), "int8", flow.scale, flow.zero_point)
  options = schema.ReshapeOptionsT()
  net.operator("RESHAPE", [flow.index, shape], index, options, 1)
  flat = Flow(index, (1, 3), flow.scale, flow.zero_point)
  return net.finish([x.index], [net.softmax(flat).index])


def two_headed_model(*, seed: int = 0, wide: bool = False) -> bytes:
  """x [1, 8] -> hidden layer, which both of two heads read.

  Outputs: 0 a softmax of 4, 1 numbers [1, 3], whose layer is the file's last.
  """
  net = Network(seed, wide)
  x = net.activation("x", (1, 8), 4.0, FEATURES)
  hidden = net.dense(x, 16, "hidden", relu=True)
  scores = net.softmax(net.dense(hidden, 4, "scores", reach=8.0))
  numbers = net.dense(hidden, 3, "numbers", reach=8.0)
  return net.finish([x.index], [scores.index, numbers.index])


def embedding_model(*, seed: int = 0, tail: str = "scores") -> bytes:
  """x [1, 8] -> embedding [1, 16] -> softmax of 4; two outputs.

  Outputs: the embedding and the softmax, or ("logits") logits and softmax.
  """
  net = Network(seed)
  x = net.activation("x", (1, 8), 4.0, FEATURES)
  embedding = net.dense(x, 16, "embedding", relu=True)
  logits = net.dense(embedding, 4, "head", reach=8.0)
  first = embedding if tail == "scores" else logits
  return net.finish([x.index], [first.index, net.softmax(logits).index])


def float_model(
  dtype: str = "float32", shape: tuple[int, ...] = (1, 4)
) -> bytes:
  """x of four numbers -> dense with float activations; int8 makes it hybrid."""
  net = Builder()
  x = net.tensor("x", shape, "float32")
  scale = 0.01 if dtype == "int8" else None
  kernel = net.tensor(
    "float/kernel", (3, 4), dtype, scale, data=np.ones((3, 4))
  )
  out = net.tensor("out", (1, 3), "float32")
  options = schema.FullyConnectedOptionsT()
  net.operator("FULLY_CONNECTED", [x, kernel, -1], out, options, 3)
  return net.finish([x], [out])


def int8_samples(
  shape: tuple[int, ...], samples: int, seed: int = 0, dtype: str = "int8"
) -> np.ndarray:
  """Random samples over most of the input's range."""
  reach = 100 if dtype == "int8" else 25_000
  random = np.random.default_rng(seed)
  return random.integers(-reach, reach, (samples, *shape)).astype(dtype)


def curve(
  samples: int = 200, outputs: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """What a small network can nearly give; x float32 [N, 8], y float64."""
  random = np.random.default_rng(seed)
  mixing = np.random.default_rng(99).normal(0, 0.4, (8, outputs))
  x = random.normal(0, 1.3, (samples, 8)).astype(np.float32)
  y = 3 * np.tanh(x @ mixing) + 1 + random.normal(0, 0.1, (samples, outputs))
  return x, y[:, 0] if outputs == 1 else y


def detectable(
  samples: int = 200, outputs: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Labels of 0 and 1 that each depend on a direction of x.

  Returns:
    x float32 [N, 8], and y int64 [N, outputs].
  """
  random = np.random.default_rng(seed)
  mixing = np.random.default_rng(99).normal(0, 1, (8, outputs))
  x = random.normal(0, 1.3, (samples, 8)).astype(np.float32)
  return x, (x @ mixing > 0.4).astype(np.int64)


def separable(
  samples: int = 240, inputs: int = 8, classes: int = 4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Clusters that a linear layer tells apart; x float32, y int64."""
  random = np.random.default_rng(seed)
  centres = np.random.default_rng(99).normal(0, 1.5, (classes, inputs))
  y = np.arange(samples) % classes
  x = centres[y] + random.normal(0, 0.6, (samples, inputs))
  return x.astype(np.float32), y.astype(np.int64)


def many_layers_model(layers: int = 12, *, seed: int = 0) -> bytes:
  """x [1, 4, 4, 2] -> `layers` convolutions -> mean, dense, logits [1, 3]."""
  net = Network(seed)
  x = net.activation("x", (1, 4, 4, 2), 4.0, IMAGE)
  flow = x
  for number in range(layers):
    flow = net.convolution(flow, 3, f"conv{number}", size=1, relu=False)
  flow = net.dense(net.mean(flow), 3, "head", reach=8.0)
  return net.finish([x.index], [flow.index])


def outside(data: bytes, least: int = 64) -> bytes:
  """The same file with constants of `least` bytes or more behind it."""
  model = model_file.read(data)
  moved = []
  for buffer in model.buffers:
    if buffer.data is not None and len(buffer.data) >= least:
      moved.append((buffer, bytes(bytearray(buffer.data))))
      buffer.data, buffer.offset, buffer.size = None, 1 << 40, 1 << 40
  start = packing.align(len(model_file.pack(model)))
  body = b""
  for buffer, content in moved:
    buffer.offset, buffer.size = start + len(body), len(content)
    body += content + bytes(-len(content) % 16)
  packed = model_file.pack(model)
  return packed + bytes(start - len(packed)) + body


def uint8_model(
  data: bytes, kernel_points: Sequence[int] = (128,), stretch: float = 1.0
) -> bytes:
  """A legacy uint8 file of an int8 one with a scale a tensor.

  Args:
    data: the int8 file.
    kernel_points: the zero points of its kernels in turn; weights that do not
      fit are cut off. With 128 the file gives what the int8 file gives.
    stretch: how many uint8 steps its kernels have for one int8 step.
  """
  model = model_file.read(data)
  graph = model.subgraphs[0]
  kernels = {
    int(op.inputs[TRAINABLE_OPS[name][1]])
    for op in graph.operators
    if (name := model_file.op_name(model, op)) in TRAINABLE_OPS
  }
  points = itertools.cycle(kernel_points)
  if stretch != 1:
    _stretch_biases(model, stretch)
  for number, tensor in enumerate(graph.tensors):
    if tensor.type != schema.TensorType.INT8:
      continue
    by, times = 128, 1.0
    if number in kernels:
      by, times = next(points), stretch
      tensor.quantization.scale = tensor.quantization.scale / np.float32(times)
    tensor.type = schema.TensorType.UINT8
    tensor.quantization.zeroPoint = tensor.quantization.zeroPoint + by
    buffer = model.buffers[tensor.buffer]
    if buffer.data is not None:
      values = np.asarray(buffer.data).view(np.int8) * times + by
      buffer.data = np.clip(values.round(), 0, 255).astype(np.uint8)
  return model_file.pack(model)


def _stretch_biases(model: schema.ModelT, stretch: float) -> None:
  for tensor in model.subgraphs[0].tensors:
    buffer = model.buffers[tensor.buffer]
    if tensor.type == schema.TensorType.INT32 and tensor.quantization:
      values = np.asarray(buffer.data).view("<i4") * stretch
      buffer.data = values.round().astype("<i4").view(np.uint8)
      tensor.quantization.scale = tensor.quantization.scale / stretch


def signed(data: bytes, twins: int = 1) -> bytes:
  """The file with signatures, and subgraphs that share all its constants.

  Args:
    data: a file of one subgraph.
    twins: copies of it, each with a signature of its own.
  """
  model = model_file.read(data)
  for number in range(twins):
    twin = copy.deepcopy(model.subgraphs[0])
    twin.name = b"twin%d" % number
    model.subgraphs.append(twin)
  model.signatureDefs = []
  for number, graph in enumerate(model.subgraphs):
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serve" if number == 0 else graph.name
    signature.subgraphIndex = number
    for field in ("inputs", "outputs"):
      entries = []
      for place, index in enumerate(getattr(graph, field)):
        entry = schema.TensorMapT()
        entry.name = f"{field[:-1]}_{place}".encode()
        entry.tensorIndex = int(index)
        entries.append(entry)
      setattr(signature, field, entries)
    model.signatureDefs.append(signature)
  return model_file.pack(model)
