"""Turn two forward passes into one slope.

Finite differences, not Jacobian-vector products: an inference engine shows
losses only. Two-point SPSA is Spall's (1992); sign-m-SPSA, the mean of m
signs times their directions, is our reading of "Stepping Forward on the Last
Mile" (Feng et al., NeurIPS 2024).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tflm_fg.base import (
  Estimate,
  Int64,
  Params,
  TflmFgError,
  Vectors,
  Weights,
)
from tflm_fg.directions import Directions
from tflm_fg.quant import Layout, round_divide, round_shift

ONE = 1 << 16
"""1.0 in Q16: a slope's fixed point."""

METHODS = ("sign-m-spsa", "spsa")

_LN2 = round(np.log(2) * ONE)
_EPSILON_BITS = 8


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

  def __call__(
    self, passes: Callable[[Weights], int], params: Params, step: int
  ) -> Estimate:
    """Runs 2 m passes.

    Args:
      passes: weights -> sum of the losses of the step's batch.
      params: where the slopes are taken.
      step: the directions' address.
    """
    drawn = self.directions.at(step, self.num_directions)
    losses = np.empty((self.num_directions, 2), np.int64)
    for i in range(self.num_directions):
      delta = self._perturbation(drawn, i)
      back = Vectors(-delta.kernels, -delta.biases)
      losses[i, 0] = passes(self.layout.move(params, delta))
      losses[i, 1] = passes(self.layout.move(params, back))
    return Estimate(step, self._slopes(losses), losses.reshape(-1))

  def _perturbation(self, drawn: Vectors, i: int) -> Vectors:
    """Gives eps z in master and bias units, rounded once."""
    bits = _EPSILON_BITS + self.directions.unit.bit_length() - 1
    steps, epsilon = self.layout.step_units, self._epsilon
    return Vectors(
      round_shift(steps.kernels * drawn.kernels[i] * epsilon, bits),
      round_shift(steps.biases * drawn.biases[i] * epsilon, bits),
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
    drawn = self.directions.at(estimate.step, self.num_directions)
    scale = self.num_directions * self.directions.unit
    kernels, biases = (
      round_divide(estimate.slopes @ z.astype(np.int64), scale) for z in drawn
    )
    return Vectors(kernels, biases)
