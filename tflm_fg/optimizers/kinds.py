"""The names of optimizers, roundings and precisions; optimizers add their own.

An optimizer registers itself where it is defined, so that nothing else needs
to name it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tflm_fg.fixed_point.state import Transform

ROUNDINGS = ("nearest", "stochastic", "error-feedback")

PRECISIONS = ("16w8a", "8w8a")


class Optimizer(NamedTuple):
  """An optimizer that a method can be given by name.

  Attributes:
    make: (layout, rate, momentum, rounding) -> the optimizer.
    most_rate: the largest learning rate that it takes, in int8 steps; None for
      no end.
    boxes_biases: whether it remembers where biases started.
    keeps_squares: whether it sums up each number's squared slopes.
  """

  make: Callable[..., Transform]
  most_rate: float | None = None
  boxes_biases: bool = False
  keeps_squares: bool = False


OPTIMIZERS: dict[str, Optimizer] = {}
"""By name."""


def register(name: str, **traits: Any) -> Callable[..., Any]:
  """Makes a function that builds an optimizer known by name."""

  def known(make: Callable[..., Transform]) -> Callable[..., Transform]:
    OPTIMIZERS[name] = Optimizer(make, **traits)
    return make

  return known
