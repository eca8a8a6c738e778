"""Give the head's kernel room: a larger scale, so that weights can grow.

A head whose kernel was quantized for small weights cannot follow samples that
ask for large ones: training ends with many weights at -127 or 127. With `bits`
of room the scale is 2**bits times as large and every weight is divided by as
much, so that all can grow that far. What is rounded away in it moves outputs a
little before training, by a bound that is computed here of the weights
themselves; the masters of training have 8 bits below the int8, so the head
trains on without loss.
"""

from __future__ import annotations

import copy
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import LIMITS
from tflm_fg.tflite.layers import TRAINABLE_OPS, Site, tensor_name
from tflm_fg.tflite.model_file import TYPE_NAMES, op_name
from tflm_fg.tflite.surgery.edit import rescale_bias, unshare
from tflm_fg.types import NotApplicable


def give_room(
  model: schema.ModelT, site: Site, bits: int, name: str = "model"
) -> list[str]:
  """Multiplies the scale of a layer's kernel by 2**bits.

  The bias follows, since its scale is the input's times the kernel's.

  Args:
    model: the unpacked model, edited.
    site: the head, with int8 weights; a kernel or a bias that other operators
      read too is copied first.
    bits: 1 or more.
    name: what to call the file in errors.

  Returns:
    Notes: what was copied, and by how many steps outputs may move until the
    head has trained.

  Raises:
    NotApplicable: if the head has 16-bit weights already.
  """
  graph = model.subgraphs[0]
  op = graph.operators[site.operator]
  if site.is_finer:
    raise NotApplicable(
      f"{name}: the head has 16-bit weights already; give room to the file "
      "from before, with --weights"
    )
  activation_at, kernel_at, bias_at = TRAINABLE_OPS[op_name(model, op)]
  notes = unshare(model, op, kernel_at)
  kernel = graph.tensors[op.inputs[kernel_at]]
  old = np.asarray(model.buffers[kernel.buffer].data).view(np.int8)
  new = np.rint(old / 2**bits).astype(np.int8)
  model.buffers[kernel.buffer].data = new.view(np.uint8)
  lost = (old - new.astype(np.int64) * 2**bits).reshape(
    int(kernel.shape[0]), -1
  )
  steps = _moved(
    lost * np.asarray(kernel.quantization.scale, np.float64)[:, None],
    graph.tensors[op.inputs[activation_at]],
    graph.tensors[op.outputs[0]],
  )
  kernel.quantization = _coarser(kernel.quantization, bits)
  if len(op.inputs) > bias_at and op.inputs[bias_at] >= 0:
    notes += unshare(model, op, bias_at)
    bias = graph.tensors[op.inputs[bias_at]]
    scale = _coarser(bias.quantization, bits).scale
    bias.quantization = copy.deepcopy(bias.quantization)
    rescale_bias(model, bias, scale)
  return [
    *notes,
    f"{tensor_name(kernel)}: its scale is {2**bits} times as large; until it "
    f"has trained, outputs may move by {steps} steps",
  ]


def _coarser(
  old: schema.QuantizationParametersT, bits: int
) -> schema.QuantizationParametersT:
  """The same quantization with scales 2**bits as large, exactly."""
  fresh = copy.deepcopy(old)
  fresh.scale = np.asarray(old.scale, np.float32) * np.float32(2**bits)
  return fresh


def _moved(
  lost: NDArray[np.float64], source: schema.TensorT, out: schema.TensorT
) -> int:
  """The most steps that an output can move by where weights lose something.

  Args:
    lost: [C, D], of each weight, in its unit.
    source: what the layer reads.
    out: what it makes.
  """
  limits = np.array(LIMITS[np.dtype(TYPE_NAMES[source.type])], np.float64)
  limits -= int(source.quantization.zeroPoint[0])
  ends = lost[..., None] * limits
  most = max(
    ends.max(axis=-1).sum(axis=1).max(), -ends.min(axis=-1).sum(axis=1).min()
  )
  scale = float(source.quantization.scale[0])
  step = float(out.quantization.scale[0])
  return math.ceil(most * scale / step) + 1  # both outputs were rounded
