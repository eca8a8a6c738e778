"""Read a .tflite's operators and sizes: who makes, who reads, how much.

The memory counts start from this, not from the file's own tables.
"""

from __future__ import annotations

import dataclasses
import math

from tflm_fg.tflite.model_file import ModelFile, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
  """A tensor, as memory sees it.

  Attributes:
    shape: its dimensions.
    num_bytes: bytes of all its numbers.
    scales: count of quantization scales.
    is_constant: whether the file holds its numbers.
  """

  shape: tuple[int, ...]
  num_bytes: int
  scales: int
  is_constant: bool

  @property
  def size(self) -> int:
    """Count of numbers."""
    return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
  """An operator.

  Attributes:
    number: its place in the order of execution.
    name: the builtin's name.
    inputs: tensors that it reads, constants among them.
    outputs: tensors that it makes.
    samples: whether a ReLU of some kind is fused behind it.
  """

  number: int
  name: str
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  samples: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataflow:
  """Subgraph 0 of a file.

  Attributes:
    pieces: all tensors, by index.
    nodes: all operators, in order.
    inputs: the graph's inputs.
    outputs: the graph's outputs.
    constant_bytes: of all weights; a shared one counts once.
  """

  pieces: tuple[Piece, ...]
  nodes: tuple[Node, ...]
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  constant_bytes: int

  def activations(self, tensors: tuple[int, ...]) -> tuple[int, ...]:
    """Those of the tensors that are no constants."""
    return tuple(t for t in tensors if not self.pieces[t].is_constant)


def read_dataflow(source: Source, name: str = "model") -> Dataflow:
  """Reads a file's first subgraph.

  Args:
    source: a .tflite.
    name: what to call bytes in errors.

  Raises:
    TflmFgError: if the bytes are not a sound .tflite.
  """
  graph = ModelFile.of(source, name).subgraph
  held = {t.buffer: t.held_bytes for t in graph.tensors}
  return Dataflow(
    pieces=tuple(
      Piece(
        shape=t.shape,
        num_bytes=t.num_bytes,
        scales=len(t.scales),
        is_constant=t.is_constant,
      )
      for t in graph.tensors
    ),
    nodes=tuple(
      Node(
        number=number,
        name=op.name,
        inputs=tuple(i for i in op.inputs if i >= 0),
        outputs=op.outputs,
        samples=op.has_activation,
      )
      for number, op in enumerate(graph.operators)
    ),
    inputs=graph.inputs,
    outputs=graph.outputs,
    constant_bytes=sum(held.values()),
  )
