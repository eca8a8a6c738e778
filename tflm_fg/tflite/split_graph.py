"""Cut a marked graph into a frozen prefix and a trainable suffix.

The prefix holds every operator that no trainable tensor reaches: it runs once
a sample. The suffix holds the rest, up to the logits: it is what a step runs.
Prefix then suffix gives the whole graph's logits bit for bit.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.choice.outputs import leading_to
from tflm_fg.tflite.inputs import meant_input, with_input, zeros_of
from tflm_fg.tflite.layers import HEAD_OPS, SHAPING, reads_one_vector
from tflm_fg.tflite.model_file import ModelFile, Source, op_name
from tflm_fg.tflite.subgraph import Subgraph, Tensor
from tflm_fg.tflite.surgery.signed_output import sign_output
from tflm_fg.tflite.tensors import Part
from tflm_fg.types import Mark, TflmFgError, TrainableTensor


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


def cut(source: Source, mark: Mark, taps: Collection[int] = ()) -> Cut:
  """Cuts at the last point that no trainable tensor has touched.

  Args:
    source: the marked file.
    mark: its mark.
    taps: activations that shall flow out of the suffix behind the logits,
      unless they flow into it.

  Raises:
    TflmFgError: if the graph has several inputs, or one of several samples.
  """
  file = with_input(ModelFile.of(source), mark.input)
  graph_input = meant_input(file.subgraph, file.name)
  frozen, moving = _sides(file.subgraph, mark)
  crossing = _crossing(file.subgraph, frozen, moving)
  inner = sorted(set(taps) - {*crossing, mark.logits})
  outputs = [mark.logits, *inner]
  suffix = extract(file, moving, crossing, outputs, mark.trainable, signs=True)
  made = [t for t in crossing if t != graph_input]
  if not made:
    return Cut(None, suffix, graph_input)
  prefix = extract(file, frozen, [graph_input], made, [])
  return Cut(prefix, suffix, graph_input)


def _sides(graph: Subgraph, mark: Mark) -> tuple[list[int], list[int]]:
  """The operators that lead to the logits: the frozen ones and the others."""
  needed = leading_to(graph, [mark.logits])
  touched = _touched(graph, {t.index for t in mark.trainable})
  frozen = [i for i in needed if i not in touched]
  return frozen, [i for i in needed if i in touched]


def whole(source: Source, mark: Mark) -> Part:
  """The graph from its input to its logits, uncut, for evaluation."""
  file = with_input(ModelFile.of(source), mark.input)
  inputs = [meant_input(file.subgraph, file.name)]
  needed = leading_to(file.subgraph, [mark.logits])
  return extract(
    file, needed, inputs, [mark.logits], mark.trainable, signs=True
  )


def up_to(source: Source, outputs: Sequence[int]) -> Part:
  """The graph from its input to some activations."""
  file = ModelFile.of(source)
  graph = file.subgraph
  needed = leading_to(graph, outputs)
  return extract(file, needed, [meant_input(graph, file.name)], outputs, [])


def _touched(graph: Subgraph, tensors: set[int]) -> set[int]:
  """Operators that depend on one of `tensors`."""
  reached, touched = set(tensors), set()
  for number, op in enumerate(graph.operators):
    if reached & set(op.inputs):
      touched.add(number)
      reached |= set(op.outputs)
  return touched


def _crossing(
  graph: Subgraph, frozen: Sequence[int], moving: Sequence[int]
) -> list[int]:
  """Tensors that the frozen side makes and the moving side reads."""
  if not moving:
    raise TflmFgError(
      "no marked tensor reaches the model's output; mark other tensors"
    )
  made = {
    meant_input(graph),
    *(o for n in frozen for o in graph.operators[n].outputs),
  }
  read = {i for n in moving for i in graph.operators[n].inputs}
  if not made & read:
    raise TflmFgError("the model's input does not reach its output")
  return sorted(made & read)


def extract(
  file: ModelFile,
  operators: Sequence[int],
  inputs: Sequence[int],
  outputs: Sequence[int],
  trainable: Sequence[TrainableTensor],
  signs: bool = False,
  alone: bool = False,
) -> Part:
  """Writes some operators as a model with only what they use.

  Args:
    file: what they are of.
    operators: their numbers, in the order of running.
    inputs: tensors that flow in.
    outputs: tensors that flow out.
    trainable: constants that will be written.
    signs: whether a first output of uint8 is given away as int8.
    alone: whether other subgraphs are left out, as none of the operators runs
      one.
  """
  writable = [t.index for t in trainable]
  model = file.unpack()
  graph = model.subgraphs[0]
  kept = [graph.operators[n] for n in operators]
  used = {*inputs, *outputs, *writable}
  for op in kept:
    used |= {int(i) for i in (*op.inputs, *op.outputs) if i >= 0}
    used |= {int(i) for i in _or_empty(op.intermediates) if i >= 0}
  order = sorted(used)
  place = {old: new for new, old in enumerate(order)}
  model.metadata = model.signatureDefs = model.metadataBuffer = None
  model.subgraphs = [graph] if alone else model.subgraphs
  graph.tensors = [graph.tensors[i] for i in order]
  for op in kept:
    _move(op, place)
  for old in set(file.subgraph.inputs) & used - set(inputs):
    _make_zeros(model, graph.tensors[place[old]], file.subgraph.tensors[old])
  graph.operators = kept
  graph.inputs = [place[i] for i in inputs]
  graph.outputs = [place[i] for i in outputs]
  if signs:
    sign_output(model, 0)
  _free_batch(model)
  _drop_unused_buffers(model)
  return Part(
    ModelFile.packed(model, file.name),
    tuple(inputs),
    tuple(outputs),
    tuple(place[i] for i in writable),
    tuple(n for n, t in enumerate(trainable) if t.role == "scale"),
  )


def _make_zeros(
  model: schema.ModelT, tensor: schema.TensorT, facts: Tensor
) -> None:
  """Makes a constant of an input that no samples go to."""
  fresh = schema.BufferT()
  fresh.data = zeros_of(facts).reshape(-1).view(np.uint8)
  tensor.buffer = len(model.buffers)
  model.buffers.append(fresh)


def _or_empty(values: Collection[int] | None) -> Collection[int]:
  return () if values is None else values


def _move(op: schema.OperatorT, place: dict[int, int]) -> None:
  """Lets an operator of an unpacked model use the tensors' new indices."""
  for field in ("inputs", "outputs", "intermediates"):
    old = getattr(op, field)
    if old is not None:
      new = np.array([place.get(int(i), -1) for i in old], np.int32)
      setattr(op, field, new)


def _free_batch(model: schema.ModelT) -> None:
  """Lets a RESHAPE to a constant [1, ...] take any number of samples."""
  piece = model.subgraphs[0]
  for op in piece.operators:
    if op_name(model, op) != "RESHAPE" or len(op.inputs) < 2:
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


def exact_tensors(source: Source, mark: Mark) -> tuple[int, ...]:
  """The marked tensors of the head, if its gradient has a closed form."""
  head = last_tensors(mark)
  part = dataclasses.replace(mark, trainable=head)
  return tuple(t.index for t in head) if is_head(source, part) else ()


def is_head(source: Source, mark: Mark) -> bool:
  """Whether the head alone trains: one linear layer on one vector.

  Operators that only shape may stand around it: they move no number.
  """
  file = ModelFile.of(source)
  graph = file.subgraph
  frozen, moving = _sides(graph, mark)
  crossing = tuple(_crossing(graph, frozen, moving))
  while moving and graph.operators[moving[-1]].name in SHAPING:
    moving.pop()
  operators = tuple(file.operator_names[n] for n in moving)
  roles = [t.role for t in mark.trainable]
  twice = ("low" in roles) and roles.count("kernel") == 1
  if crossing != (mark.head_input,) or operators not in {
    *((name,) for name in HEAD_OPS if not twice),
    *((name, name, "ADD") for name in HEAD_OPS if twice),
    ("BATCH_MATMUL", "ADD"),
  }:
    return False
  return reads_one_vector(graph, moving[0])
