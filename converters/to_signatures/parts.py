"""A file taken apart: what is frozen, the head, and what follows it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.to_signatures.builder import FileBuilder
from converters.to_signatures.graph import Graph, Value
from tflm_fg.marking import strip
from tflm_fg.signatures import (
  HeadSpec,
  PromptSpec,
  Variable,
  head_spec,
  prompt_spec,
  prompt_state,
)
from tflm_fg.tflite import TYPE_NAMES, MarkedModel, ModelFile, op_name
from tflm_fg.types import TflmFgError

_STATEFUL = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")


@dataclasses.dataclass
class Parts:
  """A file that is being written, and where its model's parts are.

  Attributes:
    file: what graphs are added to; subgraph 0 is the model.
    spec: of the head.
    head: the operator of subgraph 0 that is the head.
    source: the tensor of subgraph 0 that samples go to.
    features: the tensor of subgraph 0 that the head reads.
    prompt: of the input; None where it has none.
    flow: the tensor of subgraph 0 that the prompt reads; the source without.
    gain: the tensor of subgraph 0 that is the prompt's gain; -1 without.
    offset: that is its offset; -1 without.
    initial: the number of the subgraph that gives variables their first
      content; set when it is written.
  """

  file: FileBuilder
  spec: HeadSpec
  head: int
  source: int
  features: int
  prompt: PromptSpec | None = None
  flow: int = -1
  gain: int = -1
  offset: int = -1
  initial: int = -1

  @property
  def model(self) -> schema.SubGraphT:
    """Subgraph 0."""
    return self.file.model.subgraphs[0]

  def tensor(self, index: int) -> schema.TensorT:
    """A tensor of subgraph 0."""
    return self.model.tensors[index]

  def graph(self, name: str) -> Graph:
    """A new subgraph, which sees to it that variables have a content."""
    made = Graph(self.file, name)
    made.once(self.initial)
    return made

  def sample(self, graph: Graph, batch: int = 1) -> Value:
    """An input of a graph for samples of the model's own type."""
    own = self.tensor(self.source)
    shape = [batch, *(int(n) for n in own.shape[1:])]
    return graph.tensor(shape, TYPE_NAMES[own.type], like=own)

  def features_of(self, graph: Graph, x: Value, batch: int = 1) -> Value:
    """Appends the frozen part, behind the prompt that is used.

    Args:
      graph: another one than subgraph 0.
      x: samples, of the model's own type.
      batch: how many there are.

    Returns:
      int8 [batch, D]: what the head reads, without a scale.
    """
    there = {self.source: x}
    if self.prompt is not None:
      state = prompt_state(self.spec, self.prompt)
      there[self.gain] = self.declared(graph, self.gain, state.gain)
      there[self.offset] = self.declared(graph, self.offset, state.offset)
    return self._features(graph, there, batch)

  def declared(self, graph: Graph, number: int, variable: Variable) -> Value:
    """What a variable holds, with the scale of a tensor of subgraph 0."""
    held = graph.read(variable)
    return self._with_scale(graph, held, number, variable.shape)

  def flow_of(self, graph: Graph, x: Value, batch: int) -> Value:
    """Appends what comes before the prompt: int8 [batch, n], no scale."""
    there = {self.source: x}
    self._run(graph, there, self.flow, batch)
    flow = there[self.flow]
    size = math.prod(flow.shape[1:])
    return graph.reshaped(flow, [batch, size])

  def prompted(
    self, graph: Graph, flow: Value, gain: Value, offset: Value
  ) -> Value:
    """Appends the frozen part behind a prompt for every sample.

    Args:
      graph: another one than subgraph 0.
      flow: int8 [N, n], as `flow_of` gives it.
      gain: int8 [N, 1, ...].
      offset: int8 [N, ...].

    Returns:
      int8 [N, D]: what the head reads, without a scale.
    """
    batch = flow.shape[0]
    own = shape_of(self.tensor(self.flow))
    shapes = [batch, *own[1:]], gain.shape, offset.shape
    numbers = self.flow, self.gain, self.offset
    given = zip(numbers, (flow, gain, offset), shapes)
    there = {
      number: self._with_scale(graph, value, number, shape)
      for number, value, shape in given
    }
    return self._features(graph, there, batch)

  def _with_scale(
    self, graph: Graph, value: Value, number: int, shape: Sequence[int]
  ) -> Value:
    own = self.tensor(number)
    out = graph.tensor(shape, TYPE_NAMES[own.type], like=own)
    graph.append("RESHAPE", [value, graph.constant(list(shape))], [out])
    return out

  def _features(
    self, graph: Graph, there: dict[int, Value], batch: int
  ) -> Value:
    self._run(graph, there, self.features, batch)
    return graph.reshaped(there[self.features], [batch, self.spec.inputs])

  def _run(
    self, graph: Graph, there: dict[int, Value], wanted: int, batch: int
  ) -> None:
    """Appends operators until a tensor of subgraph 0 is there."""
    for op in self._between({*there}, wanted):
      inputs = [self._input(graph, there, int(i), batch) for i in op.inputs]
      if op_name(self.file.model, op) == "RESHAPE":
        self._reshape(graph, op, inputs, there, batch)
        continue
      for number in op.outputs:
        there[int(number)] = self._like(graph, int(number), batch)
      graph.copied(op, inputs, [there[int(i)] for i in op.outputs])

  def _like(self, graph: Graph, number: int, batch: int) -> Value:
    own = self.tensor(number)
    shape = [int(n) for n in own.shape]
    if batch > 1:
      if not shape or shape[0] != 1:
        raise TflmFgError(
          f"{own.name!r} has the shape {shape}: the model cannot take "
          f"{batch} samples at once; use --batch_size=1"
        )
      shape[0] = batch
    return graph.tensor(shape, TYPE_NAMES[own.type], like=own)

  def _input(
    self, graph: Graph, there: dict[int, Value], number: int, batch: int
  ) -> Value | None:
    if number < 0:
      return None
    if number not in there:  # a constant, or zeros for another input
      own = self.tensor(number)
      made = graph.tensor(
        [int(n) for n in own.shape], TYPE_NAMES[own.type], like=own
      )
      graph.made.tensors[made.number].buffer = own.buffer
      graph.made.tensors[made.number].sparsity = own.sparsity
      there[number] = made
    return there[number]

  def _reshape(
    self,
    graph: Graph,
    op: schema.OperatorT,
    inputs: Sequence[Value | None],
    there: dict[int, Value],
    batch: int,
  ) -> None:
    """Appends a RESHAPE, to a shape of as many samples."""
    out = self._like(graph, int(op.outputs[0]), batch)
    wanted = graph.constant(list(out.shape))
    graph.append("RESHAPE", [inputs[0], wanted], [out])  # type: ignore[list-item]
    there[int(op.outputs[0])] = out

  def _between(self, there: set[int], wanted: int) -> list[schema.OperatorT]:
    """The operators of subgraph 0 that make a tensor, in order.

    Args:
      there: tensors that need not be made.
      wanted: the tensor.
    """
    needed, found = {wanted} - there, []
    for op in reversed(self.model.operators):
      if needed & {int(i) for i in op.outputs}:
        needed |= {int(i) for i in op.inputs} - there
        found.append(op)
    return found[::-1]


def taken_apart(marked: MarkedModel, capacity: int, batch: int) -> Parts:
  """Takes a marked file apart.

  Args:
    marked: a file whose head is marked.
    capacity: how many samples are remembered.
    batch: samples of a call of `adapt_input`.

  Raises:
    TflmFgError: naming what no file that trains itself can have.
  """
  spec = head_spec(marked, capacity)
  name = marked.file.name
  file = ModelFile.open(strip(marked.file, name), name)
  model, graph = file.unpack(), file.subgraph
  if len(model.subgraphs) > 1 or any(
    op.name in _STATEFUL for op in graph.operators
  ):
    raise TflmFgError(
      f"{name}: it has state or subgraphs of its own, as streaming models "
      "have; export the form of it that takes a whole sample at once"
    )
  if any(tensor.is_variable for tensor in graph.tensors):
    raise TflmFgError(
      f"{name}: it keeps state between its runs; a file that trains itself "
      "needs a model whose output depends on its input alone"
    )
  if len(graph.inputs) != 1 or len(graph.outputs) != 1:
    raise TflmFgError(
      f"{name}: it has {len(graph.inputs)} inputs and {len(graph.outputs)} "
      "outputs; a file that trains itself has one of each"
    )
  tensors = {tensor.role: tensor for tensor in marked.mark.trainable}
  parts = Parts(
    FileBuilder(model),
    spec,
    tensors["kernel"].operator,
    graph.inputs[0],
    marked.mark.head_input,
  )
  parts.prompt = prompt_spec(marked, batch)
  if parts.prompt is not None:
    gain, offset = tensors["gain"], tensors["offset"]
    parts.gain, parts.offset = gain.index, offset.index
    parts.flow = int(parts.model.operators[gain.operator].inputs[0])
  return parts


def shape_of(tensor: schema.TensorT) -> tuple[int, ...]:
  """A tensor's shape."""
  return tuple(int(n) for n in np.asarray(tensor.shape))
