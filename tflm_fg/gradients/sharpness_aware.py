"""Turn a step uphill and the slopes there into a step from where one stands.

Our reading of the paper's sharpness-aware update; measured not to help
(docs/results.md), and kept because the paper has it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tflm_fg.fixed_point.arithmetic import round_shift
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, Passes, TrainState
from tflm_fg.gradients.method import TrainedPart, register
from tflm_fg.gradients.perturbation import EPSILON_BITS, ForwardGradient, split
from tflm_fg.gradients.slopes import ONE, run, signs, weighted_sum
from tflm_fg.gradients.spsa import DirectionalMethod
from tflm_fg.optimizers.rounding import warn_if_rounded_away
from tflm_fg.types import Int8, Int64, Vectors

_RATIO_BITS = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class UphillSlopes(ForwardGradient):
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
    uphill = self._uphill(drawn[:m], signs(here))
    neighbour = Vectors(*(p + u for p, u in zip(state.params, uphill)))
    there = run(
      passes, self._pairs.weight_sets(neighbour, drawn[m:], state.step)
    )
    return Estimate(signs(there) * ONE, np.concatenate([here, there]))

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


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SharpnessAware(DirectionalMethod):
  """Slopes are taken a little uphill, and applied from where one stands.

  Attributes:
    rho_lsb: how far uphill, in int8 steps.
  """

  rho_lsb: float = 1.0

  name: ClassVar[str] = "sharpness-aware"
  ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
    "rho_lsb": (1 / 256, 127)
  }

  def require_layout(self, layout: Layout) -> None:
    """Warns of moves that int8 weights would round away."""
    super().require_layout(layout)
    if self.rounding != "stochastic":
      warn_if_rounded_away("rho_lsb", self.rho_lsb, layout)

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> UphillSlopes:
    """Pairs of passes here, then uphill."""
    finest = min(self.epsilon_lsb, self.rho_lsb)
    parts = self.parts(layout, batch_size, finest)
    return UphillSlopes(**parts, rho_lsb=self.rho_lsb)
