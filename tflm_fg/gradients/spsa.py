"""Turn two forward passes into one slope.

Finite differences, not Jacobian-vector products: an engine shows losses only.
Two-point SPSA is Spall's (1992); sign-m-SPSA, the mean of m signs times their
directions, is our reading of "Stepping Forward on the Last Mile" (Feng et al.,
NeurIPS 2024).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from tflm_fg.fixed_point.arithmetic import round_divide, round_shift, saturate
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.native import native
from tflm_fg.fixed_point.state import (
  DirectionSource,
  Estimate,
  Passes,
  TrainState,
)
from tflm_fg.gradients.directions import KINDS, Directions
from tflm_fg.gradients.method import CHOSEN, Method, TrainedPart, register
from tflm_fg.gradients.perturbation import (
  EPSILON_BITS,
  Dither,
  PerturbedWeights,
)
from tflm_fg.gradients.shaped_directions import SPARSE_BY, Masks, Shaped
from tflm_fg.optimizers.rounding import (
  perturbation_dither,
  warn_if_rounded_away,
)
from tflm_fg.types import Int8, Int64, TflmFgError, Vectors, Weights

ONE = 1 << 16
"""1.0 in Q16: a slope's fixed point."""

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
  directions: DirectionSource
  epsilon_lsb: float
  num_directions: int
  batch_size: int
  dither: Dither | None = None

  most_directions: ClassVar[int] = 1024

  @property
  def _epsilon(self) -> int:
    return round(self.epsilon_lsb * (1 << EPSILON_BITS))

  @functools.cached_property
  def _pairs(self) -> PerturbedWeights:
    """Both sides of m directions."""
    return self._perturbed(self.num_directions)

  def _perturbed(
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
    drawn, slopes = self._drawn(estimate, state), estimate.slopes
    divisor = len(slopes) * self.directions.unit
    if (c := native()) is not None:
      flat = np.empty(drawn.shape[1], np.int64)
      c.mean_direction(drawn, slopes, divisor, flat)
    else:
      flat = round_divide(weighted_sum(drawn, slopes), divisor)
    return split(self.layout, flat)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CentralDifference(ForwardGradient):
  """Slopes from pairs of passes at params + eps z and params - eps z.

  Attributes:
    signs_only: keep the sign of each difference and divide nothing; else the
      difference per int8 step, in the loss's unit (nats, for cross-entropy).
  """

  signs_only: bool

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs 2 m passes.

    Args:
      passes: of the step's batch.
      state: where the slopes are taken.
    """
    if not self.signs_only:
      return self._two_sided(passes, state)
    losses = run(passes, self.weight_sets(state))
    return Estimate(signs(losses) * ONE, losses)


def run(passes: Passes, weight_sets: Iterable[list[Weights]]) -> Int64:
  """Runs all weight sets: int64 [P], the losses in their order."""
  losses = [passes.losses(lot) for lot in weight_sets]
  return losses[0] if len(losses) == 1 else np.concatenate(losses)


def differences(losses: Int64) -> Int64:
  """What each pair of losses, at plus and at minus, differs by."""
  found: Int64 = losses[::2] - losses[1::2]
  return found


def signs(losses: Int64) -> Int64:
  """The sign of what each pair of losses differs by."""
  return np.sign(differences(losses))


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


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DirectionalMethod(Method):
  """What all methods take that perturb weights along directions.

  Attributes:
    directions: "rademacher" or "normal".
    guidance: b, 0 to below 1, how much of a direction is the running step's;
      needs momentum.
    kernel_wise: scale a direction by each output kernel's norm.
    sparsity: the share of each kernel tensor that is left alone, 0 to below 1.
    sparse_by: "magnitude", the smallest as they are now, or "seed", the same
      in the whole run.
    blocks: parts of the layers that take turns, one a step; as many as layers
      at most.
    num_directions: m, directions a step: two passes each, or for one-sided
      one and for sharpness-aware four.
    epsilon_lsb: the perturbation, in int8 steps.
  """

  directions: str = "rademacher"
  guidance: float = 0.0
  kernel_wise: bool = False
  sparsity: float = 0.0
  sparse_by: str = "magnitude"
  blocks: int = 1
  num_directions: int = CHOSEN
  epsilon_lsb: float = CHOSEN

  needs_straight_loss: ClassVar[bool] = False
  """Whether it takes what the loss bends by for slope."""
  most_directions: ClassVar[int] = ForwardGradient.most_directions
  choices: ClassVar[Mapping[str, Collection[str]]] = {
    **Method.choices,
    "directions": KINDS,
    "sparse_by": SPARSE_BY,
  }
  defaults: ClassVar[Mapping[str, Any]] = {
    "steps": 3800,
    "validate_every": 50,
    "num_directions": 1,
  }

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.sparse_by == "seed" and not self.sparsity:
      raise TflmFgError("sparse_by='seed': needs sparsity above 0, as 0.5")
    if self.guidance and not self.momentum:
      raise TflmFgError(
        f"guidance={self.guidance}: follows the velocity, so it needs momentum "
        "above 0, as 0.9"
      )

  def passes_at_once(self) -> int:
    """Passes of a step that do not wait for each other."""
    return 2 * self.num_directions

  def slopes_a_step(self, layout: Layout, step: int) -> range:
    """One slope a direction; as many directions as a run may grow to."""
    del layout, step
    return range(1, self.most_directions + 1)

  def require_layout(self, layout: Layout) -> None:
    """Warns of what int8 weights would round away."""
    if self.rounding != "stochastic":
      warn_if_rounded_away("epsilon_lsb", self.epsilon_lsb, layout)

  def source(self, layout: Layout) -> DirectionSource:
    """Plain draws where nothing shapes them, as those are the fastest."""
    drawn = Directions(layout, self.seed, self.directions)
    masks = None
    if self.sparsity or self.blocks > 1:
      names = ("seed", "sparsity", "sparse_by", "blocks")
      masks = Masks(layout=layout, **{n: getattr(self, n) for n in names})
    if masks is None and not self.kernel_wise and not self.guidance:
      return drawn
    return Shaped(
      layout=layout,
      drawn=drawn,
      kernel_wise=self.kernel_wise,
      guidance=self.guidance,
      masks=masks,
    )

  def probe(
    self, layout: Layout, batch_size: int, epsilon_lsb: float, count: int
  ) -> CentralDifference:
    """Pairs of passes along this method's directions, to measure by.

    Args:
      layout: the tensors of the phase.
      batch_size: samples that a pass takes.
      epsilon_lsb: the perturbation, in int8 steps.
      count: directions.
    """
    parts = self.parts(layout, batch_size, epsilon_lsb)
    parts |= {"epsilon_lsb": epsilon_lsb, "num_directions": count}
    return CentralDifference(**parts, signs_only=True)

  def parts(
    self, layout: Layout, batch_size: int, finest: float
  ) -> dict[str, Any]:
    """What every estimator of this kind is made of.

    Args:
      layout: the tensors of the phase.
      batch_size: samples that a pass takes.
      finest: the smallest move of a pass, in int8 steps.
    """
    parts: dict[str, Any] = {
      "layout": layout,
      "directions": self.source(layout),
      "epsilon_lsb": self.epsilon_lsb,
      "num_directions": self.num_directions,
      "batch_size": batch_size,
    }
    if self.rounding == "stochastic" and finest < 1:
      parts["dither"] = perturbation_dither(layout, self.seed)
    return parts


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SignSPSA(DirectionalMethod):
  """Signs of loss differences along m directions, two passes each.

  Sign-m-SPSA of "Stepping Forward on the Last Mile"; no division anywhere.

  Example:
    >>> tflm_fg.adapt(model, x, y, method=SignSPSA(num_directions=3))
  """

  name: ClassVar[str] = "sign-m-spsa"

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> CentralDifference:
    """Pairs of passes, and their signs."""
    parts = self.parts(layout, batch_size, self.epsilon_lsb)
    return CentralDifference(**parts, signs_only=True)


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SPSA(DirectionalMethod):
  """Slopes along m directions, two passes each (Spall 1992)."""

  name: ClassVar[str] = "spsa"

  @property
  def steps_by_rate(self) -> bool:
    """A steep slope takes a long step, unless the optimizer drops its size."""
    return self.optimizer != "sgd"

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> CentralDifference:
    """Pairs of passes, and their differences."""
    parts = self.parts(layout, batch_size, self.epsilon_lsb)
    return CentralDifference(**parts, signs_only=False)
