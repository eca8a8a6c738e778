"""Give a layer the low bytes of its weights: it runs twice, then ADD.

    layer(high bytes, bias) + layer(low bytes at 1/256 of the scale)

The high bytes are the int8 kernel that was there, so the low ones start at
zero. Sums of low bytes are a few steps of the output at most, and get a grid
of their own. int8 rounds each part: the answer is exact to about one step.

The grid of the high sums is a little wider than the output's. Were it the
same, a low sum under half a step would always be rounded away; so it counts
for some samples, and on the mean over a batch it shows.
"""

from __future__ import annotations

import copy
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.fixed_point.arithmetic import MASTER_UNIT, WEIGHT_MAX
from tflm_fg.tflite.layers import LOW, Site, tensor_name
from tflm_fg.tflite.model_file import op_name
from tflm_fg.tflite.surgery.edit import (
  add_buffer,
  add_tensor,
  insert_operator,
)

_FINEST = 8
"""The low sums' grid is at most 1/8 of the output's step: 16 steps fit."""

_LEVELS = 255


def to_int8x2(model: schema.ModelT, site: Site) -> None:
  """Adds the second run of a dense or pointwise layer, with zeros for weights.

  Args:
    model: the unpacked model, edited.
    site: the layer, with a bias, an int8 input and an int8 output.
  """
  graph = model.subgraphs[0]
  op = graph.operators[site.operator]
  out = int(op.outputs[0])
  source = graph.tensors[site.activation]
  kernel = graph.tensors[site.kernel]
  reach = _reach(kernel, source)
  step = float(graph.tensors[out].quantization.scale[0])
  finest = min(reach / WEIGHT_MAX, step / _FINEST)
  activation = op.builtinOptions.fusedActivationFunction
  room = min(math.ceil(reach / step), 2 * _FINEST)
  high = _high_sums(model, out, room)
  shape = tuple(graph.tensors[out].shape)
  name = tensor_name(graph.tensors[out])
  low = add_tensor(model, name + LOW, shape, "int8", finest)
  op.outputs = np.array([high], np.int32)
  op.builtinOptions = copy.deepcopy(op.builtinOptions)
  op.builtinOptions.fusedActivationFunction = 0
  weights = _low_kernel(model, kernel)
  code = model.operatorCodes[op.opcodeIndex]
  insert_operator(
    model,
    site.operator + 1,
    op_name(model, op),
    [site.activation, weights, _zeros(model, weights, source)],
    low,
    copy.deepcopy(op.builtinOptions),
    code.version,
  )
  adding = schema.AddOptionsT()
  adding.fusedActivationFunction = activation
  insert_operator(
    model, site.operator + 2, "ADD", [high, low], out, adding, version=2
  )


def _reach(kernel: schema.TensorT, source: schema.TensorT) -> float:
  """The largest sum that low bytes can make."""
  fan_in = math.prod(int(d) for d in kernel.shape[1:])
  unit = float(np.max(kernel.quantization.scale)) / MASTER_UNIT
  scale = float(source.quantization.scale[0])
  return WEIGHT_MAX * unit * fan_in * _LEVELS * scale


def _high_sums(model: schema.ModelT, out: int, room: int) -> int:
  """The first run's output: the old range, with `room` steps at both ends.

  A fused activation comes behind the sum, so what it will cut off must be
  there, as far as low sums can bring it back.
  """
  tensor = model.subgraphs[0].tensors[out]
  step = float(tensor.quantization.scale[0])
  wider = step * (_LEVELS + 2 * room) / _LEVELS
  lowest = (-128 - int(tensor.quantization.zeroPoint[0]) - room) * step
  zero = round(-128 - lowest / wider)
  name = tensor_name(tensor) + "/tflm_fg/high"
  return add_tensor(model, name, tuple(tensor.shape), "int8", wider, zero)


def _low_kernel(model: schema.ModelT, kernel: schema.TensorT) -> int:
  """A kernel of zeros at 1/256 of the scale, channel by channel."""
  low = copy.deepcopy(kernel)
  low.name = (kernel.name or b"") + LOW.encode()
  low.quantization.scale = np.asarray(
    np.asarray(kernel.quantization.scale) / MASTER_UNIT, np.float32
  )
  low.buffer = add_buffer(model, bytes(math.prod(map(int, kernel.shape))))
  tensors = model.subgraphs[0].tensors
  tensors.append(low)
  return len(tensors) - 1


def _zeros(model: schema.ModelT, kernel: int, source: schema.TensorT) -> int:
  """A bias that adds nothing: an int8 CONV_2D does not run without one."""
  tensors = model.subgraphs[0].tensors
  name = tensor_name(tensors[kernel]) + "/zeros"
  rows = int(tensors[kernel].shape[0])
  bias = add_tensor(
    model, name, (rows,), "int32", 1.0, values=np.zeros(rows, np.int32)
  )
  scales = tensors[kernel].quantization.scale * source.quantization.scale[0]
  tensors[bias].quantization.scale = np.asarray(scales, np.float32)
  tensors[bias].quantization.zeroPoint = np.zeros(len(scales), np.int64)
  return bias
