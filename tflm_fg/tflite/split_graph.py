"""Cut a marked graph into a frozen prefix and a trainable suffix.

The prefix holds every operator that no trainable tensor reaches: it runs once
a sample. The suffix holds the rest, up to the logits: it is what a step runs.
Prefix then suffix gives the whole graph's logits bit for bit.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite import model_file
from tflm_fg.tflite.layers import HEAD_OPS
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.types import Mark, TflmFgError, TrainableTensor


class Part(NamedTuple):
  """A piece of the graph as a .tflite of its own.

  Attributes:
    data: the piece, aligned, without a mark.
    inputs: the whole graph's tensor indices that flow in, in input order.
    outputs: the same for what flows out.
    writable: the piece's own indices of the trainable tensors, mark's order.
  """

  data: bytes
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  writable: tuple[int, ...]


class Cut(NamedTuple):
  """The two pieces; no prefix where the first operator trains already.

  Attributes:
    prefix: graph input -> the cut's tensors, or None.
    suffix: the cut's tensors -> logits.
    graph_input: index of the graph's input tensor.
  """

  prefix: Part | None
  suffix: Part
  graph_input: int


def cut(data: bytes, mark: Mark, taps: Collection[int] = ()) -> Cut:
  """Cuts at the last point that no trainable tensor has touched.

  Args:
    data: the marked file.
    mark: its mark.
    taps: activations that shall flow out of the suffix behind the logits,
      unless they flow into it.

  Raises:
    TflmFgError: if the graph has several inputs, or one of several samples.
  """
  model = model_file.read_shared(data)
  graph = model.subgraphs[0]
  graph_input = _only_input(model)
  needed = _needed(graph, mark.logits)
  touched = _touched(graph, {t.index for t in mark.trainable})
  frozen = [i for i in needed if i not in touched]
  moving = [i for i in needed if i in touched]
  crossing = _crossing(graph, frozen, moving)
  writable = [t.index for t in mark.trainable]
  inner = sorted(set(taps) - {*crossing, mark.logits})
  outputs = [mark.logits, *inner]
  suffix = _extract(model, moving, crossing, outputs, writable)
  made = [t for t in crossing if t != graph_input]
  if not made:
    return Cut(None, suffix, graph_input)
  prefix = _extract(model, frozen, [graph_input], made, [])
  return Cut(prefix, suffix, graph_input)


STATEFUL = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")


def _only_input(model: schema.ModelT) -> int:
  """The graph's input: one sample a run, and no memory of the run before."""
  graph = model.subgraphs[0]
  names = {model_file.op_name(model, op) for op in graph.operators or []}
  kept = [name for name in STATEFUL if name in names]
  if kept or any(t.isVariable for t in graph.tensors):
    raise TflmFgError(
      f"the model keeps state from run to run ({', '.join(kept) or 'variables'}"
      "); streaming models cannot be adapted"
    )
  inputs = [int(i) for i in _or_empty(graph.inputs)]
  if len(inputs) != 1:
    raise TflmFgError(
      f"the model has {len(inputs)} inputs; only models with one input can be "
      "adapted"
    )
  shape = [int(d) for d in _or_empty(graph.tensors[inputs[0]].shape)]
  if len(shape) < 2 or shape[0] != 1:
    raise TflmFgError(
      f"the model's input has shape {shape}; export it with a batch of 1"
    )
  return inputs[0]


def whole(data: bytes, mark: Mark) -> Part:
  """The graph from its input to its logits, uncut, for evaluation."""
  model = model_file.read_shared(data)
  graph = model.subgraphs[0]
  inputs = [_only_input(model)]
  writable = [t.index for t in mark.trainable]
  needed = _needed(graph, mark.logits)
  return _extract(model, needed, inputs, [mark.logits], writable)


def up_to(data: bytes, outputs: Sequence[int]) -> Part:
  """The graph from its input to some activations."""
  model = model_file.read_shared(data)
  graph = model.subgraphs[0]
  needed = sorted({n for tensor in outputs for n in _needed(graph, tensor)})
  return _extract(model, needed, [_only_input(model)], outputs, [])


def _needed(graph: schema.SubGraphT, logits: int) -> list[int]:
  """Operators that the logits depend on, in order."""
  wanted, needed = {logits}, []
  for number in reversed(range(len(graph.operators))):
    op = graph.operators[number]
    if wanted & {int(o) for o in op.outputs}:
      needed.append(number)
      wanted |= {int(i) for i in op.inputs if i >= 0}
  return needed[::-1]


def _touched(graph: schema.SubGraphT, tensors: set[int]) -> set[int]:
  """Operators that depend on one of `tensors`."""
  reached, touched = set(tensors), set()
  for number, op in enumerate(graph.operators):
    if reached & {int(i) for i in op.inputs}:
      touched.add(number)
      reached |= {int(o) for o in op.outputs}
  return touched


def _crossing(
  graph: schema.SubGraphT, frozen: Sequence[int], moving: Sequence[int]
) -> list[int]:
  """Tensors that the frozen side makes and the moving side reads."""
  if not moving:
    raise TflmFgError(
      "no marked tensor reaches the model's output; mark other tensors"
    )
  made = {int(i) for i in graph.inputs} | {
    int(o) for n in frozen for o in graph.operators[n].outputs
  }
  read = {int(i) for n in moving for i in graph.operators[n].inputs}
  if not made & read:
    raise TflmFgError("the model's input does not reach its output")
  return sorted(made & read)


def _extract(
  model: schema.ModelT,
  operators: Sequence[int],
  inputs: Sequence[int],
  outputs: Sequence[int],
  writable: Sequence[int],
) -> Part:
  """Writes some operators as a model with only what they use."""
  graph = model.subgraphs[0]
  kept = [graph.operators[n] for n in operators]
  used = {*inputs, *outputs, *writable}
  for op in kept:
    used |= {int(i) for i in (*op.inputs, *op.outputs) if i >= 0}
    used |= {int(i) for i in _or_empty(op.intermediates) if i >= 0}
  order = sorted(used)
  place = {old: new for new, old in enumerate(order)}
  part = copy.copy(model)
  part.metadata = part.signatureDefs = part.metadataBuffer = None
  piece = copy.copy(graph)
  piece.tensors = [copy.copy(graph.tensors[i]) for i in order]
  piece.operators = [_moved(op, place) for op in kept]
  piece.inputs = [place[i] for i in inputs]
  piece.outputs = [place[i] for i in outputs]
  part.buffers = list(model.buffers)
  part.subgraphs = [piece, *model.subgraphs[1:]]
  _free_batch(part)
  _drop_unused_buffers(part)
  return Part(
    model_file.pack(part),
    tuple(inputs),
    tuple(outputs),
    tuple(place[i] for i in writable),
  )


def _or_empty(values: Collection[int] | None) -> Collection[int]:
  return () if values is None else values


def _moved(op: schema.OperatorT, place: dict[int, int]) -> schema.OperatorT:
  moved = copy.copy(op)
  for field in ("inputs", "outputs", "intermediates"):
    old = getattr(op, field)
    if old is not None:
      new = np.array([place.get(int(i), -1) for i in old], np.int32)
      setattr(moved, field, new)
  return moved


def _free_batch(model: schema.ModelT) -> None:
  """Lets a RESHAPE to a constant [1, ...] take any number of samples."""
  piece = model.subgraphs[0]
  for op in piece.operators:
    if model_file.op_name(model, op) != "RESHAPE" or len(op.inputs) < 2:
      continue
    tensor = piece.tensors[op.inputs[1]]
    held = model.buffers[tensor.buffer].data
    target = piece.tensors[op.outputs[0]].shape
    if held is None or target is None or len(target) < 2 or target[0] != 1:
      continue
    shape = np.asarray(held).view("<i4").copy()
    if shape[0] == 1 and np.all(shape > 0):
      shape[0] = -1
      fresh = schema.BufferT()
      fresh.data = shape.view(np.uint8)
      tensor.buffer = len(model.buffers)
      model.buffers.append(fresh)


def _drop_unused_buffers(model: schema.ModelT) -> None:
  """Keeps buffer 0 (empty by convention) and those that tensors hold."""
  piece, *others = model.subgraphs
  fixed = {t.buffer for graph in others for t in graph.tensors}
  if fixed:
    return  # control flow: its subgraphs keep their numbering
  order = sorted({0, *(t.buffer for t in piece.tensors)})
  place = {old: new for new, old in enumerate(order)}
  for tensor in piece.tensors:
    tensor.buffer = place[tensor.buffer]
  model.buffers = [model.buffers[i] for i in order]


def last_tensors(mark: Mark) -> tuple[TrainableTensor, ...]:
  """The marked tensors of the last layer that has any.

  A layer of 16-bit weights is two operators that hold tensors: the runs on
  high and on low bytes, or the product and the ADD of the bias.
  """
  last = {max(t.operator for t in mark.trainable)}
  for before, tensor in itertools.pairwise(mark.trainable):
    whole = before.dtype == tensor.dtype == "int16"
    if tensor.operator in last and (
      tensor.is_low or (whole and before.operator == tensor.operator - 1)
    ):
      last.add(before.operator)
  return tuple(t for t in mark.trainable if t.operator in last)


def exact_tensors(marked: bytes, mark: Mark) -> tuple[int, ...]:
  """The marked tensors of the head, if its gradient has a closed form."""
  head = last_tensors(mark)
  part = dataclasses.replace(mark, trainable=head)
  exact = is_head(cut(marked, part), marked, part)
  return tuple(t.index for t in head) if exact else ()


def is_head(pieces: Cut, marked: bytes, mark: Mark) -> bool:
  """Whether the suffix is the head alone: one linear layer on one vector."""
  operators = model_file.operator_names(pieces.suffix.data)
  roles = [t.role for t in mark.trainable]
  twice = ("low" in roles) and roles.count("kernel") == 1
  if pieces.suffix.inputs != (mark.head_input,) or operators not in {
    *((name,) for name in HEAD_OPS if not twice),
    *((name, name, "ADD") for name in HEAD_OPS if twice),
    ("BATCH_MATMUL", "ADD"),
  }:
    return False
  inputs = tensor_spec(marked, mark.head_input).shape
  return int(np.prod(inputs[:-1])) == 1
