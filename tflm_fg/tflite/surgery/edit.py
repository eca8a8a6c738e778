"""Add tensors and operators to an unpacked .tflite, and part shared ones."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.tflite.contents.entry_points import named
from tflm_fg.tflite.layers import tensor_name
from tflm_fg.tflite.model_file import TYPE_NAMES
from tflm_fg.types import Array

_TYPE_CODES = {name: code for code, name in TYPE_NAMES.items()}


def add_buffer(model: schema.ModelT, content: Array | bytes) -> int:
  """Appends a buffer with a constant's bytes; its index."""
  buffer = schema.BufferT()
  raw = content if isinstance(content, bytes) else content.tobytes()
  buffer.data = np.frombuffer(raw, np.uint8)
  model.buffers.append(buffer)
  return len(model.buffers) - 1


def empty_unused_buffers(model: schema.ModelT) -> None:
  """Drops the bytes that no tensor and no metadata uses; indices stay."""
  used = {t.buffer for graph in model.subgraphs for t in graph.tensors}
  used |= {entry.buffer for entry in model.metadata or []}
  if model.metadataBuffer is not None:  # of before there was metadata
    used |= {int(number) for number in model.metadataBuffer}
  for number, buffer in enumerate(model.buffers):
    if number not in used:
      buffer.data = None


def add_tensor(
  model: schema.ModelT,
  name: str,
  shape: tuple[int, ...],
  dtype: str,
  scale: float | None = None,
  zero_point: int = 0,
  values: Array | None = None,
) -> int:
  """Appends a tensor to subgraph 0.

  Args:
    model: the unpacked model.
    name: of the tensor.
    shape: of the tensor.
    dtype: a name of the schema's types, in lower case.
    scale: per-tensor quantization; None for none.
    zero_point: see scale.
    values: content of a constant; None for an activation.

  Returns:
    The tensor's index.
  """
  tensor = schema.TensorT()
  tensor.name = name.encode()
  tensor.shape = np.array(shape, np.int32)
  tensor.type = _TYPE_CODES[dtype]
  tensor.buffer = 0
  if values is not None:
    tensor.buffer = add_buffer(model, np.asarray(values, dtype))
  if scale is not None:
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.array([scale], np.float32)
    tensor.quantization.zeroPoint = np.array([zero_point], np.int64)
  tensors = model.subgraphs[0].tensors
  tensors.append(tensor)
  return len(tensors) - 1


def insert_operator(
  model: schema.ModelT,
  position: int,
  name: str,
  inputs: list[int],
  output: int,
  options: Any,
  version: int,
) -> None:
  """Puts an operator in front of the one at `position` of subgraph 0.

  Args:
    model: the unpacked model.
    position: where, in the order of running.
    name: a builtin operator.
    inputs: tensor indices.
    output: tensor index.
    options: the operator's options table, or None.
    version: what the operator's kernel must know.
  """
  op = new_operator(model, name, inputs, [output], options, version)
  model.subgraphs[0].operators.insert(position, op)


def new_operator(
  model: schema.ModelT,
  name: str,
  inputs: Sequence[int],
  outputs: Sequence[int],
  options: Any,
  version: int,
  newer: bool = True,
) -> schema.OperatorT:
  """An operator that is in no subgraph yet.

  Args:
    model: the unpacked model, which gets the operator's code if it lacks it.
    name: a builtin operator.
    inputs: tensor indices.
    outputs: tensor indices.
    options: the operator's options table, or None.
    version: what the operator's kernel must know.
    newer: whether a code of a newer version, if the model has one, will do.
  """
  op = schema.OperatorT()
  op.opcodeIndex = _operator_code(model, name, version, newer)
  op.inputs = np.array(inputs, np.int32)
  op.outputs = np.array(outputs, np.int32)
  if options is not None:
    kind = type(options).__name__.removesuffix("T")
    op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    op.builtinOptions = options
  return op


def _operator_code(
  model: schema.ModelT, name: str, version: int, newer: bool
) -> int:
  wanted = getattr(schema.BuiltinOperator, name)
  for index, code in enumerate(model.operatorCodes):
    found = max(code.builtinCode, code.deprecatedBuiltinCode)
    fits = code.version >= version if newer else code.version == version
    if found == wanted and fits:
      return index
  code = schema.OperatorCodeT()
  code.builtinCode = wanted
  code.deprecatedBuiltinCode = min(wanted, 127)
  code.version = version
  model.operatorCodes.append(code)
  return len(model.operatorCodes) - 1


def redirect(
  model: schema.ModelT, old: int, new: int, first_operator: int
) -> None:
  """Lets operators from `first_operator` on read `new` instead of `old`."""
  for op in model.subgraphs[0].operators[first_operator:]:
    op.inputs = np.where(np.asarray(op.inputs) == old, new, op.inputs).astype(
      np.int32
    )


def unshare(
  model: schema.ModelT, op: schema.OperatorT, position: int
) -> list[str]:
  """Gives the operator's constant a tensor and a buffer of its own.

  Args:
    model: the unpacked model, edited.
    op: of its first subgraph.
    position: which of its inputs.

  Returns:
    Notes: what was copied, and who keeps the original.
  """
  graph, notes = model.subgraphs[0], []
  index = int(op.inputs[position])
  readers = Counter(int(i) for o in graph.operators for i in o.inputs)
  if readers[index] > 1:
    twin = schema.TensorT()
    twin.__dict__.update(graph.tensors[index].__dict__)
    twin.quantization = copy.deepcopy(twin.quantization)
    graph.tensors.append(twin)
    index = len(graph.tensors) - 1
    twin.name = (twin.name or b"") + b"/own%d" % index
    op.inputs = np.array(op.inputs, np.int32)
    op.inputs[position] = index
    notes.append(
      f"{tensor_name(twin)}: copied, other operators read the original"
    )
  tensor = graph.tensors[index]
  holders = [
    number
    for number, other in enumerate(model.subgraphs)
    for t in other.tensors or []
    if t.buffer == tensor.buffer and t is not tensor
  ]
  if holders:
    tensor.buffer = add_buffer(model, bytes(model.buffers[tensor.buffer].data))
    others = named(model, sorted({*holders} - {0}))
    kept = f"; {others} keeps the numbers as they were" if others else ""
    if not notes or kept:
      notes.append(f"{tensor_name(tensor)}: given a buffer of its own{kept}")
  return notes


def rescale_bias(
  model: schema.ModelT, bias: schema.TensorT, scale: NDArray[Any]
) -> None:
  """Gives a bias other scales; its values stay what they are."""
  buffer = model.buffers[bias.buffer]
  dtype = np.dtype(TYPE_NAMES[bias.type])
  old = np.asarray(buffer.data).view(dtype) * bias.quantization.scale
  limit = np.iinfo(np.int32).max
  values = np.clip(np.rint(old / scale), -limit, limit).astype(dtype)
  fresh = schema.BufferT()
  fresh.data = np.frombuffer(values.tobytes(), np.uint8)
  model.buffers[bias.buffer] = fresh
  bias.quantization.scale = scale.astype("<f4")
