"""Add outputs to a classifier, or make all anew: rows of its last dense layer.

Where rows are added, the old ones keep their bytes and the old outputs their
quantization, so the old classes' logits are what they were; the new ones start
at the bottom of the logits' range. Where all are made anew, they are zero: what
random weights say of a sample is noise that training had to take back first.
"""

from __future__ import annotations

import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.layers import Site, sites_of, untrainable
from tflm_fg.tflite.model_file import (
  TYPE_NAMES,
  ModelFile,
  Source,
  op_name,
)
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.surgery.ready import ready
from tflm_fg.tflite.surgery.repair import mend
from tflm_fg.types import TflmFgError

_BEHIND = ("SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "QUANTIZE", "DEQUANTIZE")


def add_rows(
  source: Source, count: int, name: str = "model", *, at_zero: bool = False
) -> bytes:
  """Gives a classifier more outputs.

  Args:
    source: an int8 or int16x8 .tflite that ends in FULLY_CONNECTED, with or
      without a SOFTMAX behind it; a mark is taken off.
    count: how many outputs to add.
    name: what to call the file in errors.
    at_zero: whether the new logits are 0, from where they are learnt in fewer
      steps, and not the lowest that there is, from where they never win.

  Returns:
    The file with `count` more outputs, unmarked. For every input the logits
    of the old classes are the same as before.

  Raises:
    TflmFgError: if the model does not end so, or nothing is to be added.
  """
  if count < 1:
    raise TflmFgError(f"{name}: need 1 or more outputs to add, got {count}")
  model, site, kernel, bias = _opened(source, name)
  op = model.subgraphs[0].operators[site.operator]
  logits = model.subgraphs[0].tensors[op.outputs[0]]
  old = int(kernel.shape[0])
  _extend(model, kernel, np.zeros((count, int(kernel.shape[1])), np.int8))
  _widen_scales(kernel, old, count)
  _widen_scales(bias, old, count)
  scale = float(bias.quantization.scale[-1])
  start = 0 if at_zero else round(_lowest(logits) / scale)
  _extend(model, bias, np.full(count, start, TYPE_NAMES[bias.type]))
  _resize_outputs(model, site, old + count, name)
  return ModelFile.of(source, name).repacked(model)


def new_rows(source: Source, count: int, name: str = "model") -> bytes:
  """Gives a classifier a fresh head of `count` outputs, all zero.

  A row's scale is the largest of the old rows', so that int8 reaches as far
  as before; the logits keep their quantization. Until the head has trained, no
  layer before it has a slope.

  Args:
    source: as for `add_rows`.
    count: how many outputs to have.
    name: what to call the file in errors.

  Returns:
    The file with `count` outputs in place of its own, unmarked.

  Raises:
    TflmFgError: if the model does not end so, or fewer than 2 are wanted.
  """
  if count < 2:
    raise TflmFgError(f"{name}: a fresh head needs 2 or more outputs: {count}")
  model, site, kernel, bias = _opened(source, name)
  shape = (count, int(kernel.shape[1]))
  _replace(model, kernel, np.zeros(shape, np.int8))
  _replace(model, bias, np.zeros(count, TYPE_NAMES[bias.type]))
  _resize_outputs(model, site, count, name)
  return ModelFile.of(source, name).repacked(model)


def _opened(
  source: Source, name: str
) -> tuple[schema.ModelT, Site, schema.TensorT, schema.TensorT]:
  """The unmarked model to change, its head, and that head's kernel and bias."""
  file = training_metadata.stripped(ModelFile.of(source, name))
  file = ready(file, GraphOptions()).file
  model, site = file.unpack(), _head(file.subgraph, name)
  mend(model, {site: {"kernel", "bias"}}, name)
  op = model.subgraphs[0].operators[site.operator]
  kernel, bias = (model.subgraphs[0].tensors[op.inputs[i]] for i in (1, 2))
  return model, site, kernel, bias


def _head(graph: Subgraph, name: str) -> Site:
  heads = [
    site
    for site in sites_of(graph)
    if graph.operators[site.operator].name == "FULLY_CONNECTED"
  ]
  if not heads:
    raise TflmFgError(
      f"{name}: no FULLY_CONNECTED to add outputs to; train a model that ends "
      "in a dense layer"
    )
  reason = untrainable(graph, heads[-1])
  if reason is not None:
    raise TflmFgError(f"{name}: no outputs can be added: {reason}")
  return heads[-1]


def _outputs(model: schema.ModelT, site: Site, name: str) -> list[int]:
  """Every activation from the head to the model's output, which all widen."""
  graph = model.subgraphs[0]
  found = [int(graph.operators[site.operator].outputs[0])]
  for op in graph.operators[site.operator + 1 :]:
    if not {int(i) for i in op.inputs} & set(found):
      continue
    if op_name(model, op) not in _BEHIND:
      raise TflmFgError(
        f"{name}: {op_name(model, op)} behind the last FULLY_CONNECTED fixes "
        f"the count of outputs; only {', '.join(_BEHIND)} may stand there"
      )
    found += [int(o) for o in op.outputs]
  if int(graph.outputs[0]) not in found:
    raise TflmFgError(f"{name}: its output is not the last FULLY_CONNECTED's")
  return found


def _resize_outputs(
  model: schema.ModelT, site: Site, count: int, name: str
) -> None:
  for index in _outputs(model, site, name):
    tensor = model.subgraphs[0].tensors[index]
    tensor.shape = _with_last(tensor.shape, count)
    if tensor.shapeSignature is not None:
      tensor.shapeSignature = _with_last(tensor.shapeSignature, count)


def _extend(
  model: schema.ModelT, tensor: schema.TensorT, rows: NDArray[np.integer]
) -> None:
  """Puts rows behind a constant's own; `mend` gave it a buffer of its own."""
  fresh = schema.BufferT()
  held = np.asarray(model.buffers[tensor.buffer].data).view(np.uint8)
  more = np.frombuffer(rows.tobytes(), np.uint8)
  fresh.data = np.concatenate([held, more])
  model.buffers[tensor.buffer] = fresh
  shape = np.array(tensor.shape, np.int32)
  shape[0] += len(rows)
  tensor.shape = shape
  tensor.shapeSignature = None


def _widen_scales(tensor: schema.TensorT, old: int, count: int) -> None:
  """New rows take the largest scale: they have the most to grow."""
  quantization = copy.deepcopy(tensor.quantization)
  scales = np.asarray(quantization.scale, np.float32)
  if len(scales) == old and old > 1:
    more = np.full(count, scales.max(), np.float32)
    quantization.scale = np.concatenate([scales, more])
    points = np.zeros(old + count, np.int64)
    quantization.zeroPoint = points
  tensor.quantization = quantization


def _replace(
  model: schema.ModelT, tensor: schema.TensorT, rows: NDArray[np.integer]
) -> None:
  """Puts rows in place of a constant's own, all at its largest scale."""
  fresh = schema.BufferT()
  fresh.data = np.frombuffer(rows.tobytes(), np.uint8)
  model.buffers[tensor.buffer] = fresh
  tensor.shape = np.array(rows.shape, np.int32)
  tensor.shapeSignature = None
  scales = np.asarray(tensor.quantization.scale, np.float32)
  if len(scales) > 1:
    quantization = copy.deepcopy(tensor.quantization)
    quantization.scale = np.full(len(rows), scales.max(), np.float32)
    quantization.zeroPoint = np.zeros(len(rows), np.int64)
    tensor.quantization = quantization


def _lowest(logits: schema.TensorT) -> float:
  """The least logit that the output can hold, in real units."""
  quantization = logits.quantization
  low = np.iinfo(TYPE_NAMES[logits.type]).min
  point = (
    0 if quantization.zeroPoint is None else int(quantization.zeroPoint[0])
  )
  return (low - point) * float(quantization.scale[0])


def _with_last(shape: NDArray[np.integer], size: int) -> NDArray[np.integer]:
  widened = np.array(shape, np.int32)
  widened[-1] = size
  return widened
