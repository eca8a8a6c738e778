"""Turn two forward passes into one slope.

Finite differences, not Jacobian-vector products: an inference engine shows
losses only. Two-point SPSA is Spall's (1992); sign-m-SPSA, the mean of m
signs times their directions, is our reading of "Stepping Forward on the Last
Mile" (Feng et al., NeurIPS 2024).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np

from tflm_fg.fixed_point.arithmetic import round_divide, round_shift, saturate
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, Passes, TrainState
from tflm_fg.gradients.directions import Source
from tflm_fg.gradients.perturbation import (
  EPSILON_BITS,
  Dither,
  PerturbedWeights,
)
from tflm_fg.types import Int8, Int64, TflmFgError, Vectors, Weights

ONE = 1 << 16
"""1.0 in Q16: a slope's fixed point."""

METHODS = ("sign-m-spsa", "spsa")

_LN2 = round(np.log(2) * ONE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForwardGradient:
  """What all estimators share that perturb weights along directions.

  Attributes:
    layout: where the tensors lie and how large their steps are.
    directions: gives z.
    epsilon_lsb: size of the perturbation where z is 1: int8 steps of a
      kernel, output steps of a bias. Under 1 most of it is rounded away.
    num_directions: m, directions a step.
    batch_size: samples in a loss, to make a slope that of the mean.
    dither: how perturbed kernels are rounded; None for to the nearest.
  """

  layout: Layout
  directions: Source
  epsilon_lsb: float
  num_directions: int
  batch_size: int
  dither: Dither | None = None

  most_directions: ClassVar[int] = 1024

  def __post_init__(self) -> None:
    if not 1 / 256 <= self.epsilon_lsb <= 127:
      raise TflmFgError(
        f"epsilon_lsb={self.epsilon_lsb}: need 1/256 to 127 int8 steps"
      )
    if not 1 <= self.num_directions <= self.most_directions:
      raise TflmFgError(
        f"num_directions={self.num_directions}: need 1 to "
        f"{self.most_directions}"
      )

  @property
  def _epsilon(self) -> int:
    return round(self.epsilon_lsb * (1 << EPSILON_BITS))

  @functools.cached_property
  def _pairs(self) -> PerturbedWeights:
    """Both sides of m directions."""
    return self._queries(self.num_directions)

  def _queries(
    self, count: int, signs: tuple[int, ...] = (1, -1)
  ) -> PerturbedWeights:
    return PerturbedWeights(
      layout=self.layout,
      unit=self.directions.unit,
      epsilon=self._epsilon,
      count=count,
      signs=signs,
      dither=self.dither,
    )

  def _per_step(self, difference: Int64) -> Int64:
    """A batch's differences over two epsilons -> slopes a sample and step.

    From the loss's integer units to Q16 of what `mean_nats` makes of them:
    nats, for cross-entropy. Saturated at what a journal holds.
    """
    real = round_shift(difference * _LN2, 16 - EPSILON_BITS)
    slopes = round_divide(real, 2 * self._epsilon * self.batch_size)
    return saturate(slopes, np.int32).astype(np.int64)

  def _two_sided(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs both sides of m directions: the slopes a step, and the losses."""
    losses = run(passes, self.weight_sets(state))
    return Estimate(self._per_step(differences(losses)), losses)

  def _drawn(self, estimate: Estimate, state: TrainState) -> Int8:
    """The directions that an estimate's slopes are along, drawn again."""
    # As many as it has slopes: the count may grow in a run.
    return self.directions.of(state, len(estimate.slopes))

  def weight_sets(self, state: TrainState) -> Iterator[list[Weights]]:
    """Weights on both sides of the masters along each direction of a step."""
    drawn = self.directions.of(state, self.num_directions)
    return self._pairs.weight_sets(state.params, drawn, state.step)

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs a step's passes; each method has its own."""
    raise NotImplementedError

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """The mean of the directions by their slopes.

    Returns:
      int64 [K] and [B]: 1/m sum_i slope_i z_i in Q16, per step of each
      tensor's own grid.
    """
    summed = weighted_sum(self._drawn(estimate, state), estimate.slopes)
    flat = round_divide(summed, len(estimate.slopes) * self.directions.unit)
    return split(self.layout, flat)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CentralDifference(ForwardGradient):
  """Slopes from pairs of passes at params + eps z and params - eps z.

  Attributes:
    method: "sign-m-spsa" keeps the sign of each difference and divides
      nothing; "spsa" keeps the difference per int8 step, in the loss's unit
      (nats, for cross-entropy).
  """

  method: str

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.method not in METHODS:
      raise TflmFgError(
        f"method {self.method!r} is unknown; choose one of {', '.join(METHODS)}"
      )

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs 2 m passes.

    Args:
      passes: of the step's batch.
      state: where the slopes are taken.
    """
    if self.method == "spsa":
      return self._two_sided(passes, state)
    losses = run(passes, self.weight_sets(state))
    return Estimate(np.sign(differences(losses)) * ONE, losses)


def run(passes: Passes, weight_sets: Iterable[list[Weights]]) -> Int64:
  """Runs all lots: int64 [P], the losses in their order."""
  losses = [passes.losses(lot) for lot in weight_sets]
  return losses[0] if len(losses) == 1 else np.concatenate(losses)


def differences(losses: Int64) -> Int64:
  """What each pair of losses, at plus and at minus, differs by."""
  sides = losses.reshape(-1, 2)
  return sides[:, 0] - sides[:, 1]


def weighted_sum(drawn: Int8, weights: Int64) -> Int64:
  """Sums directions [m, n] by integer weights [m]: int64 [n]."""
  # NumPy's product of integer matrices is slower than this.
  weighted = drawn.astype(np.int64)
  weighted *= weights[:, None]
  summed: Int64 = np.add.reduce(weighted, axis=0)
  return summed


def split(layout: Layout, flat: Int64) -> Vectors:
  """Numbers in a row as kernels and biases."""
  return Vectors(flat[: layout.num_kernels], flat[layout.num_kernels :])


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneSided(ForwardGradient):
  """Slopes (L(w + eps z_i) - L(w)) / spread, without a unit.

  The spread is the standard deviation of all N + 1 losses, the centre's among
  them: then no slope is larger than sqrt(2 N + 2), and one direction gives
  plus or minus 2.
  """

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs N + 1 passes, the centre first.

    Args:
      passes: of the step's batch.
      state: where the slopes are taken.
    """
    drawn = self.directions.of(state, self.num_directions)
    centre = np.zeros((1, drawn.shape[1]), np.int8)
    weight_sets = self._around.weight_sets(
      state.params, np.concatenate([centre, drawn]), state.step
    )
    losses = run(passes, weight_sets)
    return Estimate(over_spread(losses - losses[0])[1:], losses)

  @functools.cached_property
  def _around(self) -> PerturbedWeights:
    return self._queries(self.num_directions + 1, signs=(1,))


def over_spread(differences: Int64) -> Int64:
  """Divides by the standard deviation, in Q16; zeros where all are equal."""
  values = [int(d) for d in differences]
  count, total = len(values), sum(values)
  spread = count * sum(v * v for v in values) - total * total
  if not spread:
    return np.zeros_like(differences)
  root = math.isqrt(spread << 32)  # count standard deviations, in Q16
  half = root // 2
  return np.array(
    [(abs(v) * count * ONE * ONE + half) // root * _sign(v) for v in values],
    np.int64,
  )


def _sign(value: int) -> int:
  return (value > 0) - (value < 0)


_RATIO_BITS = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharpnessAware(ForwardGradient):
  """Signs of differences around a point uphill; sign-m-SPSA in both places.

  The first m directions of a step say what is uphill, the next m are fresh,
  so that the second estimate is its own. Only its slopes are kept: replay
  needs no more.

  Attributes:
    rho_lsb: length of the move uphill: its root mean square over the numbers
      that may move, in int8 steps.
  """

  rho_lsb: float = 1.0

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs 2 m passes here, then 2 m uphill.

    Args:
      passes: of the step's batch.
      state: where the step is taken from.
    """
    m = self.num_directions
    drawn = self.directions.of(state, 2 * m)
    here = run(
      passes, self._pairs.weight_sets(state.params, drawn[:m], state.step)
    )
    uphill = self._uphill(drawn[:m], _signs(here))
    neighbour = Vectors(*(p + u for p, u in zip(state.params, uphill)))
    there = run(
      passes, self._pairs.weight_sets(neighbour, drawn[m:], state.step)
    )
    return Estimate(_signs(there) * ONE, np.concatenate([here, there]))

  def _uphill(self, drawn: Int8, signs: Int64) -> Vectors:
    """Gives rho g / |g| sqrt(d), in units; zeros on flat ground."""
    g = weighted_sum(drawn, signs)
    square = int((g * g).sum())
    count = int(np.count_nonzero(drawn.any(axis=0)))
    rho = round(self.rho_lsb * (1 << EPSILON_BITS))
    ratio = math.isqrt((count << 2 * _RATIO_BITS) // max(square, 1))
    steps = round_shift(g * ratio * rho, _RATIO_BITS)
    units = np.concatenate(self.layout.step_units)
    return split(self.layout, round_shift(steps * units, EPSILON_BITS))

  def _drawn(self, estimate: Estimate, state: TrainState) -> Int8:
    """The second directions: those of the slopes."""
    m = len(estimate.slopes)
    return self.directions.of(state, 2 * m)[m:]


def _signs(losses: Int64) -> Int64:
  return np.sign(differences(losses))
