"""Turn a step uphill and the slopes there into a step from where one stands.

Sharpness-aware updates (after Foret et al., 2021): the gradient is taken at a
neighbouring point, so that what trains ends where the loss is low all around.
That the neighbour is found by a first estimate, and by whose directions, is
our reading of "Stepping Forward on the Last Mile" (Feng et al., NeurIPS 2024).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tflm_fg.base import Int8, Int64, Passes, Vectors
from tflm_fg.estimators import (
  ONE,
  ForwardGradient,
  differences,
  run,
  split,
  weighted_sum,
)
from tflm_fg.quant import round_shift
from tflm_fg.queries import EPSILON_BITS
from tflm_fg.state import Estimate, TrainState

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
    here = run(passes, self._pairs.lots(state.params, drawn[:m], state.step))
    uphill = self._uphill(drawn[:m], _signs(here))
    neighbour = Vectors(*(p + u for p, u in zip(state.params, uphill)))
    there = run(passes, self._pairs.lots(neighbour, drawn[m:], state.step))
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
