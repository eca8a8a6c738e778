"""Say which activations a backward pass would keep, and for how long.

No such pass is run here. It is what forward gradients are compared with, so
wherever it could be made in several ways, the one that needs less is counted:

- it runs from the logits down to the first trained layer and no further;
- activations that depend on no trained number stay as the engine holds them,
  all others are held in the precision of training, or the engine's if that is
  wider;
- a layer keeps its input only for its own kernel's gradient; a ReLU keeps one
  bit a number where its output is not kept anyway, a max pooling one byte,
  additions and averages nothing;
- the gradient of an activation lives from the first layer that gives a share
  of it to the layer that made the activation.

Nothing is computed twice and, as in inference, nothing is done in place.

Buffers are laid out by the same planner as TFLM's own (`arena.plan`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from tflm_fg.memory.arena import Buffer, scratch_sizes
from tflm_fg.memory.dataflow import Dataflow, Node, Piece

_CLIPPING = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LEAKY_RELU")
_FROM_OUTPUT = ("LOGISTIC", "TANH", "SOFTMAX", "LOG_SOFTMAX")
_KEEPS_NOTHING = (
  "ADD",
  "SUB",
  "AVERAGE_POOL_2D",
  "MEAN",
  "SUM",
  "PAD",
  "CONCATENATION",
  "RESHAPE",
  "SQUEEZE",
  "EXPAND_DIMS",
  "QUANTIZE",
  "DEQUANTIZE",
  "MAX_POOL_2D",  # its choices are a mask of their own
  *_CLIPPING,
)
_WITH_BIAS = {
  "FULLY_CONNECTED": 1,
  "CONV_2D": 1,
  "DEPTHWISE_CONV_2D": 1,
  "TRANSPOSE_CONV": 1,
}
"""Position of the kernel; behind it comes a bias, which needs no input."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
  """What trains, in which precision.

  Attributes:
    trained: the constants that train.
    logits: the tensor that the loss is taken from.
    width: bytes a number of an activation and of its gradient.
  """

  trained: frozenset[int]
  logits: int
  width: int


def kept_activations(flow: Dataflow, training: Training) -> tuple[int, ...]:
  """Tensors that a backward pass needs whole, in the order of their indices."""
  nodes = _before(flow, training.logits)
  depends = _depending(nodes, training.trained)
  found: set[int] = set()
  for node in nodes:
    if depends & set(node.outputs):
      found |= _needs(flow, node, training.trained, depends)
  return tuple(sorted(found))


def training_buffers(flow: Dataflow, training: Training) -> list[Buffer]:
  """Buffers of one sample's forward and backward pass.

  Time runs over the operators, the loss and the operators in reverse.

  Args:
    flow: the graph.
    training: what trains.
  """
  nodes = _before(flow, training.logits)
  depends = _depending(nodes, training.trained)
  scratch = [
    Buffer(size, number, number)
    for number, node in enumerate(nodes)
    for size in scratch_sizes(flow, node)
  ]

  def lasting(lives: dict[int, tuple[int, int]]) -> list[Buffer]:
    return [
      Buffer(_held_bytes(flow.pieces[t], training, t in depends), *life)
      for t, life in sorted(lives.items())
    ]

  return [
    *lasting(_activation_lives(flow, training, nodes, depends)),
    *scratch,
    *_masks(flow, training, nodes, depends),
    *lasting(_gradient_lives(training, nodes, depends)),
  ]


def _held_bytes(piece: Piece, training: Training, moves: bool) -> int:
  return max(piece.num_bytes, piece.size * training.width * moves)


def _activation_lives(
  flow: Dataflow, training: Training, nodes: list[Node], depends: set[int]
) -> dict[int, tuple[int, int]]:
  """When each activation is made, and when it is read for the last time."""
  first = dict.fromkeys(flow.inputs, 0)
  last = {training.logits: len(nodes)}
  for number, node in enumerate(nodes):
    back = 2 * len(nodes) - number
    first.update(dict.fromkeys(node.outputs, number))
    for tensor in node.inputs:
      last[tensor] = max(number, last.get(tensor, 0))
    if depends & set(node.outputs):
      for tensor in _needs(flow, node, training.trained, depends):
        last[tensor] = max(back, last.get(tensor, 0))
  moving = flow.activations(tuple(first))
  return {t: (first[t], last.get(t, first[t])) for t in moving}


def _gradient_lives(
  training: Training, nodes: list[Node], depends: set[int]
) -> dict[int, tuple[int, int]]:
  """When each activation's gradient begins, and when its maker takes it."""
  first = {training.logits: len(nodes)}
  last: dict[int, int] = {}
  for number, node in enumerate(nodes):
    back = 2 * len(nodes) - number
    last.update(dict.fromkeys(node.outputs, back))
    # The last reader, here the last to write, is the first on the way back.
    first.update({t: back for t in node.inputs if t in depends})
  return {t: (start, last[t]) for t, start in first.items() if t in depends}


def _masks(
  flow: Dataflow, training: Training, nodes: list[Node], depends: set[int]
) -> list[Buffer]:
  """What is kept of clipped and of chosen numbers, from pass to pass."""
  kept = kept_activations(flow, training)
  return [
    Buffer(size, number, 2 * len(nodes) - number)
    for number, node in enumerate(nodes)
    if depends & set(node.outputs)
    for size in _mask_sizes(flow, node, kept)
  ]


def _before(flow: Dataflow, logits: int) -> list[Node]:
  """The operators that the logits come from, in order."""
  wanted, found = {logits}, []
  for node in reversed(flow.nodes):
    if wanted & set(node.outputs):
      wanted |= set(node.inputs)
      found.append(node)
  return found[::-1]


def _depending(nodes: list[Node], trained: Collection[int]) -> set[int]:
  """Activations that change when a trained number does."""
  moved = set(trained)
  for node in nodes:
    if moved & set(node.inputs):
      moved |= set(node.outputs)
  return moved - set(trained)


def _needs(
  flow: Dataflow, node: Node, trained: Collection[int], depends: set[int]
) -> set[int]:
  """Activations that the gradients of one operator are computed from."""
  if node.name in _KEEPS_NOTHING:
    return set()
  read = set(flow.activations(node.inputs))
  if node.name in _FROM_OUTPUT:
    return set(node.outputs)
  if node.name in _WITH_BIAS:
    kernel = node.inputs[_WITH_BIAS[node.name]]
    return read if kernel in trained or kernel in depends else set()
  if node.name in ("MUL", "BATCH_MATMUL"):
    return _other_factors(node.inputs, read, {*trained, *depends})
  return read | set(node.outputs)  # an operator that we know nothing of


def _other_factors(
  inputs: tuple[int, ...], read: set[int], moved: set[int]
) -> set[int]:
  """Of a product: what a factor that moves is multiplied by."""
  return {
    other
    for place, tensor in enumerate(inputs)
    if tensor in moved
    for other in (*inputs[:place], *inputs[place + 1 :])
    if other in read
  }


def _mask_sizes(flow: Dataflow, node: Node, kept: Collection[int]) -> list[int]:
  """Bytes of which numbers went through, a bit each, or from where, a byte."""
  output = node.outputs[0]
  made = flow.pieces[output].size
  if node.name == "MAX_POOL_2D":
    return [made]
  samples = node.samples or node.name in _CLIPPING
  return [-(-made // 8)] if samples and output not in kept else []
