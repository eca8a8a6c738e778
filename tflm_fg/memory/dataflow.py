"""Read a .tflite's operators and sizes: who makes, who reads, how much.

The memory counts start from this, not from the file's own tables.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tflm_fg.tflite import model_file
from tflm_fg.tflite.verify_indices import ITEM_BYTES


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


def read_dataflow(data: bytes, name: str = "model") -> Dataflow:
  """Reads a file's first subgraph.

  Args:
    data: a .tflite.
    name: what to call the file in errors.

  Raises:
    TflmFgError: if the bytes are not a sound .tflite.
  """
  model = model_file.read_shared(data, name)
  graph = model.subgraphs[0]
  held = {t.buffer: model.buffers[t.buffer].data for t in graph.tensors}
  return Dataflow(
    pieces=tuple(_piece(t, held[t.buffer] is not None) for t in graph.tensors),
    nodes=tuple(
      Node(
        number=number,
        name=model_file.op_name(model, op),
        inputs=tuple(int(i) for i in op.inputs if i >= 0),
        outputs=tuple(int(i) for i in op.outputs if i >= 0),
        samples=bool(getattr(op.builtinOptions, "fusedActivationFunction", 0)),
      )
      for number, op in enumerate(graph.operators or [])
    ),
    inputs=tuple(int(i) for i in graph.inputs),
    outputs=tuple(int(i) for i in graph.outputs),
    constant_bytes=sum(len(d) for d in held.values() if d is not None),
  )


def _piece(tensor: Any, is_constant: bool) -> Piece:
  shape = () if tensor.shape is None else tuple(int(d) for d in tensor.shape)
  quantization = tensor.quantization
  scale = None if quantization is None else quantization.scale
  return Piece(
    shape=shape,
    num_bytes=math.prod(shape) * ITEM_BYTES.get(tensor.type, 0),
    scales=0 if scale is None else len(scale),
    is_constant=is_constant,
  )
