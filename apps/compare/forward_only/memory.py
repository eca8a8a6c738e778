"""Count the bytes that training from scratch takes, by rules that are said.

The rules are our reading of the three columns that the table of TinyFoA (Huang
and Aminifar, AAAI 2025) has, for one sample at a time:

forward   the weights that must be at hand at once while a pass runs, and the
          inputs and outputs of the widest layer. One layer's weights where
          layers train one by one.
gradient  the gradient of the weights that are trained at once, and the
          activations that must be kept until they are used.
update    the optimizer's state of the weights that are trained at once.

A float has 4 bytes, a binary number an eighth of one. Biases are counted where
a layer has them. What is random and fixed is drawn anew from its seed and takes
nothing; code and the samples themselves are not counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

FLOAT = 4.0
BIT = 1 / 8

Shapes = Sequence[tuple[int, int]]
"""(inputs, outputs) of layers."""


class Bytes(NamedTuple):
  """What training holds at once.

  Attributes:
    forward: while a pass runs.
    gradient: beside that, until the update.
    update: state of the optimizer.
  """

  forward: float
  gradient: float
  update: float

  @property
  def total(self) -> float:
    """All three."""
    return self.forward + self.gradient + self.update


def weights(shapes: Shapes, biases: bool = True) -> int:
  """Numbers of layers."""
  return sum(inputs * outputs + outputs * biases for inputs, outputs in shapes)


def largest(shapes: Shapes) -> tuple[int, int]:
  """The layer with the most weights."""
  return max(shapes, key=lambda shape: shape[0] * shape[1])


def widest(shapes: Shapes) -> int:
  """Inputs and outputs of the layer that has the most of them together."""
  return max(inputs + outputs for inputs, outputs in shapes)


def kept(shapes: Shapes) -> int:
  """The input, and the outputs of every layer."""
  return shapes[0][0] + sum(outputs for _, outputs in shapes)


def shapes_of(widths: tuple[int, ...]) -> Shapes:
  """(inputs, outputs) of every layer."""
  return list(itertools.pairwise(widths))


def whole_network(shapes: Shapes, states: int, biases: bool = True) -> Bytes:
  """All layers train at once from all activations: backpropagation, PEPITA.

  Args:
    shapes: of all layers.
    states: of the optimizer, for each number.
    biases: whether layers have them.
  """
  count = weights(shapes, biases)
  return Bytes(
    forward=FLOAT * (count + widest(shapes)),
    gradient=FLOAT * (count + kept(shapes)),
    update=FLOAT * states * count,
  )
