"""Widen the head's input by the pooled activations of earlier layers.

After Head2Toe (Evci et al., ICML 2022): what a layer has seen, averaged over
positions, is joined to what the head reads. Stock int8 operators do it: MEAN
requantizes to a scale of its own, RESHAPE copies the bytes and so re-declares
them at the scale of the head's input, CONCATENATION joins. New weights are
zero, so the outputs stay as they are, bit for bit; training finds what the
re-declared scales ask for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.base import TflmFgError
from tflm_fg.flatbuffer import TYPE_NAMES, op_name
from tflm_fg.flatbuffer_grow import add_tensor, insert_operator
from tflm_fg.flatbuffer_mend import unshare
from tflm_fg.flatbuffer_sites import (
  TRAINABLE_OPS,
  Site,
  has_scale,
  sites_of,
  tensor_name,
)

PREFIX = "tflm_fg/wide/"
"""Names of all tensors that widening adds begin so."""

_POOLING = ("MEAN", "AVERAGE_POOL_2D", "RESHAPE", "SQUEEZE")

POOLED_SHARE = 4
"""Without a measured range, pooled values are taken to reach 1/4 of it."""


def is_wide(model: schema.ModelT) -> bool:
  """Whether the head has been widened already."""
  return any(
    tensor_name(t).startswith(PREFIX) for t in model.subgraphs[0].tensors
  )


def layers_of(model: schema.ModelT, head: Site) -> list[Site]:
  """Layers before the head whose activations are not the head's input."""
  graph = model.subgraphs[0]
  writer = {int(o): op for op in graph.operators for o in op.outputs}
  source = head.activation
  while source in writer and op_name(model, writer[source]) in _POOLING:
    source = int(writer[source].inputs[0])
  layers = []
  for site in sites_of(model):
    output = int(graph.operators[site.operator].outputs[0])
    tensor = graph.tensors[output]
    if (
      site.operator < head.operator
      and output not in (source, head.activation)
      and TYPE_NAMES.get(tensor.type) == "int8"
      and has_scale(tensor)
      and len(tensor.shape) in (2, 4)
    ):
      layers.append(site)
  return layers


def widen_head(
  model: schema.ModelT,
  head: Site,
  layers: str = "",
  ranges: Mapping[str, float] | None = None,
  name: str = "model",
) -> int:
  """Edits the model so that its head reads more.

  Args:
    model: the unpacked model.
    head: its last FULLY_CONNECTED or 1x1 CONV_2D.
    layers: a regular expression on the names of layers' output tensors; all
      layers where it is empty.
    ranges: largest pooled value of a layer, by its output tensor's name, as a
      share of what the layer's output can hold; `POOLED_SHARE` where missing.
    name: what to call the file in errors.

  Returns:
    Count of inputs that the head has gained.

  Raises:
    TflmFgError: if there is no layer to join.
  """
  graph = model.subgraphs[0]
  op = graph.operators[head.operator]
  _require_int8(graph.tensors[head.activation], name)
  chosen = [
    site
    for site in layers_of(model, head)
    if re.search(layers, _output_name(model, site))
  ]
  if not chosen:
    raise TflmFgError(
      f"{name}: no layer before the head that a wide head could join; use "
      "--trainable=head"
    )
  position = head.operator
  joined = [head.activation]
  for site in chosen:
    reach = (ranges or {}).get(_output_name(model, site), 1 / POOLED_SHARE)
    position, flow = _pool(model, site, head, position, reach)
    joined.append(flow)
  _join(model, op, joined, position)
  _widen_kernel(model, op)
  return _width(model, joined[1:])


def _require_int8(tensor: schema.TensorT, name: str) -> None:
  if TYPE_NAMES.get(tensor.type) != "int8" or not has_scale(tensor):
    raise TflmFgError(
      f"{name}: a wide head needs int8 activations; use --trainable=head"
    )


def _output_name(model: schema.ModelT, site: Site) -> str:
  graph = model.subgraphs[0]
  return tensor_name(graph.tensors[graph.operators[site.operator].outputs[0]])


def _width(model: schema.ModelT, flows: list[int]) -> int:
  tensors = model.subgraphs[0].tensors
  return sum(int(tensors[flow].shape[-1]) for flow in flows)


def _pool(
  model: schema.ModelT, site: Site, head: Site, position: int, reach: float
) -> tuple[int, int]:
  """Inserts MEAN (or QUANTIZE) and RESHAPE; next position and the new flow."""
  graph = model.subgraphs[0]
  source = int(graph.operators[site.operator].outputs[0])
  tensor, target = graph.tensors[source], graph.tensors[head.activation]
  label = PREFIX + tensor_name(tensor)
  channels = int(tensor.shape[-1])
  zero_point = int(target.quantization.zeroPoint[0])
  scale = float(tensor.quantization.scale[0]) * reach
  pooled = add_tensor(
    model, label + "/pooled", (1, channels), "int8", scale, zero_point
  )
  if len(tensor.shape) == 4:
    axes = add_tensor(
      model, label + "/axes", (2,), "int32", values=np.array([1, 2])
    )
    options = schema.ReducerOptionsT()
    options.keepDims = False
    insert_operator(
      model, position, "MEAN", [source, axes], pooled, options, version=2
    )
  else:
    insert_operator(
      model,
      position,
      "QUANTIZE",
      [source],
      pooled,
      schema.QuantizeOptionsT(),
      version=2,
    )
  shape = (*(int(d) for d in target.shape[:-1]), channels)
  flow = add_tensor(
    model,
    label,
    shape,
    "int8",
    float(target.quantization.scale[0]),
    zero_point,
  )
  wanted = add_tensor(
    model, label + "/shape", (len(shape),), "int32", values=np.array(shape)
  )
  insert_operator(
    model,
    position + 1,
    "RESHAPE",
    [pooled, wanted],
    flow,
    schema.ReshapeOptionsT(),
    version=1,
  )
  return position + 2, flow


def _join(
  model: schema.ModelT, op: schema.OperatorT, flows: list[int], position: int
) -> None:
  """Inserts CONCATENATION in front of the head and lets the head read it."""
  tensors = model.subgraphs[0].tensors
  own = tensors[flows[0]]
  shape = (*(int(d) for d in own.shape[:-1]), _width(model, flows))
  out = add_tensor(
    model,
    PREFIX + "joined",
    shape,
    "int8",
    float(own.quantization.scale[0]),
    int(own.quantization.zeroPoint[0]),
  )
  options = schema.ConcatenationOptionsT()
  options.axis = len(shape) - 1
  insert_operator(
    model, position, "CONCATENATION", flows, out, options, version=2
  )
  activation_at = TRAINABLE_OPS[op_name(model, op)][0]
  op.inputs = np.array(op.inputs, np.int32)
  op.inputs[activation_at] = out


def _widen_kernel(model: schema.ModelT, op: schema.OperatorT) -> None:
  """Appends zeros for the new inputs to each row of the head's kernel."""
  activation_at, kernel_at, _ = TRAINABLE_OPS[op_name(model, op)]
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
