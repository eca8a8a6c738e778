"""Lay buffers with lifetimes into one arena, as TFLM does, and count it.

The planner is written from TFLM's public description of its greedy one
(greedy_memory_planner.h, docs/memory_management.md): the biggest buffer first,
each at the first gap between those that are alive at the same time. What else
the arena holds is book-keeping. Its sizes are those of the 64-bit build of
TFLM on PyPI, measured operator by operator on chains of one to three of each;
a 32-bit microcontroller needs less of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tflm_fg.memory.dataflow import Dataflow, Node

ALIGNMENT = 16

TENSOR_BYTES, NODE_BYTES = 24, 64
"""A tensor's entry (TfLiteEvalTensor), an operator's with its registration."""

ENDPOINT_BYTES, QUANTIZATION_BYTES = 64, 32
"""A graph input or output: its full TfLiteTensor, and its scale if it has one.
TFLM makes them when a program asks for the tensors, as every program does."""

POINTER_BYTES = 8

INTERPRETER_BYTES = 488
"""The allocator's and the graph's own structures, whatever the model."""


class Buffer(NamedTuple):
  """Bytes that are needed from one point in time to another, both included."""

  size: int
  first: int
  last: int


class Costs(NamedTuple):
  """What one operator of a kind asks of the arena's persistent part.

  Attributes:
    options: bytes of its options, parsed from the file.
    data: bytes that its kernel keeps from preparation to the passes.
    scratch_buffers: how many it asks for; each has a handle of 8 bytes.
  """

  options: int
  data: int
  scratch_buffers: int = 0


COSTS: dict[str, Costs] = {
  "ADD": Costs(8, 60),
  "AVERAGE_POOL_2D": Costs(40, 32),
  "BATCH_MATMUL": Costs(3, 48),
  "CONCATENATION": Costs(8, 80),
  "CONV_2D": Costs(28, 80),
  "DEPTHWISE_CONV_2D": Costs(28, 80),
  "DEQUANTIZE": Costs(0, 32),
  "FULLY_CONNECTED": Costs(32, 72),
  "LEAKY_RELU": Costs(4, 24),
  "LOGISTIC": Costs(0, 16),
  "MAX_POOL_2D": Costs(40, 32),
  "MEAN": Costs(1, 44, 3),
  "MUL": Costs(4, 36),
  "PAD": Costs(0, 56),
  "QUANTIZE": Costs(0, 32),
  "RELU": Costs(0, 28),
  "RELU6": Costs(0, 8),
  "RESHAPE": Costs(36, 0),
  "SOFTMAX": Costs(4, 80),
  "SUB": Costs(8, 52),
  "TANH": Costs(0, 16),
  "TRANSPOSE_CONV": Costs(20, 88, 1),
}

_OTHER = Costs(8, 48)
"""A guess in the middle, for operators that were not measured."""

_PER_CHANNEL = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_SOFTMAX_TABLE = 2 * 513
"""An int16 SOFTMAX keeps two tables, of 513 int16 numbers each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arena:
  """Bytes of TFLM's arena for one sample.

  Attributes:
    activations: planned anew for every pass, TFLM's "head".
    bookkeeping: what lives as long as the interpreter, TFLM's "tail".
  """

  activations: int
  bookkeeping: int

  @property
  def total(self) -> int:
    """All of it."""
    return self.activations + self.bookkeeping


def align(size: int, to: int = ALIGNMENT) -> int:
  """The next multiple of 16, or of another boundary."""
  return -(-size // to) * to


def plan(buffers: Sequence[Buffer]) -> list[int]:
  """Gives every buffer an offset, so that none that live together overlap.

  Args:
    buffers: in the order in which they were asked for; of two that are
      equally big the later is placed first.

  Returns:
    One offset a buffer, in bytes.
  """
  numbers = range(len(buffers))
  order = sorted(numbers, key=lambda i: (buffers[i].size, i), reverse=True)
  offsets = [0] * len(buffers)
  placed: list[int] = []
  for number in order:
    wanted = buffers[number]
    alive = [
      (offsets[i], offsets[i] + buffers[i].size)
      for i in placed
      if buffers[i].first <= wanted.last and wanted.first <= buffers[i].last
    ]
    offsets[number] = _first_gap(sorted(alive), wanted.size)
    placed.append(number)
  return offsets


def _first_gap(taken: Iterable[tuple[int, int]], size: int) -> int:
  """The lowest offset at which so many bytes are free."""
  offset = 0
  for start, end in taken:
    if start - offset >= size:
      break
    offset = max(offset, end)
  return offset


def peak(buffers: Sequence[Buffer]) -> int:
  """Bytes that a plan of these buffers takes, each rounded up to 16."""
  rounded = [b._replace(size=align(b.size)) for b in buffers]
  ends = (o + b.size for o, b in zip(plan(rounded), rounded))
  return max(ends, default=0)


def arena_of(flow: Dataflow) -> Arena:
  """The arena that TFLM needs to run a file, one sample at a time."""
  return Arena(
    activations=peak(inference_buffers(flow)), bookkeeping=_bookkeeping(flow)
  )


def inference_buffers(flow: Dataflow) -> list[Buffer]:
  """Every activation from its operator to its last reader, and scratch."""
  first = dict.fromkeys(flow.inputs, 0)
  last: dict[int, int] = {}
  for node in flow.nodes:
    last.update(dict.fromkeys(node.inputs, node.number))
    first.update(dict.fromkeys(node.outputs, node.number))
  last.update(dict.fromkeys(flow.outputs, len(flow.nodes) - 1))
  found = [
    Buffer(flow.pieces[t].num_bytes, start, last.get(t, start))
    for t, start in sorted(first.items())
    if not flow.pieces[t].is_constant
  ]
  for node in flow.nodes:
    found += [
      Buffer(size, node.number, node.number)
      for size in scratch_sizes(flow, node)
    ]
  return found


def scratch_sizes(flow: Dataflow, node: Node) -> list[int]:
  """What an operator's reference kernel asks for while it runs, in bytes."""
  made = flow.pieces[node.outputs[0]] if node.outputs else None
  if made is not None and node.name == "TRANSPOSE_CONV":
    wide = made.num_bytes > made.size  # sums of int16 activations: 64 bits
    return [made.size * (8 if wide else 4)]
  if made is not None and node.name == "MEAN" and len(node.inputs) == 2:
    read, axes = (flow.pieces[t] for t in node.inputs)
    return [4 * len(read.shape), 4 * axes.size, 4 * made.size]
  return []


def _bookkeeping(flow: Dataflow) -> int:
  """Goes through TFLM's persistent allocations, from the end of the arena."""
  costs = [COSTS.get(node.name, _OTHER) for node in flow.nodes]
  used = INTERPRETER_BYTES
  used += TENSOR_BYTES * len(flow.pieces) + NODE_BYTES * len(flow.nodes)
  for cost in costs:  # options of booleans alone need no boundary
    used = align(used + cost.options, 1 if cost.options % 4 else 4)
  kept = [cost.data for cost in costs]
  for node in flow.nodes:
    kept += _kept_arrays(flow, node)
  for size in kept:
    used = align(used + size) if size else used
  used += POINTER_BYTES * sum(cost.scratch_buffers for cost in costs)
  for endpoints in (flow.inputs, flow.outputs):
    used = align(used + POINTER_BYTES * len(endpoints))
  for tensor in (*flow.inputs, *flow.outputs):
    used += ENDPOINT_BYTES
    used += QUANTIZATION_BYTES * bool(flow.pieces[tensor].scales)
  return align(used)


def _kept_arrays(flow: Dataflow, node: Node) -> list[int]:
  """Arrays that a kernel keeps and whose length the shapes decide."""
  pieces = [flow.pieces[t] for t in node.inputs]
  if not pieces or not node.outputs:
    return []
  if node.name in _PER_CHANNEL:  # a multiplier and a shift a channel
    return [4 * flow.pieces[node.outputs[0]].shape[-1]] * 2
  if node.name == "FULLY_CONNECTED" and max(p.scales for p in pieces) > 1:
    return [4 * max(p.scales for p in pieces)] * 2
  if node.name == "SOFTMAX" and pieces[0].num_bytes > pieces[0].size:
    return [_SOFTMAX_TABLE] * 2
  if node.name == "BATCH_MATMUL":
    return [4 * (1 + len(piece.shape)) for piece in pieces[:2]]
  return []
