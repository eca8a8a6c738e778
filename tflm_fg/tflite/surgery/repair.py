"""Edit a .tflite until the tensors that shall train can train.

Converters merge equal constants, drop biases of zeros and give kernels of
zeros a scale that no weight can use.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.tflite.layers import (
  TRAINABLE_OPS,
  Site,
  tensor_name,
  useless_scales,
)
from tflm_fg.tflite.model_file import TYPE_NAMES, op_name
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.surgery.edit import add_buffer, rescale_bias, unshare
from tflm_fg.types import NotApplicable


def mend(
  model: schema.ModelT, wanted: dict[Site, set[str]], name: str
) -> list[str]:
  """Edits the model until each wanted tensor can train; says what changed."""
  notes: list[str] = []
  for site, roles in wanted.items():
    if site.bias_operator >= 0:
      continue  # made here, of a layer that was mended
    op = model.subgraphs[0].operators[site.operator]
    _, kernel_at, bias_at = TRAINABLE_OPS[op_name(model, op)]
    if "bias" in roles and site.bias < 0:
      notes.append(_put_back_bias(model, site, bias_at))
    own = {"kernel", "bias"} if "scale" in roles else roles
    for role, position in (("kernel", kernel_at), ("bias", bias_at)):
      if (
        role in own and max(op.inputs[position : position + 1], default=-1) >= 0
      ):
        notes += unshare(model, op, position)
    notes += _mend_scale(model, op, kernel_at, bias_at, name)
    if "scale" in roles:
      notes.append(_spread_scales(model, op, kernel_at, bias_at))
  return notes


def _put_back_bias(model: schema.ModelT, site: Site, position: int) -> str:
  graph = model.subgraphs[0]
  op = graph.operators[site.operator]
  kernel, activation = (
    graph.tensors[site.kernel],
    graph.tensors[site.activation],
  )
  wide = TYPE_NAMES[activation.type] == "int16"
  channels = int(graph.tensors[op.outputs[0]].shape[-1])
  bias = schema.TensorT()
  bias.name = kernel.name + b"/bias"
  bias.shape = np.array([channels], np.int32)
  bias.type = schema.TensorType.INT64 if wide else schema.TensorType.INT32
  bias.quantization = schema.QuantizationParametersT()
  in_scale = activation.quantization.scale[0]
  bias.quantization.scale = (in_scale * kernel.quantization.scale).astype("<f4")
  bias.quantization.zeroPoint = np.zeros(len(bias.quantization.scale), "<i8")
  bias.buffer = add_buffer(model, bytes(channels * (8 if wide else 4)))
  graph.tensors.append(bias)
  inputs = [int(i) for i in op.inputs] + [-1] * (position + 1 - len(op.inputs))
  inputs[position] = len(graph.tensors) - 1
  op.inputs = np.array(inputs, np.int32)
  return f"{tensor_name(kernel)}: a bias of zeros put back"


def _mend_scale(
  model: schema.ModelT,
  op: schema.OperatorT,
  kernel_at: int,
  bias_at: int,
  name: str,
) -> list[str]:
  """Replaces scales so small that no weight could move the output a step.

  The converter gives them to kernels (or channels) of zeros. A channel of
  other weights, which batch normalization has folded away, stays as it is: see
  `TrainableTensor.output_step`.
  """
  graph = model.subgraphs[0]
  kernel = graph.tensors[op.inputs[kernel_at]]
  if kernel.type == schema.TensorType.UINT8:
    return []  # such a kernel stays as it is
  activation = graph.tensors[op.inputs[TRAINABLE_OPS[op_name(model, op)][0]]]
  in_scale = float(activation.quantization.scale[0])
  out_scale = float(graph.tensors[op.outputs[0]].quantization.scale[0])
  useless = useless_scales(in_scale, out_scale, kernel.quantization.scale)
  if not np.any(useless):
    return []
  values = np.asarray(model.buffers[kernel.buffer].data).view(np.int8)
  axis = int(kernel.quantization.quantizedDimension)
  zeros = useless & _are_zero(values, kernel.shape, axis, len(useless))
  if np.all(useless):
    why = (
      "its weights were zero when it was converted; give them small random "
      "values and convert again"
      if np.all(zeros)
      else "none of its weights can move its output by a step; train other "
      "layers"
    )
    raise NotApplicable(
      f"{name}: {tensor_name(kernel)} has a useless scale "
      f"({kernel.quantization.scale[useless][0]:.2g}): {why}"
    )
  if not np.any(zeros):
    return []
  notes = unshare(model, op, kernel_at)
  kernel = graph.tensors[op.inputs[kernel_at]]
  scale = kernel.quantization.scale.copy()
  scale[zeros] = np.median(scale[~useless])
  kernel.quantization.scale = scale
  if len(op.inputs) > bias_at and op.inputs[bias_at] >= 0:
    notes += unshare(model, op, bias_at)
    rescale_bias(model, graph.tensors[op.inputs[bias_at]], in_scale * scale)
  return [
    *notes,
    f"{tensor_name(kernel)}: {zeros.sum()} channels of zeros got a scale",
  ]


_PER_CHANNEL = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}
"""Operators whose kernel may always have one scale a channel, and its axis."""


def may_have_gains(graph: Subgraph, site: Site) -> bool:
  """Whether a layer's channels have scales of their own, or may have.

  A BATCH_MATMUL has one scale, and a layer that runs twice two kernels.
  """
  op, kernel = graph.operators[site.operator], graph.tensors[site.kernel]
  if site.is_finer or op.name not in TRAINABLE_OPS:
    return False
  return op.name in _PER_CHANNEL or len(kernel.scales) > 1


def _spread_scales(
  model: schema.ModelT, op: schema.OperatorT, kernel_at: int, bias_at: int
) -> str:
  """Gives kernel and bias one scale a channel, where they have one for all."""
  graph = model.subgraphs[0]
  channels = int(graph.tensors[op.outputs[0]].shape[-1])
  bias = [int(i) for i in op.inputs[bias_at : bias_at + 1] if i >= 0]
  axes = [_PER_CHANNEL.get(op_name(model, op), 0), 0]
  for index, axis in zip([int(op.inputs[kernel_at]), *bias], axes):
    old = graph.tensors[index].quantization
    if len(old.scale) == channels:
      continue
    # A new one: others may share the table of the old one.
    fresh = graph.tensors[index].quantization = copy.copy(old)
    fresh.scale = np.full(channels, old.scale[0], np.float32)
    fresh.zeroPoint = np.zeros(channels, np.int64)
    fresh.quantizedDimension = axis
  kernel = graph.tensors[op.inputs[kernel_at]]
  return f"{tensor_name(kernel)}: {channels} gains in its scales"


def _are_zero(
  values: NDArray[Any], shape: NDArray[Any], axis: int, scales: int
) -> NDArray[np.bool_]:
  """Which channels, or whether all of them behind one scale, are zeros."""
  weights = np.moveaxis(values.reshape([int(d) for d in shape]), axis, 0)
  return np.asarray(~weights.reshape(scales, -1).any(axis=1))
