"""Give a layer int16 weights on stock kernels: the engine holds the master.

    QUANTIZE to int16 -> BATCH_MATMUL -> ADD of the bias -> QUANTIZE back

One scale for all channels, 1/256 of the largest that the int8 kernel had: an
int8 step of it is 256 units, as in every master. Sums keep some hundred levels
a step of the layer's output until the last QUANTIZE.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import MASTER_UNIT, saturate
from tflm_fg.tflite.layers import Site, tensor_name
from tflm_fg.tflite.model_file import TYPE_NAMES
from tflm_fg.tflite.surgery.edit import (
  add_buffer,
  add_tensor,
  insert_operator,
)

PREFIX = "tflm_fg/int16/"
"""Names of the activations that are added begin so."""

_INPUT_UNIT = 128
"""int16 steps in one int8 step of the layer's input: 255 of them fit."""

_REACH_STEPS, _REACH_BIASES = 320, 2
"""What a sum holds: all outputs, and twice the largest bias, with some room."""

_MOST = 32767


def to_int16(model: schema.ModelT, site: Site) -> None:
  """Replaces a dense or pointwise layer; its tensors keep their indices.

  Args:
    model: the unpacked model, edited.
    site: the layer, with a bias, an int8 input and an int8 output.
  """
  tensors = model.subgraphs[0].tensors
  op = model.subgraphs[0].operators[site.operator]
  source, kernel, bias = site.activation, site.kernel, site.bias
  out = int(op.outputs[0])
  out_scale = float(tensors[out].quantization.scale[0])
  offsets = _real(model, tensors[bias])
  reach = _REACH_STEPS * out_scale + _REACH_BIASES * np.abs(offsets).max()
  unit = float(reach) / _MOST
  _whole_kernel(model, tensors[kernel])
  _hold(model, tensors[bias], offsets, unit)
  finer = float(tensors[source].quantization.scale[0]) / _INPUT_UNIT
  name = f"{PREFIX}{tensor_name(tensors[out])}"
  flows = [
    add_tensor(model, f"{name}/{part}", tuple(shape), "int16", scale)
    for part, shape, scale in (
      ("x", tensors[source].shape, finer),
      ("xw", tensors[out].shape, unit),
      ("sum", tensors[out].shape, unit),
    )
  ]
  adding = schema.AddOptionsT()
  adding.fusedActivationFunction = op.builtinOptions.fusedActivationFunction
  adding.potScaleInt16 = False
  _replace(
    model,
    site.operator,
    (
      ("QUANTIZE", [source], flows[0], schema.QuantizeOptionsT(), 2),
      ("BATCH_MATMUL", [flows[0], kernel], flows[1], _transposed(), 3),
      ("ADD", [flows[1], bias], flows[2], adding, 4),
      ("QUANTIZE", [flows[2]], out, schema.QuantizeOptionsT(), 2),
    ),
  )


_Operator = tuple[str, list[int], int, object, int]


def _replace(
  model: schema.ModelT, position: int, chain: tuple[_Operator, ...]
) -> None:
  del model.subgraphs[0].operators[position]
  for place, (name, inputs, output, options, version) in enumerate(chain):
    insert_operator(
      model, position + place, name, inputs, output, options, version
    )


def _transposed() -> schema.BatchMatMulOptionsT:
  """The kernel lies [outputs, inputs]; read so, no engine keeps a copy."""
  options = schema.BatchMatMulOptionsT()
  options.adjX, options.adjY = False, True
  options.asymmetricQuantizeInputs = False
  return options


def _real(model: schema.ModelT, tensor: schema.TensorT) -> NDArray[np.float64]:
  """A constant's real values, [channels, ...]."""
  held = np.asarray(model.buffers[tensor.buffer].data)
  values = held.view(TYPE_NAMES[tensor.type]).astype(np.float64)
  scales = np.asarray(tensor.quantization.scale, np.float64)
  return values.reshape(int(tensor.shape[0]), -1) * scales.reshape(-1, 1)


def _whole_kernel(model: schema.ModelT, kernel: schema.TensorT) -> None:
  """Brings all channels to one scale, 1/256 of the largest."""
  unit = float(np.max(kernel.quantization.scale)) / MASTER_UNIT
  _hold(model, kernel, _real(model, kernel), unit)
  kernel.shape = np.array([kernel.shape[0], kernel.shape[-1]], np.int32)


def _hold(
  model: schema.ModelT,
  tensor: schema.TensorT,
  values: NDArray[np.float64],
  unit: float,
) -> None:
  """Lets a constant be int16 of one scale."""
  steps = saturate(np.rint(values / np.float32(unit)), np.int16)
  tensor.buffer = add_buffer(model, steps)
  tensor.type = schema.TensorType.INT16
  tensor.shapeSignature = None
  tensor.quantization = schema.QuantizationParametersT()
  tensor.quantization.scale = np.array([unit], np.float32)
  tensor.quantization.zeroPoint = np.zeros(1, np.int64)
