"""A small model for every operator that a network of integers may have.

Each is x -> the operator -> a dense head -> softmax, so that it can be marked,
rewritten and trained, and `tools/fuzz_models.py` damages each of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests import models, stream_models
from tests.models import IMAGE, Flow, Network

IMAGE_SHAPE = (1, 4, 4, 4)
VECTOR_SHAPE = (1, 8)


class Zoo(Network):
  """A network with operators of any kind."""

  def any(
    self,
    name: str,
    inputs: Sequence[int],
    shape: tuple[int, ...],
    like: Flow,
    version: int = 1,
    **options: Any,
  ) -> Flow:
    """Adds an operator whose output is quantized as `like` is.

    Args:
      name: of the operator.
      inputs: tensors.
      shape: of the output.
      like: gives scale and zero point.
      version: of the operator.
      **options: its fields; "kind" names the table, None for none.
    """
    kind = options.pop("kind", None)
    table = None
    if kind is not None:
      table = getattr(schema, f"{kind}OptionsT")()
      for field, value in options.items():
        setattr(table, field, value)
    index = self.tensor(
      f"{name.lower()}/out", shape, "int8", like.scale, like.zero_point
    )
    self.operator(name, list(inputs), index, table, version)
    return Flow(index, shape, like.scale, like.zero_point)

  def constant(self, name: str, values: Any, dtype: str = "int32") -> int:
    """Adds a constant without a scale."""
    held = np.asarray(values)
    return self.tensor(name, held.shape, dtype, data=held)

  def ended(self, x: Flow, flow: Flow) -> bytes:
    """Flattens, adds the head and gives the file."""
    size = math.prod(flow.shape)
    flat = flow
    if flow.shape != (1, size):
      target = self.constant("flat/shape", [1, size])
      flat = self.any("RESHAPE", [flow.index, target], (1, size), flow,
                      kind="Reshape", newShape=[1, size])  # fmt: skip
    head = self.dense(flat, 3, "head", reach=8.0)
    return self.finish([x.index], [self.softmax(head).index])


_Layer = Callable[[Zoo, Flow], Flow]

_POOL = {"kind": "Pool2D", "strideW": 2, "strideH": 2, "filterWidth": 2,
         "filterHeight": 2, "padding": 0}  # fmt: skip


def _model(layer: _Layer, shape: tuple[int, ...]) -> bytes:
  net = Zoo(3)
  x = net.activation("x", shape, 4.0, IMAGE)
  return net.ended(x, layer(net, x))


def _plain(name: str, version: int = 1, **options: Any) -> _Layer:
  """An operator of one input and an output of the same shape."""
  return lambda net, x: net.any(name, [x.index], x.shape, x, version, **options)


def _unit(name: str, version: int = 1, **options: Any) -> _Layer:
  """An operator whose output has a scale of its own, from -1 or 0 to 1."""
  scale, zero = (1 / 128, 0) if name == "TANH" else (1 / 256, -128)
  return lambda net, x: net.any(
    name, [x.index], x.shape, Flow(0, x.shape, scale, zero), version, **options
  )


def _shaped(
  name: str,
  shape: tuple[int, ...],
  constants: Sequence[tuple[str, Any]] = (),
  version: int = 1,
  **options: Any,
) -> _Layer:
  """An operator of one input and some constants, with its output's shape."""
  return lambda net, x: net.any(
    name,
    [x.index, *(net.constant(f"{name}/{n}", v) for n, v in constants)],
    shape,
    x,
    version,
    **options,
  )


def _two(name: str, version: int = 2, kind: str | None = None) -> _Layer:
  """An operator of two activations: the input and a rectified one."""

  def layer(net: Zoo, x: Flow) -> Flow:
    other = net.any("RELU", [x.index], x.shape, x, 2)
    options = {"kind": kind} if kind else {}
    like = Flow(0, x.shape, 2 * x.scale, x.zero_point)
    return net.any(name, [x.index, other.index], x.shape, like, version,
                   **options)  # fmt: skip

  return layer


def _same_scale(name: str) -> _Layer:
  def layer(net: Zoo, x: Flow) -> Flow:
    other = net.any("RELU", [x.index], x.shape, x, 2)
    return net.any(name, [x.index, other.index], x.shape, x, 2,
                   kind="MaximumMinimum")  # fmt: skip

  return layer


def _concatenation(net: Zoo, x: Flow) -> Flow:
  other = net.any("RELU", [x.index], x.shape, x, 2)
  shape = (*x.shape[:-1], 2 * x.shape[-1])
  return net.any("CONCATENATION", [x.index, other.index], shape, x, 2,
                 kind="Concatenation", axis=3)  # fmt: skip


def _pack(net: Zoo, x: Flow) -> Flow:
  other = net.any("RELU", [x.index], x.shape, x, 2)
  return net.any("PACK", [x.index, other.index], (1, 2, *x.shape[1:]), x, 2,
                 kind="Pack", axis=1, valuesCount=2)  # fmt: skip


def _many(
  name: str,
  inputs: Callable[[Zoo, Flow], list[int]],
  shape: tuple[int, ...],
  count: int,
  **options: Any,
) -> _Layer:
  """An operator of several outputs, of which the first goes on."""

  def layer(net: Zoo, x: Flow) -> Flow:
    first = net.any(name, inputs(net, x), shape, x, 2, **options)
    operator = net.graph.operators[-1]
    others = [
      net.tensor(f"{name}/{i}", shape, "int8", x.scale, x.zero_point)
      for i in range(1, count)
    ]
    operator.outputs = np.array([first.index, *others], np.int32)
    return first

  return layer


def _batch_matmul(net: Zoo, x: Flow) -> Flow:
  kernel = net.tensor("bmm/kernel", (4, 4), "int8", 1 / 127, 0, 0,
                      net.random.integers(-127, 128, (4, 4)))  # fmt: skip
  return net.any("BATCH_MATMUL", [x.index, kernel], x.shape, x, 2,
                 kind="BatchMatMul", adjY=True)  # fmt: skip


def _prelu(net: Zoo, x: Flow) -> Flow:
  alpha = net.tensor("alpha", (1, 1, 4), "int8", 0.01, 0, 0,
                     np.array([[[9, -5, 20, 1]]]))  # fmt: skip
  return net.any("PRELU", [x.index, alpha], x.shape, x)


def _requantized(net: Zoo, x: Flow) -> Flow:
  other = Flow(0, x.shape, 1.5 * x.scale, 3)
  return net.any("QUANTIZE", [x.index], x.shape, other)


def _float_and_back(net: Zoo, x: Flow) -> Flow:
  index = net.tensor("floats", x.shape, "float32")
  net.operator("DEQUANTIZE", [x.index], index, schema.DequantizeOptionsT(), 2)
  return net.any("QUANTIZE", [index], x.shape, x)


def _l2_normalization(net: Zoo, x: Flow) -> Flow:
  like = Flow(0, x.shape, 1 / 128, 0)
  return net.any("L2_NORMALIZATION", [x.index], x.shape, like, 2,
                 kind="L2Norm")  # fmt: skip


def _padded(name: str) -> _Layer:
  def layer(net: Zoo, x: Flow) -> Flow:
    pads = net.constant("pads", [[0, 0], [1, 1], [1, 1], [0, 0]])
    inputs = [x.index, pads]
    if name == "PADV2":
      inputs.append(net.tensor("value", (1,), "int8", x.scale, x.zero_point,
                               data=np.array([5])))  # fmt: skip
    kind = {"MIRROR_PAD": "MirrorPad", "PAD": "Pad"}.get(name)
    options = {"kind": kind} if kind else {}
    return net.any(name, inputs, (1, 6, 6, 4), x, 2, **options)

  return layer


LAYERS: dict[str, tuple[_Layer, tuple[int, ...]]] = {
  "add": (_two("ADD", kind="Add"), IMAGE_SHAPE),
  "sub": (_two("SUB", kind="Sub"), IMAGE_SHAPE),
  "mul": (_two("MUL", kind="Mul"), IMAGE_SHAPE),
  "squared_difference": (_two("SQUARED_DIFFERENCE"), IMAGE_SHAPE),
  "maximum": (_same_scale("MAXIMUM"), IMAGE_SHAPE),
  "minimum": (_same_scale("MINIMUM"), IMAGE_SHAPE),
  "relu": (_plain("RELU", 2), IMAGE_SHAPE),
  "relu6": (_plain("RELU6", 2), IMAGE_SHAPE),
  "relu_n1_to_1": (_plain("RELU_N1_TO_1"), IMAGE_SHAPE),
  "leaky_relu": (_plain("LEAKY_RELU", 2, kind="LeakyRelu", alpha=0.1),
                 IMAGE_SHAPE),
  "hard_swish": (_plain("HARD_SWISH"), IMAGE_SHAPE),
  "elu": (_plain("ELU"), IMAGE_SHAPE),
  "exp": (_plain("EXP", 2), IMAGE_SHAPE),
  "abs": (_plain("ABS", 2), IMAGE_SHAPE),
  "prelu": (_prelu, IMAGE_SHAPE),
  "logistic": (_unit("LOGISTIC", 2), IMAGE_SHAPE),
  "tanh": (_unit("TANH", 2), IMAGE_SHAPE),
  "softmax": (_unit("SOFTMAX", 2, kind="Softmax", beta=1.0), VECTOR_SHAPE),
  "l2_normalization": (_l2_normalization, VECTOR_SHAPE),
  "quantize": (_requantized, IMAGE_SHAPE),
  "dequantize": (_float_and_back, IMAGE_SHAPE),
  "average_pool_2d": (_shaped("AVERAGE_POOL_2D", (1, 2, 2, 4), (), 2, **_POOL),
                      IMAGE_SHAPE),
  "max_pool_2d": (_shaped("MAX_POOL_2D", (1, 2, 2, 4), (), 2, **_POOL),
                  IMAGE_SHAPE),
  "mean": (_shaped("MEAN", (1, 4), [("axes", [1, 2])], 2, kind="Reducer"),
           IMAGE_SHAPE),
  "sum": (_shaped("SUM", (1, 4), [("axes", [1, 2])], 2, kind="Reducer"),
          IMAGE_SHAPE),
  "reduce_max": (_shaped("REDUCE_MAX", (1, 4), [("axes", [1, 2])], 2,
                         kind="Reducer"), IMAGE_SHAPE),
  "reshape": (_shaped("RESHAPE", (1, 8, 8), [("shape", [1, 8, 8])],
                      kind="Reshape", newShape=[1, 8, 8]), IMAGE_SHAPE),
  "squeeze": (_shaped("SQUEEZE", (4, 4, 4), kind="Squeeze", squeezeDims=[0]),
              IMAGE_SHAPE),
  "expand_dims": (_shaped("EXPAND_DIMS", (1, 1, 8), [("axis", [1])]),
                  VECTOR_SHAPE),
  "transpose": (_shaped("TRANSPOSE", (1, 4, 4, 4), [("perm", [0, 2, 1, 3])],
                        2, kind="Transpose"), IMAGE_SHAPE),
  "tile": (_shaped("TILE", (1, 16), [("multiples", [1, 2])]), VECTOR_SHAPE),
  "slice": (_shaped("SLICE", (1, 2, 3, 4), [("begin", [0, 1, 1, 0]),
                    ("size", [1, 2, 3, 4])], 2), IMAGE_SHAPE),
  "strided_slice": (_shaped("STRIDED_SLICE", (1, 2, 4, 4), [
                      ("begin", [0, 0, 0, 0]), ("end", [1, 4, 4, 4]),
                      ("strides", [1, 2, 1, 1])], 2, kind="StridedSlice"),
                    IMAGE_SHAPE),
  "gather": (_shaped("GATHER", (1, 3), [("indices", [5, 0, 2])], 2,
                     kind="Gather", axis=1), VECTOR_SHAPE),
  "gather_nd": (_shaped("GATHER_ND", (2, 4, 4), [("indices",
                        [[0, 1], [0, 3]])], 2, kind="GatherNd"), IMAGE_SHAPE),
  "pad": (_padded("PAD"), IMAGE_SHAPE),
  "padv2": (_padded("PADV2"), IMAGE_SHAPE),
  "mirror_pad": (_padded("MIRROR_PAD"), IMAGE_SHAPE),
  "space_to_depth": (_shaped("SPACE_TO_DEPTH", (1, 2, 2, 16), (), 2,
                     kind="SpaceToDepth", blockSize=2), IMAGE_SHAPE),
  "depth_to_space": (_shaped("DEPTH_TO_SPACE", (1, 8, 8, 1), (), 1,
                     kind="DepthToSpace", blockSize=2), IMAGE_SHAPE),
  "space_to_batch_nd": (_shaped("SPACE_TO_BATCH_ND", (4, 2, 2, 4), [
                        ("block", [2, 2]), ("pads", [[0, 0], [0, 0]])], 2),
                        IMAGE_SHAPE),
  "resize_bilinear": (_shaped("RESIZE_BILINEAR", (1, 6, 6, 4),
                      [("size", [6, 6])], 2, kind="ResizeBilinear"),
                      IMAGE_SHAPE),
  "resize_nearest_neighbor": (_shaped("RESIZE_NEAREST_NEIGHBOR", (1, 6, 6, 4),
                              [("size", [6, 6])], 2,
                              kind="ResizeNearestNeighbor"), IMAGE_SHAPE),
  "broadcast_to": (_shaped("BROADCAST_TO", (1, 4, 4, 4),
                   [("shape", [1, 4, 4, 4])], 2), IMAGE_SHAPE),
  "reverse_v2": (_shaped("REVERSE_V2", IMAGE_SHAPE, [("axis", [1])], 2),
                 IMAGE_SHAPE),
  "concatenation": (_concatenation, IMAGE_SHAPE),
  "pack": (_pack, IMAGE_SHAPE),
  "unpack": (_many("UNPACK", lambda net, x: [x.index], (1, 4, 4), 4,
                   kind="Unpack", num=4, axis=1), IMAGE_SHAPE),
  "split": (_many("SPLIT", lambda net, x: [net.constant("axis", 3), x.index],
                  (1, 4, 4, 2), 2, kind="Split", numSplits=2), IMAGE_SHAPE),
  "split_v": (_many("SPLIT_V", lambda net, x: [x.index,
                    net.constant("sizes", [2, 2]), net.constant("axis", 3)],
                    (1, 4, 4, 2), 2, kind="SplitV", numSplits=2),
              IMAGE_SHAPE),
  "batch_matmul": (_batch_matmul, IMAGE_SHAPE),
  "conv_2d": (lambda net, x: net.convolution(x, 3), IMAGE_SHAPE),
  "depthwise_conv_2d": (lambda net, x: net.convolution(x, 4, depthwise=True),
                        IMAGE_SHAPE),
  "transpose_conv": (lambda net, x: net.transposed(x, 3, "up"), IMAGE_SHAPE),
  "fully_connected": (lambda net, x: net.dense(x, 6, relu=True), VECTOR_SHAPE),
}  # fmt: skip
"""A layer and the shape of what it reads."""


def looping_model() -> bytes:
  """x [1, 8] -> WHILE whose body adds x to itself three times -> dense.

  The first subgraph calls the second (is the count under 3?) and the third.
  """
  net = Zoo(3)
  x = net.activation("x", VECTOR_SHAPE, 4.0, IMAGE)
  start = net.constant("start", [0])
  count = net.tensor("count", (1,), "int32")
  out = net.activation("looped", VECTOR_SHAPE, 4.0, IMAGE)
  options = schema.WhileOptionsT()
  options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
  net.operator("WHILE", [start, x.index], count, options)
  net.graph.operators[-1].outputs = np.array([count, out.index], np.int32)
  data = net.ended(x, out)
  main = net.graph
  graphs = []
  for is_body in (False, True):
    net.graph = schema.SubGraphT()
    net.graph.tensors, net.graph.operators = [], []
    graphs.append(net.graph)
    number = net.tensor("number", (1,), "int32")
    held = net.tensor("held", VECTOR_SHAPE, "int8", x.scale, x.zero_point)
    if is_body:
      one = net.constant("one", [1])
      more = net.tensor("more", (1,), "int32")
      net.operator("ADD", [number, one], more, schema.AddOptionsT())
      moved = net.any("RELU", [held], VECTOR_SHAPE, x, 2)
      ends = [more, moved.index]
    else:
      three = net.constant("three", [3])
      less = net.tensor("less", (1,), "int32")
      net.graph.tensors[less].type = schema.TensorType.BOOL
      net.operator("LESS", [number, three], less, schema.LessOptionsT())
      ends = [less]
    net.graph.inputs = np.array([number, held], np.int32)
    net.graph.outputs = np.array(ends, np.int32)
  del data
  net.graph = main
  net.model.subgraphs = [main, *graphs]
  return net.finish(list(main.inputs), list(main.outputs))


BUILDERS: dict[str, Callable[[], bytes]] = {
  **{
    name: functools.partial(_model, layer, shape)
    for name, (layer, shape) in LAYERS.items()
  },
  "while": looping_model,
  "dense": models.dense_model,
  "dense_16x8": functools.partial(models.dense_model, wide=True),
  "conv": models.conv_model,
  "conv_16x8": functools.partial(models.conv_model, wide=True),
  "pointwise": models.pointwise_model,
  "recurrent": models.recurrent_model,
  "two_headed": models.two_headed_model,
  "embedding": models.embedding_model,
  "signed": lambda: models.signed(models.dense_model()),
  "uint8": lambda: models.uint8_model(models.dense_model(per_channel=False)),
  "outside": lambda: models.outside(models.conv_model()),
  "regression": lambda: models.regression_model(tail="dequantize"),
  "float": models.float_model,
  "stream": stream_models.stream_model,
  "stream_outside": functools.partial(stream_models.stream_model, "external"),
}
"""Name of a base model -> what builds it."""
