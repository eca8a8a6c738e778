"""Widen the head's input by the pooled activations of earlier layers.

After Head2Toe (Evci et al., ICML 2022): what a layer has seen, averaged over
positions, is joined to what the head reads. Stock int8 operators do it: MEAN
requantizes to a finer scale, RESHAPE copies the bytes and so re-declares them
at the scale of the head's input, CONCATENATION joins. Where the pooled values
have been measured, ADD and MUL with constants centre them and bring them to
one spread: int8 weights can then reach all of them. New weights are zero, so
the outputs stay as they are, bit for bit; training finds what the re-declared
scales ask for.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.graph_options import Pooled
from tflm_fg.tflite.layers import TRAINABLE_OPS, Site, sites_of
from tflm_fg.tflite.model_file import ModelFile, Source, op_name, subgraph_of
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.surgery.edit import (
  add_tensor,
  insert_operator,
  rescale_bias,
  unshare,
)
from tflm_fg.types import Array, NotApplicable

PREFIX = "tflm_fg/wide/"
"""Names of all tensors that widening adds begin so; then comes a number."""

_POOLING = ("MEAN", "AVERAGE_POOL_2D", "RESHAPE", "SQUEEZE")

SPREAD_STEPS = 40
"""Standard deviation that measured values are brought to: three fit int8."""

MOST_GAINED = 6144
"""Inputs that a head gains at most where no layers are named. With more, the
weights that fit the same samples get too small for the steps of int8."""

MOST_JOINED = 10
"""Inputs that TFLM takes in one CONCATENATION (its kMaxInputNum)."""

_GAIN_ONE, _CENTRE_STEP = 16, 2
_LEAST_REACH = 4  # output steps that the largest weight moves at least


def is_wide(graph: Subgraph) -> bool:
  """Whether the head has been widened already."""
  return any(t.name.startswith(PREFIX) for t in graph.tensors)


def layers_of(graph: Subgraph, head: Site) -> list[Site]:
  """Layers before the head whose activations are not the head's input."""
  writer = {o: op for op in graph.operators for o in op.outputs}
  source = head.activation
  while source in writer and writer[source].name in _POOLING:
    source = writer[source].inputs[0]
  layers = []
  for site in sites_of(graph):
    output = graph.output(site.operator)
    tensor = graph.tensors[output]
    if (
      site.operator < head.operator
      and output not in (source, head.activation)
      and tensor.dtype == "int8"
      and tensor.has_scale
      and 2 <= len(tensor.shape) <= 4
    ):
      layers.append(site)
  return layers


def widen_head(
  model: schema.ModelT,
  head: Site,
  layers: str = "",
  pooled: Sequence[Pooled] = (),
  name: str = "model",
) -> int:
  """Edits the model so that its head reads more.

  Args:
    model: the unpacked model.
    head: its last FULLY_CONNECTED or 1x1 CONV_2D.
    layers: a regular expression on the names of layers' output tensors; where
      it is empty all layers, or as many as bring `MOST_GAINED` channels.
    pooled: what was measured of each of those layers; empty for nothing.
    name: what to call the file in errors.

  Returns:
    Count of inputs that the head has gained.

  Raises:
    NotApplicable: if there is no layer to join.
  """
  graph = subgraph_of(model)
  op = model.subgraphs[0].operators[head.operator]
  chosen = [
    site
    for site in layers_of(graph, head)
    if re.search(layers, graph.tensors[graph.output(site.operator)].name)
  ]
  if not layers:
    chosen = _few_enough(graph, chosen)
  if not chosen:
    named = f" of a name with {layers!r} (--wide_layers)" if layers else ""
    raise NotApplicable(
      f"{name}: no layer before the head{named} that a wide head could join; "
      "use --trainable=head"
    )
  open_phase = _PooledBranches(model, head)
  known = pooled or [Pooled()] * len(chosen)
  flows = [
    open_phase.pool(site, number, layer.reach)
    for number, (site, layer) in enumerate(zip(chosen, known, strict=True))
  ]
  gained = open_phase.width(flows)
  if known[0].centre.size:
    flows = [open_phase.even_out(flows, pooled)]
  flows.insert(0, open_phase.flat(head.activation))
  joined = open_phase.join(flows, "joined")
  op.inputs = np.array(op.inputs, np.int32)
  op.inputs[TRAINABLE_OPS[op_name(model, op)][0]] = joined
  _widen_kernel(model, op)
  return gained


def _few_enough(graph: Subgraph, layers: list[Site]) -> list[Site]:
  """Leaves layers out where all of them would bring too many channels.

  What only a depthwise convolution reads goes first, since that has the same
  channels; then the layers nearest to the head, which say what its own inputs
  say.
  """

  def width(site: Site) -> int:
    return graph.tensors[graph.output(site.operator)].shape[-1]

  def is_repeated(site: Site) -> bool:
    read = graph.output(site.operator)
    names = {op.name for op in graph.operators if read in op.inputs}
    return names == {"DEPTHWISE_CONV_2D"}

  if sum(map(width, layers)) > MOST_GAINED:
    layers = [s for s in layers if not is_repeated(s)] or layers
  while len(layers) > 1 and sum(map(width, layers)) > MOST_GAINED:
    layers = layers[:-1]
  return layers


def widths_of(source: Source) -> list[int]:
  """Channels that each joined layer of a widened file brings."""
  widths = {}
  for tensor in ModelFile.of(source).subgraph.tensors:
    number = tensor.name.removeprefix(PREFIX)
    if number.isdigit() and number != tensor.name:
      widths[int(number)] = tensor.shape[-1]
  return [widths[number] for number in sorted(widths)]


class _PooledBranches:
  """Inserts operators: pooling behind its layer, all else before the head.

  A layer's activations can go once they are pooled, so the arena hardly grows.
  """

  def __init__(self, model: schema.ModelT, head: Site) -> None:
    self._model, self._position = model, head.operator
    self._inserted = 0
    self._tensors = model.subgraphs[0].tensors
    own = self._tensors[head.activation]
    self._flattens = math.prod(own.shape[:-1]) != 1
    self._outer = (1,) if self._flattens else tuple(map(int, own.shape[:-1]))
    self._scale = float(own.quantization.scale[0])
    self._zero = int(own.quantization.zeroPoint[0])
    self._constants: dict[tuple[int, ...], int] = {}

  def pool(self, site: Site, number: int, reach: float) -> int:
    """MEAN (or QUANTIZE where there is one position) and RESHAPE."""
    layer = site.operator + self._inserted  # sites come in the order of running
    source = int(self._model.subgraphs[0].operators[layer].outputs[0])
    tensor = self._tensors[source]
    shape = tuple(int(d) for d in tensor.shape)
    axes, pooled = _positions(shape)
    scale = float(tensor.quantization.scale[0]) * reach
    flow = add_tensor(
      self._model, f"{PREFIX}{number}p", pooled, "int8", scale, self._zero
    )
    head_at = self._position
    self._position = layer + 1
    if axes:
      options = schema.ReducerOptionsT()
      options.keepDims = len(pooled) == len(shape)
      self._insert("MEAN", [source, self._constant(axes)], flow, options)
    else:
      self._insert("QUANTIZE", [source], flow, schema.QuantizeOptionsT())
    declared = self._declare(flow, str(number))
    self._position = head_at + 2
    return declared

  def flat(self, flow: int) -> int:
    """What the head reads, as one row."""
    return self._declare(flow, "flat") if self._flattens else flow

  def _declare(self, flow: int, name: str) -> int:
    """RESHAPE: the same bytes as a row at the scale of the head's input."""
    shape = (*self._outer, math.prod(map(int, self._tensors[flow].shape)))
    fresh = self._flow(name, shape, self._zero)
    inputs = [flow, self._constant(shape)]
    self._insert("RESHAPE", inputs, fresh, schema.ReshapeOptionsT(), 1)
    return fresh

  def even_out(self, flows: list[int], pooled: Sequence[Pooled]) -> int:
    """Joins flows, centres them and brings them to one spread."""
    flow = self.join(flows, "all")
    centre = np.concatenate([layer.centre for layer in pooled])
    spread = np.concatenate([layer.spread for layer in pooled])
    gain = np.rint(_GAIN_ONE * SPREAD_STEPS / np.maximum(spread, 1))
    shape = (*self._outer, len(centre))
    less = self._values(
      "centre",
      np.clip(-np.rint(centre / _CENTRE_STEP), -127, 127).reshape(shape),
      _CENTRE_STEP * self._scale,
    )
    centred = self._flow("centred", shape, 0)
    self._insert("ADD", [flow, less], centred, schema.AddOptionsT())
    times = self._values(
      "gain", np.clip(gain, 1, 127).reshape(shape), 1 / _GAIN_ONE
    )
    even = self._flow("even", shape, 0)
    self._insert("MUL", [centred, times], even, schema.MulOptionsT())
    return self._declare(even, "e")

  def join(self, flows: list[int], name: str) -> int:
    """CONCATENATION along the channels; a tree of them for many flows."""
    level = name
    while len(flows) > MOST_JOINED:
      level += "/"
      groups = [
        flows[start : start + MOST_JOINED]
        for start in range(0, len(flows), MOST_JOINED)
      ]
      flows = [
        self._join_few(group, f"{level}{number}")
        if len(group) > 1
        else group[0]
        for number, group in enumerate(groups)
      ]
    return self._join_few(flows, name)

  def _join_few(self, flows: list[int], name: str) -> int:
    shape = (*self._outer, self.width(flows))
    out = self._flow(name, shape, self._zero)
    options = schema.ConcatenationOptionsT()
    options.axis = len(shape) - 1
    self._insert("CONCATENATION", flows, out, options)
    return out

  def width(self, flows: list[int]) -> int:
    """Channels of some flows together."""
    return sum(int(self._tensors[flow].shape[-1]) for flow in flows)

  def _flow(self, name: str, shape: tuple[int, ...], zero: int) -> int:
    return add_tensor(
      self._model, PREFIX + name, shape, "int8", self._scale, zero
    )

  def _values(self, name: str, values: Array, scale: float) -> int:
    return add_tensor(
      self._model, PREFIX + name, values.shape, "int8", scale, 0, values
    )

  def _constant(self, values: tuple[int, ...]) -> int:
    if values not in self._constants:
      name = f"{PREFIX}c{len(self._constants)}"
      self._constants[values] = add_tensor(
        self._model, name, (len(values),), "int32", values=np.array(values)
      )
    return self._constants[values]

  def _insert(
    self,
    name: str,
    inputs: list[int],
    output: int,
    options: Any,
    version: int = 2,
  ) -> None:
    insert_operator(
      self._model, self._position, name, inputs, output, options, version
    )
    self._position += 1
    self._inserted += 1


def _positions(
  shape: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Axes of a layer's output that hold positions, and the pooled shape.

  The first axis holds them where a RESHAPE has put the tokens of one sample
  there, as models from PyTorch do around their dense layers.
  """
  axes = tuple(range(1, len(shape) - 1))
  if shape[0] == 1:
    return axes, (1, shape[-1])
  return (0, *axes), (*[1] * (len(shape) - 1), shape[-1])


def _widen_kernel(model: schema.ModelT, op: schema.OperatorT) -> None:
  """Appends zeros for the new inputs to each row of the head's kernel.

  A row of zeros gets a finer scale: weights of more inputs are smaller.
  """
  activation_at, kernel_at, bias_at = TRAINABLE_OPS[op_name(model, op)]
  unshare(model, op, kernel_at)
  tensors = model.subgraphs[0].tensors
  kernel = tensors[op.inputs[kernel_at]]
  width = int(tensors[op.inputs[activation_at]].shape[-1])
  rows = int(kernel.shape[0])
  old = np.asarray(model.buffers[kernel.buffer].data).view(np.int8)
  values = np.zeros((rows, width), np.int8)
  values[:, : old.size // rows] = old.reshape(rows, -1)
  model.buffers[kernel.buffer].data = values.reshape(-1).view(np.uint8)
  kernel.shape = np.array([*kernel.shape[:-1], width], np.int32)
  scales = np.array(kernel.quantization.scale, np.float64)
  fresh = ~values.any(axis=1)
  fresh = fresh if len(scales) == rows else np.atleast_1d(fresh.all())
  if not fresh.any():
    return
  in_scale = float(tensors[op.inputs[activation_at]].quantization.scale[0])
  out_scale = float(tensors[op.outputs[0]].quantization.scale[0])
  least = _LEAST_REACH * out_scale / (127 * 255 * in_scale)
  finer = np.maximum(scales * (old.size // rows) / width, least)
  scales[fresh] = np.minimum(scales, finer)[fresh]
  kernel.quantization = copy.deepcopy(kernel.quantization)
  kernel.quantization.scale = scales.astype(np.float32)
  if len(op.inputs) > bias_at and op.inputs[bias_at] >= 0:
    unshare(model, op, bias_at)
    bias = tensors[op.inputs[bias_at]]
    rescale_bias(model, bias, in_scale * kernel.quantization.scale)
