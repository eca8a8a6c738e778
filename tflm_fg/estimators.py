"""Turn two forward passes into one slope.

Finite differences, not Jacobian-vector products: an inference engine shows
losses only. Two-point SPSA is Spall's (1992); sign-m-SPSA, the mean of m
signs times their directions, is our reading of "Stepping Forward on the Last
Mile" (Feng et al., NeurIPS 2024).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator

import numpy as np

from tflm_fg.base import (
  Estimate,
  Int64,
  Params,
  Passes,
  TflmFgError,
  Vectors,
  Weights,
)
from tflm_fg.directions import Directions
from tflm_fg.quant import Layout, round_divide, round_shift
from tflm_fg.sides import Sides

ONE = 1 << 16
"""1.0 in Q16: a slope's fixed point."""

METHODS = ("sign-m-spsa", "spsa")

_LN2 = round(np.log(2) * ONE)
_EPSILON_BITS = 8

_NUMBERS_AT_ONCE = 1 << 22
"""Perturbed numbers of a lot, of each sign: bounds the memory of many m."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CentralDifference:
  """Slopes from pairs of passes at params + eps z and params - eps z.

  Attributes:
    layout: where the tensors lie and how large their steps are.
    directions: draws z.
    method: "sign-m-spsa" keeps the sign of each difference and divides
      nothing; "spsa" keeps the difference per int8 step, in nats.
    epsilon_lsb: size of the perturbation where z is 1: int8 steps of a
      kernel, output steps of a bias. Under 1 most of it is rounded away.
    num_directions: m, pairs a step.
    batch_size: clips in a loss, to make spsa's slope that of the mean.
  """

  layout: Layout
  directions: Directions
  method: str
  epsilon_lsb: float
  num_directions: int
  batch_size: int

  def __post_init__(self) -> None:
    if self.method not in METHODS:
      raise TflmFgError(
        f"method {self.method!r} is unknown; choose one of {', '.join(METHODS)}"
      )
    if not 1 / 256 <= self.epsilon_lsb <= 127:
      raise TflmFgError(
        f"epsilon_lsb={self.epsilon_lsb}: need 1/256 to 127 int8 steps"
      )
    if not 1 <= self.num_directions <= 1024:
      raise TflmFgError(f"num_directions={self.num_directions}: need 1 to 1024")

  @property
  def _epsilon(self) -> int:
    return round(self.epsilon_lsb * (1 << _EPSILON_BITS))

  def __call__(self, passes: Passes, params: Params, step: int) -> Estimate:
    """Runs 2 m passes.

    Args:
      passes: of the step's batch.
      params: where the slopes are taken.
      step: the directions' address.
    """
    lots = [passes.losses(sides) for sides in self.lots(params, step)]
    losses = lots[0] if len(lots) == 1 else np.concatenate(lots)
    return Estimate(step, self._slopes(losses.reshape(-1, 2)), losses)

  def lots(self, params: Params, step: int) -> Iterator[list[Weights]]:
    """Weights on both sides of params along each direction of a step.

    Yields:
      params + eps z and params - eps z of some directions, in turn. They lie
      in buffers that the next lot overwrites.
    """
    drawn = self.directions.at(step, self.num_directions)
    for first, last, sides in self._sides:
      yield sides.move(params, self._perturbation(drawn, first, last))

  @functools.cached_property
  def _sides(self) -> list[tuple[int, int, Sides]]:
    """Buffers for lots of directions, from `first` to before `last`."""
    numbers = self.layout.num_kernels + self.layout.num_biases
    size = max(1, min(self.num_directions, _NUMBERS_AT_ONCE // numbers))
    whole = Sides(self.layout, size)
    ends = [*range(0, self.num_directions, size), self.num_directions]
    return [
      (a, b, whole if b - a == size else Sides(self.layout, b - a))
      for a, b in itertools.pairwise(ends)
    ]

  @functools.cached_property
  def _unit_steps(self) -> Vectors:
    """Master and bias units of eps, for directions of plus and minus one."""
    kernels, biases = (
      round_shift(steps * self._epsilon, _EPSILON_BITS)
      for steps in self.layout.step_units
    )
    return Vectors(kernels.astype(np.int32), biases)

  def _perturbation(self, drawn: Vectors, first: int, last: int) -> Vectors:
    """Gives eps z in master and bias units, rounded once."""
    some = [z[first:last] for z in drawn]
    unit = self.directions.unit
    if unit == 1:  # rounding is symmetric: the sign may come behind it
      return Vectors(*(z * u for z, u in zip(some, self._unit_steps)))
    bits = _EPSILON_BITS + unit.bit_length() - 1
    return Vectors(
      *(
        round_shift(steps * z * self._epsilon, bits)
        for z, steps in zip(some, self.layout.step_units)
      )
    )

  def _slopes(self, losses: Int64) -> Int64:
    difference = losses[:, 0] - losses[:, 1]
    if self.method == "sign-m-spsa":
      return np.sign(difference) * ONE
    # Q16 bits -> Q16 nats of the mean clip, per int8 step of perturbation.
    nats = round_shift(difference * _LN2, 16 - _EPSILON_BITS)
    return round_divide(nats, 2 * self._epsilon * self.batch_size)

  def gradient(self, estimate: Estimate) -> Vectors:
    """Draws the directions again and sums them by their slopes.

    Returns:
      int64 [K] and [B]: 1/m sum_i slope_i z_i in Q16, per step of each
      tensor's own grid.
    """
    m = len(estimate.slopes)  # of the step: the count may grow in a run
    drawn = self.directions.flat_at(estimate.step, m)
    scale = m * self.directions.unit
    # NumPy's product of integer matrices is slower than this.
    weighted = drawn.astype(np.int64)
    weighted *= estimate.slopes[:, None]
    flat = round_divide(np.add.reduce(weighted, axis=0), scale)
    kernels = self.layout.num_kernels
    return Vectors(flat[:kernels], flat[kernels:])
