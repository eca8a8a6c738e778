"""Turn two forward passes into one slope.

Finite differences, not Jacobian-vector products: an engine shows losses only.
Two-point SPSA is Spall's (1992); sign-m-SPSA, the mean of m signs times their
directions, is our reading of "Stepping Forward on the Last Mile" (Feng et al.,
NeurIPS 2024).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import (
  DirectionSource,
  Estimate,
  Passes,
  TrainState,
)
from tflm_fg.gradients.directions import KINDS, Directions
from tflm_fg.gradients.method import CHOSEN, Method, TrainedPart, register
from tflm_fg.gradients.perturbation import ForwardGradient
from tflm_fg.gradients.shaped_directions import (
  SPARSE_BY,
  TURNS,
  Masks,
  Shaped,
)
from tflm_fg.gradients.slopes import ONE, differences, run
from tflm_fg.optimizers.rounding import (
  perturbation_dither,
  warn_if_rounded_away,
)
from tflm_fg.types import Int64, TflmFgError


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
    losses = run(passes, self.weight_sets(state))
    return Estimate(self.slopes(differences(losses)), losses)

  def slopes(self, differences: Int64) -> Int64:
    """What the differences of summed losses say of the mean loss: Q16.

    Args:
      differences: int64 [m], losses at plus less those at minus, summed over
        the batch in the loss's integer unit.
    """
    if self.signs_only:
      return np.sign(differences) * ONE
    return self._per_step(differences)


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
    blocks: parts of the layers that take turns, as many as layers at most.
    turns: "step", a block a step; or "direction", a block a direction of each
      step, as a fleet divides layers among its devices (Spry, "Thinking
      Forward", Panchal et al., NeurIPS 2024). The mean is over all directions,
      so that a block moves by its share of the rate.
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
  turns: str = "step"
  num_directions: int = CHOSEN
  epsilon_lsb: float = CHOSEN

  needs_straight_loss: ClassVar[bool] = False
  """Whether it takes what the loss bends by for slope."""
  most_directions: ClassVar[int] = ForwardGradient.most_directions
  choices: ClassVar[Mapping[str, Collection[str]]] = {
    **Method.choices,
    "directions": KINDS,
    "sparse_by": SPARSE_BY,
    "turns": TURNS,
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
    if self.turns == "direction" and self.blocks == 1:
      raise TflmFgError("turns='direction': needs blocks above 1, as 2")
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
      names = ("seed", "sparsity", "sparse_by", "blocks", "turns")
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
