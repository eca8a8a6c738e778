"""Fold what an input prompt has learned into the layer behind it.

An offset of the input adds the same to a layer's sums wherever they are taken,
if the layer does not pad with zeros. Then it may as well stand in the layer's
bias, and the file has the operators that it had before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import LIMITS, saturate
from tflm_fg.tflite import model_file
from tflm_fg.tflite.layers import TRAINABLE_OPS, tensor_name
from tflm_fg.tflite.model_file import TYPE_NAMES, op_name
from tflm_fg.tflite.surgery.edit import add_buffer
from tflm_fg.tflite.surgery.input_prompt import OFFSET, prompts_of
from tflm_fg.types import TflmFgError


def _values(model: schema.ModelT, index: int) -> NDArray[Any]:
  tensor = model.subgraphs[0].tensors[index]
  raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
  return raw.view(TYPE_NAMES[tensor.type])


def _reals(model: schema.ModelT, index: int) -> NDArray[np.float64]:
  tensor = model.subgraphs[0].tensors[index]
  return _values(model, index) * float(tensor.quantization.scale[0])


def _move_bias(
  model: schema.ModelT,
  op: schema.OperatorT,
  offsets: NDArray[np.float64],
  name: str,
) -> None:
  """Adds real offsets to a layer's bias, rounded to its fine steps."""
  where = TRAINABLE_OPS[op_name(model, op)][2]
  index = int(op.inputs[where]) if len(op.inputs) > where else -1
  if index < 0:
    raise TflmFgError(
      f"{name}: {op_name(model, op)} has no bias that an offset could go into; "
      "give it one of zeros"
    )
  bias = model.subgraphs[0].tensors[index]
  scales = np.asarray(bias.quantization.scale, np.float64)
  kind = TYPE_NAMES[bias.type]
  moved = _values(model, index).astype(np.float64) + np.rint(offsets / scales)
  low, high = LIMITS[np.dtype(np.int32)]
  bias.buffer = add_buffer(model, saturate(np.clip(moved, low, high), kind))


def fold_input_offset(data: bytes, name: str = "model") -> bytes:
  """Takes the ADD of an input prompt out of a file where its layer allows it.

  The first layer's sums must see the offset at every position, so it must not
  pad with zeros. Inputs that the ADD had saturated are now summed as they are.

  Args:
    data: a .tflite without a mark.
    name: what to call the file in errors.

  Returns:
    The file without the ADD; the same file where the layer does not allow it.
  """
  file = model_file.ModelFile.open(data, name)
  model = file.unpack()
  graph = model.subgraphs[0]
  prompts = {
    tensor_name(graph.tensors[i]): i for i in prompts_of(file.subgraph)
  }
  if OFFSET not in prompts:
    return data
  add = next(op for op in graph.operators if prompts[OFFSET] in op.inputs)
  readers = [op for op in graph.operators if add.outputs[0] in op.inputs]
  if len(readers) != 1 or not _sees_all(model, readers[0], prompts[OFFSET]):
    return data
  (layer,) = readers
  sums = _sums_of(model, layer, prompts[OFFSET])
  _move_bias(model, layer, sums, name)
  layer.inputs = np.where(
    np.asarray(layer.inputs) == add.outputs[0], add.inputs[0], layer.inputs
  ).astype(np.int32)
  graph.operators = [op for op in graph.operators if op is not add]
  return file.repacked(model)


def _sees_all(model: schema.ModelT, op: schema.OperatorT, index: int) -> bool:
  """Whether each of an operator's sums sees all of an offset alike."""
  kind, tensors = op_name(model, op), model.subgraphs[0].tensors
  if len(op.inputs) < 3 or int(op.inputs[2]) < 0:
    return False
  if kind == "FULLY_CONNECTED":
    return True
  if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
    return False
  window = [int(d) for d in tensors[int(op.inputs[1])].shape[1:3]]
  if window != [1, 1] and op.builtinOptions.padding != schema.Padding.VALID:
    return False
  # An offset a row or a column: only a kernel as wide as the input sees all.
  _, *places, _ = (int(d) for d in tensors[index].shape)
  return all(long in (1, wide) for long, wide in zip(places, window))


def _sums_of(
  model: schema.ModelT, op: schema.OperatorT, index: int
) -> NDArray[np.float64]:
  """What a layer's real sums grow by where its input grows by offsets."""
  tensors = model.subgraphs[0].tensors
  kernel, constant = tensors[int(op.inputs[1])], tensors[index]
  weights = _values(model, int(op.inputs[1])).reshape(kernel.shape)
  offsets = _reals(model, index).reshape(constant.shape)
  scales = np.asarray(kernel.quantization.scale, np.float64)
  if op_name(model, op) == "DEPTHWISE_CONV_2D":
    copies = weights.shape[3] // int(tensors[int(op.inputs[0])].shape[3])
    if offsets.shape[3] > 1:
      offsets = np.repeat(offsets, copies, axis=3)
    return (weights * offsets).sum(axis=(0, 1, 2)) * scales
  if op_name(model, op) == "FULLY_CONNECTED":
    shape = [int(d) for d in tensors[int(op.inputs[0])].shape]
    weights = weights.reshape(len(weights), *shape[1:])
  sums: NDArray[np.float64] = (weights * offsets).reshape(len(weights), -1)
  return sums.sum(axis=1) * scales
