"""Turn masters and directions into the weights that a step's passes run."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from tflm_fg.base import Int8, Int32, Params, Vectors, Weights
from tflm_fg.quant import MASTER_UNIT, Layout, round_shift
from tflm_fg.sides import Sides

NUMBERS_AT_ONCE = 1 << 22
"""Perturbed numbers of a lot, of each sign: bounds the memory of many m."""

EPSILON_BITS = 8

Dither = Callable[[int], Int32]
"""Step -> int32 [K] in 0 to 255, what all passes of a step round with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Queries:
  """Weights at params + eps z, and where asked for at params - eps z.

  Attributes:
    layout: where the tensors lie and how large their steps are.
    unit: what counts as 1 in a direction.
    epsilon: the perturbation in 1/256 of a step.
    count: directions of a step.
    signs: (1, -1) for both sides or (1,) for one.
    dither: how perturbed kernels are rounded; None for to the nearest.
  """

  layout: Layout
  unit: int
  epsilon: int
  count: int
  signs: tuple[int, ...] = (1, -1)
  dither: Dither | None = None

  def lots(
    self, params: Vectors | Params, drawn: Int8, step: int
  ) -> Iterator[list[Weights]]:
    """The weights of a step.

    Args:
      params: masters, of any width and range.
      drawn: int8 [count, K + B].
      step: what the dither is drawn by.

    Yields:
      The sides of some directions, in turn. They lie in buffers that the next
      lot overwrites.
    """
    dither = MASTER_UNIT >> 1 if self.dither is None else self.dither(step)
    for first, last, sides in self._sides:
      delta = self._perturbation(drawn[first:last])
      yield sides.move(params, delta, dither)

  @functools.cached_property
  def _sides(self) -> list[tuple[int, int, Sides]]:
    """Buffers for lots of directions, from `first` to before `last`."""
    numbers = self.layout.num_kernels + self.layout.num_biases
    size = max(1, min(self.count, NUMBERS_AT_ONCE // numbers))
    whole = Sides(self.layout, size, self.signs)
    ends = [*range(0, self.count, size), self.count]
    return [
      (a, b, whole if b - a == size else Sides(self.layout, b - a, self.signs))
      for a, b in itertools.pairwise(ends)
    ]

  @functools.cached_property
  def _unit_steps(self) -> Vectors:
    """Master and bias units of eps, for directions of signs and zeros."""
    kernels, biases = (
      round_shift(steps * self.epsilon, EPSILON_BITS)
      for steps in self.layout.step_units
    )
    return Vectors(kernels.astype(np.int32), biases)

  def _perturbation(self, some: Int8) -> Vectors:
    """Gives eps z in master and bias units, rounded once."""
    kernels = self.layout.num_kernels
    split = some[:, :kernels], some[:, kernels:]
    if self.unit == 1:  # rounding is symmetric: the sign may come behind it
      return Vectors(*(z * u for z, u in zip(split, self._unit_steps)))
    bits = EPSILON_BITS + self.unit.bit_length() - 1
    return Vectors(
      *(
        round_shift(steps * z * self.epsilon, bits)
        for z, steps in zip(split, self.layout.step_units)
      )
    )
