"""Turn N + 1 forward passes into N slopes, relative to the centre's loss.

Measured not to help (docs/results.md), and kept because the paper has it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, Passes, TrainState
from tflm_fg.gradients.method import TrainedPart, register
from tflm_fg.gradients.perturbation import ForwardGradient, PerturbedWeights
from tflm_fg.gradients.slopes import ONE, run
from tflm_fg.gradients.spsa import DirectionalMethod
from tflm_fg.types import Int64


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelativeSlopes(ForwardGradient):
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
    return self._perturbed(self.num_directions + 1, signs=(1,))


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


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class OneSided(DirectionalMethod):
  """N directions from N + 1 passes; the step scaled by the losses' spread."""

  name: ClassVar[str] = "one-sided"
  needs_straight_loss: ClassVar[bool] = True
  defaults: ClassVar[Mapping[str, Any]] = {
    **DirectionalMethod.defaults,
    "num_directions": 8,
  }

  def passes_at_once(self) -> int:
    """One a direction, and the centre's."""
    return self.num_directions + 1

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> RelativeSlopes:
    """Passes around the centre."""
    return RelativeSlopes(**self.parts(layout, batch_size, self.epsilon_lsb))
