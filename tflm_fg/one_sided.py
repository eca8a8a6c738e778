"""Turn N + 1 forward passes into N slopes, relative to the centre's loss.

Half the passes of two sides, for slopes that see the loss bend. As the losses'
own spread divides them, a step is as long far out on a steep slope as near
the end: the learning rate is then in int8 steps, as a sign's is. What counts
as the spread is our reading.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from tflm_fg.base import Int64, Passes
from tflm_fg.estimators import ONE, ForwardGradient, run
from tflm_fg.queries import Queries
from tflm_fg.state import Estimate, TrainState


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
    lots = self._around.lots(
      state.params, np.concatenate([centre, drawn]), state.step
    )
    losses = run(passes, lots)
    return Estimate(over_spread(losses - losses[0])[1:], losses)

  @functools.cached_property
  def _around(self) -> Queries:
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
