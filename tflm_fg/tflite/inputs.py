"""Find which of a file's inputs samples go to, and what the others are fed.

A file may take several inputs: states that its last run gave, or constants such
as a gain. Samples go to one of them; the others always get their zero points,
so every sample starts from the same state.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflm_fg.tflite.layers import foreign_fault
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.subgraph import Subgraph, Tensor, is_state
from tflm_fg.types import Array, TensorSpec, TflmFgError

RESOURCE_VARIABLES = (
  "CALL_ONCE",
  "VAR_HANDLE",
  "READ_VARIABLE",
  "ASSIGN_VARIABLE",
)


def with_input(file: ModelFile, chosen: str | int | None) -> ModelFile:
  """The file with one of its inputs chosen for the samples.

  Args:
    file: a sound .tflite.
    chosen: a position among its inputs, from 0, or an input tensor's name; None
      leaves the file as it is.

  Raises:
    TflmFgError: if the file has no such input.
  """
  if chosen is None:
    return file
  graph, text = file.subgraph, str(chosen).strip()
  names = [graph.tensors[i].name for i in graph.inputs]
  if text.isdigit() and int(text) < len(names):
    position = int(text)
  elif names.count(text) == 1:
    position = names.index(text)
  else:
    raise TflmFgError(
      f"{file.name}: input {text!r} is none of its inputs, {listed(graph)}; "
      "name one of them with --input=NAME or --input=INDEX"
    )
  graph = dataclasses.replace(graph, chosen_input=position)
  return dataclasses.replace(file, subgraph=graph)


def listed(graph: Subgraph) -> str:
  """All inputs with their names, shapes and types, in one line."""
  return ", ".join(
    f"{position} {graph.tensors[i].name!r} {list(graph.tensors[i].shape)} "
    f"{graph.tensors[i].dtype}"
    for position, i in enumerate(graph.inputs)
  )


def meant_input(graph: Subgraph, name: str = "model") -> int:
  """The tensor that samples go to; `name` is what to call the file in errors.

  Where nobody has chosen among several, it is the one that is left when states
  are taken away, which are inputs like one of the outputs, and single numbers.

  Raises:
    TflmFgError: if there is none or more than one is left, if it holds a batch
      of several samples, or if the graph keeps state that cannot be reset.
  """
  if fault := resource_fault(graph):
    raise TflmFgError(f"{name}: {fault}")
  meant = graph.inputs[_position(graph, name)]
  _require_one_sample(graph, graph.tensors[meant], name)
  return meant


def refuse_foreign(file: ModelFile) -> None:
  """Refuses a file whose operators no engine here knows, or float variables.

  Raises:
    TflmFgError: naming the operator, and what to do.
  """
  fault = foreign_fault(file.subgraph)
  if has_float_variables(file.subgraph):
    fault = resource_fault(file.subgraph)
  if fault:
    raise TflmFgError(f"{file.name}: {fault}")


def resource_fault(graph: Subgraph) -> str:
  """Why a graph with resource variables cannot be adapted; empty without them.

  Float variables are the weights of a file that trains itself by signatures of
  its own; the others are the state of a streaming model.
  """
  found = [op for op in graph.operators if op.name in RESOURCE_VARIABLES]
  names = ", ".join(dict.fromkeys(op.name for op in found))
  if has_float_variables(graph):
    return (
      f"the model's weights are float variables ({names}), which signatures of "
      "the file train; export its inference alone, as the signature "
      "'serving_default' of a SavedModel, and quantize that with "
      "tflm-fg-convert --calibration=X.npz"
    )
  return names and (
    f"the model keeps its state in resource variables ({names}), which no "
    "sample resets; tflm-fg-wake adapts streaming wake words as they are; else "
    "give the model from before it was made streaming, or that a file which "
    "trains itself was exported from"
  )


def has_float_variables(graph: Subgraph) -> bool:
  """Whether resource variables of a graph hold floats."""
  return any(
    graph.tensors[i].dtype == "float32"
    for op in graph.operators
    if op.name in RESOURCE_VARIABLES
    for i in (*op.inputs, *op.outputs)
  )


def _position(graph: Subgraph, name: str) -> int:
  if graph.chosen_input is not None:
    return graph.chosen_input
  left = list(range(len(graph.inputs)))
  if len(left) > 1:
    given = [graph.tensors[i] for i in graph.outputs]
    inputs = [graph.tensors[i] for i in graph.inputs]
    left = [n for n in left if not is_state(inputs[n], given)]
    left = [n for n in left if np.prod(inputs[n].shape) > 1]
  if len(left) != 1:
    raise TflmFgError(
      f"{name}: has {len(graph.inputs)} inputs"
      + (f", {listed(graph)}" if graph.inputs else "")
      + "; say with --input=NAME or --input=INDEX (input= in Python) which one "
      "takes the samples: the others get zeros"
    )
  return left[0]


def _require_one_sample(graph: Subgraph, tensor: Tensor, name: str) -> None:
  """Refuses an input of no size, and one that is a batch by its outputs."""
  shape = tensor.shape
  batch = shape[0] if shape else 0
  alike = any(
    len(graph.tensors[i].shape) > 1 and graph.tensors[i].shape[0] == batch
    for i in graph.outputs
  )
  if not batch or (batch > 1 and alike):
    raise TflmFgError(
      f"{name}: the input has shape {list(shape)}; export it with a batch of 1"
    )


def zeros_of(tensor: Tensor) -> Array:
  """What an input gets that no samples go to: zeros, on its own grid."""
  point = tensor.zero_points[0] if tensor.zero_points else 0
  return np.full(tensor.shape, point, np.dtype(tensor.dtype))


def spec_of(file: ModelFile) -> TensorSpec:
  """What a sample must be like, with a batch axis in front.

  Raises:
    TflmFgError: as `meant_input`.
  """
  graph = file.subgraph
  index = meant_input(graph, file.name)
  tensor = graph.tensors[index]
  shape = tensor.shape
  given = bool(tensor.scales)
  return TensorSpec(
    shape=shape if shape[0] == 1 else (1, *shape),
    dtype=tensor.dtype,
    scale=tensor.scales[0] if given else 0.0,
    zero_point=tensor.zero_points[0] if given and tensor.zero_points else 0,
    rows=_rows(graph, index),
    grid=_grid_behind(graph, index),
  )


def _grid_behind(graph: Subgraph, index: int) -> tuple[str, float, int] | None:
  """The grid that a float input is quantized to, if nothing else reads it."""
  readers = [op for op in graph.operators if index in op.inputs]
  if graph.tensors[index].dtype != "float32" or len(readers) != 1:
    return None
  behind = graph.tensors[readers[0].outputs[0]]
  if readers[0].name != "QUANTIZE" or not behind.scales:
    return None
  point = behind.zero_points[0] if behind.zero_points else 0
  return behind.dtype, behind.scales[0], point


def _counts(tensor: Tensor) -> bool:
  """Whether its numbers are whole numbers that stand for themselves."""
  return tensor.dtype in ("int32", "int64") and not tensor.has_scale


_LOOK_UPS = {"GATHER": (0, 1), "EMBEDDING_LOOKUP": (1, 0)}
"""Operator -> positions of its table and of the rows to look up."""


def _rows(graph: Subgraph, index: int) -> int:
  """How many rows the tables have that an input's numbers choose from."""
  same, rows = {index}, []
  for op in graph.operators:
    if same & set(op.inputs):
      same |= {i for i in op.outputs if _counts(graph.tensors[i])}
    where = _LOOK_UPS.get(op.name)
    if where and len(op.inputs) > 1 and op.inputs[where[1]] in same:
      table = graph.tensors[op.inputs[where[0]]]
      rows += list(table.shape[:1])
  return min(rows, default=0)
