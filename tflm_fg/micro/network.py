"""Read an int8 .tflite as a table of layers for `forward.c`.

Only what `forward.c` runs is taken; all else is refused by name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tflm_fg.memory.arena import Buffer, align, plan
from tflm_fg.micro import quantization
from tflm_fg.micro.table import KINDS, Layer, Network, Values
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.subgraph import Operator, Tensor
from tflm_fg.types import Array, TflmFgError

_SAME = 0
"""The schema's code for padding that keeps the size."""


def read_network(source: Source) -> Network:
  """Reads a file as a table of layers.

  Args:
    source: a .tflite with int8 activations that runs one sample.

  Raises:
    TflmFgError: naming the first operator or tensor that `forward.c` does not
      run.
  """
  return _Reader(ModelFile.of(source)).network()


class _Reader:
  """Goes through a file's operators once."""

  def __init__(self, file: ModelFile) -> None:
    self._file = file
    self._graph = file.subgraph
    operators = file.unpack().subgraphs[0].operators
    self._options = [op.builtinOptions for op in operators]
    self._places: dict[int, int] = {}
    self._constants: dict[int, Array] = {}

  def network(self) -> Network:
    graph = self._graph
    for tensor in graph.inputs:
      self._place(tensor)
    layers = []
    for number, op in enumerate(graph.operators):
      if op.name not in KINDS:
        raise self._refused(
          op,
          f"is not one of {', '.join(KINDS)}, which the built-in forward has",
        )
      layer = _READ[op.name](self, op, self._options[number])
      self._require_small(op, layer)
      layers.append(layer)
    offsets, size = self._planned()
    return Network(
      tensors=tuple(
        self._values(tensor, offsets.get(tensor, 0)) for tensor in self._places
      ),
      layers=tuple(layers),
      inputs=tuple(self._places[t] for t in graph.inputs),
      outputs=tuple(self._place(t) for t in graph.outputs),
      constants=self._constants,
      arena_bytes=size,
    )

  def windowed(self, op: Operator, options: Any) -> Layer:
    """A convolution of either kind."""
    depthwise = op.name == "DEPTHWISE_CONV_2D"
    kernel = self._graph.tensors[op.inputs[1]]
    source, made = self._ends(op)
    dilation = (
      max(1, options.dilationHFactor or 1),
      max(1, options.dilationWFactor or 1),
    )
    depth = options.depthMultiplier if depthwise else kernel.shape[3]
    if depthwise:
      depth = made.shape[-1] // source.shape[-1]
    window = kernel.shape[1], kernel.shape[2]
    return dataclasses.replace(
      self._linear(op, options, in_float32=False),
      filter=window,
      stride=(options.strideH, options.strideW),
      dilation=dilation,
      pad=self._pad(op, options, window, dilation),
      depth=depth,
    )

  def dense(self, op: Operator, options: Any) -> Layer:
    """A FULLY_CONNECTED."""
    kernel = self._graph.tensors[op.inputs[1]]
    layer = self._linear(op, options, in_float32=len(kernel.scales) == 1)
    return dataclasses.replace(layer, depth=kernel.shape[1])

  def pool(self, op: Operator, options: Any) -> Layer:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    source, made = self._ends(op)
    self._require_one_scale(op, source, made)
    window = options.filterHeight, options.filterWidth
    return self._layer(
      op,
      filter=window,
      stride=(options.strideH, options.strideW),
      pad=self._pad(op, options, window, (1, 1)),
      limits=_limits(options, made),
    )

  def mean(self, op: Operator, options: Any) -> Layer:
    """A MEAN over height and width."""
    del options
    source, made = self._ends(op)
    axes = self._constant(op.inputs[1], "<i4")
    rank = len(source.shape)
    if rank != 4 or sorted(int(a) % rank for a in axes.reshape(-1)) != [1, 2]:
      raise self._refused(
        op, f"has axes {axes.tolist()}; need height and width"
      )
    count = source.shape[1] * source.shape[2]
    pair = quantization.mean_multiplier(source.scales[0], made.scales[0], count)
    return self._layer(op, multipliers=(pair,))

  def reshape(self, op: Operator, options: Any) -> Layer:
    """A RESHAPE: the same values in the same order."""
    del options
    self._require_one_scale(op, *self._ends(op))
    return self._layer(op)

  def joined(self, op: Operator, options: Any) -> Layer:
    """ADD and MUL."""
    tensors = self._graph.tensors
    scales = [tensors[t].scales[0] for t in (*op.inputs, *op.outputs)]
    pairs = quantization.add_multipliers(*scales)
    if op.name == "MUL":
      pairs = [quantization.multiplier_of(scales[0] * scales[1] / scales[2])]
    layer = self._layer(
      op,
      limits=_limits(options, tensors[op.outputs[0]]),
      multipliers=tuple(pairs),
    )
    places = tuple(self._place(t) for t in op.inputs)
    return dataclasses.replace(layer, inputs=places)

  def _linear(self, op: Operator, options: Any, *, in_float32: bool) -> Layer:
    """What dense layers and convolutions share."""
    source, made = self._ends(op)
    kernel = self._graph.tensors[op.inputs[1]]
    if kernel.dtype != "int8" or not kernel.is_constant or not kernel.scales:
      raise self._refused(op, "has a kernel that is no int8 constant")
    if any(kernel.zero_points):
      raise self._refused(op, "has a kernel whose zero point is not 0")
    bias = op.inputs[2] if len(op.inputs) > 2 else -1
    self._constants[op.inputs[1]] = self._constant(op.inputs[1], "i1")
    if bias >= 0:
      if self._graph.tensors[bias].dtype != "int32":
        raise self._refused(op, "has a bias that is not int32")
      self._constants[bias] = self._constant(bias, "<i4")
    return self._layer(
      op,
      limits=_limits(options, made),
      kernel=op.inputs[1],
      bias=bias,
      multipliers=tuple(
        quantization.output_multipliers(
          source.scales[0],
          kernel.scales,
          made.scales[0],
          in_float32=in_float32,
        )
      ),
    )

  def _layer(self, op: Operator, **fields: Any) -> Layer:
    return Layer(
      kind=op.name,
      inputs=(self._place(op.inputs[0]),),
      output=self._place(op.outputs[0]),
      **fields,
    )

  def _ends(self, op: Operator) -> tuple[Tensor, Tensor]:
    tensors = self._graph.tensors
    return tensors[op.inputs[0]], tensors[op.outputs[0]]

  def _pad(
    self,
    op: Operator,
    options: Any,
    window: tuple[int, int],
    dilation: tuple[int, int],
  ) -> tuple[int, int]:
    """Rows above and columns to the left that the window reaches beyond."""
    if options.padding != _SAME:
      return 0, 0
    source, made = self._ends(op)
    found = []
    for axis, stride in enumerate((options.strideH, options.strideW)):
      reach = (window[axis] - 1) * dilation[axis] + 1
      needed = (made.shape[1 + axis] - 1) * stride + reach
      found.append(max(0, needed - source.shape[1 + axis]) // 2)
    return found[0], found[1]

  def _place(self, tensor: int) -> int:
    """The tensor's place in the table; a new one at its end."""
    facts = self._graph.tensors[tensor]
    if facts.dtype != "int8" or not facts.has_scale:
      raise TflmFgError(
        f"{self._file.name}: {facts.name!r} is {facts.dtype}; the built-in "
        "forward runs int8 alone"
      )
    if len(facts.shape) > 4 or (len(facts.shape) > 1 and facts.shape[0] != 1):
      raise TflmFgError(
        f"{self._file.name}: {facts.name!r} has shape {list(facts.shape)}; the "
        "built-in forward runs one sample of at most three dimensions"
      )
    return self._places.setdefault(tensor, len(self._places))

  def _values(self, tensor: int, offset: int) -> Values:
    facts = self._graph.tensors[tensor]
    own = facts.shape[1:] if len(facts.shape) > 1 else facts.shape
    height, width, channels = (1,) * (3 - len(own)) + own
    return Values(
      shape=(height, width, channels),
      zero_point=facts.zero_points[0] if facts.zero_points else 0,
      offset=offset,
      held=self._constant(tensor, "i1") if facts.is_constant else None,
    )

  def _constant(self, tensor: int, dtype: str) -> Array:
    start, length = self._file.span(tensor)
    held = np.frombuffer(self._file.data, np.uint8, length, start).view(dtype)
    return held.reshape(self._graph.tensors[tensor].shape)

  def _planned(self) -> tuple[dict[int, int], int]:
    """Where each activation lies, by tensor index, and what all take."""
    graph, last = self._graph, len(self._graph.operators)
    first = dict.fromkeys(graph.inputs, 0)
    ends: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    for number, op in enumerate(graph.operators):
      first.update(dict.fromkeys(op.outputs, number))
      ends.update(dict.fromkeys((*op.inputs, *op.outputs), number))
    ends.update(dict.fromkeys(graph.outputs, last))
    buffers = [
      Buffer(align(math.prod(graph.tensors[t].shape), 4), start, ends[t])
      for t, start in first.items()
    ]
    offsets = plan(buffers)
    size = max(o + b.size for o, b in zip(offsets, buffers))
    return dict(zip(first, offsets)), size

  def _require_small(self, op: Operator, layer: Layer) -> None:
    """Refuses what does not fit the table's types."""
    bytes_held = *layer.filter, *layer.stride, *layer.dilation, *layer.pad
    if max(*bytes_held, len(self._places) - 1) > 255 or layer.depth > 65535:
      raise self._refused(op, "has a window, or a place, of more than 255")

  def _require_one_scale(
    self, op: Operator, one: Tensor, other: Tensor
  ) -> None:
    if (one.scales, one.zero_points) != (other.scales, other.zero_points):
      raise self._refused(op, "changes the quantization of its input")

  def _refused(self, op: Operator, why: str) -> TflmFgError:
    return TflmFgError(f"{self._file.name}: {op.name} {why}")


def _limits(options: Any, made: Tensor) -> tuple[int, int]:
  return quantization.output_range(
    int(options.fusedActivationFunction), made.scales[0], made.zero_points[0]
  )


_READ: dict[str, Callable[[_Reader, Operator, Any], Layer]] = {
  "FULLY_CONNECTED": _Reader.dense,
  "CONV_2D": _Reader.windowed,
  "DEPTHWISE_CONV_2D": _Reader.windowed,
  "AVERAGE_POOL_2D": _Reader.pool,
  "MAX_POOL_2D": _Reader.pool,
  "MEAN": _Reader.mean,
  "RESHAPE": _Reader.reshape,
  "ADD": _Reader.joined,
  "MUL": _Reader.joined,
}
