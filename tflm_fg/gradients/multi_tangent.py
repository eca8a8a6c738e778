"""Turn slopes along several directions into the gradient's part in their span.

The plain mean of slope times direction counts twice what two directions share.
Multi-tangent forward gradients combine them by orthogonal projection instead:
g = V (V^T V)^-1 d, the one vector in the span of V whose slopes are d.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tflm_fg.fixed_point.arithmetic import round_shift, saturate
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.one_thread import one_thread
from tflm_fg.fixed_point.state import Estimate, Passes, TrainState
from tflm_fg.gradients.method import TrainedPart, register
from tflm_fg.gradients.perturbation import ForwardGradient, split
from tflm_fg.gradients.slopes import weighted_sum
from tflm_fg.gradients.spsa import DirectionalMethod
from tflm_fg.types import Int8, Int64, TflmFgError, Vectors

_COEFFICIENT_BITS = 44
"""Of the largest: with 7 of a direction, summed over 64, they stay under 63."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProjectedSlopes(ForwardGradient):
  """SPSA's slopes, combined by orthogonal projection.

  The projection is scaled by the directions' mean squared length over their
  count, so that it equals SPSA's mean where they are orthogonal, and one
  learning rate suits both. The equations are solved exactly; a direction that
  is zero or depends on those before it is left out.
  """

  most_directions: ClassVar[int] = 64

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs 2 m passes.

    Args:
      passes: of the step's batch.
      state: where the slopes are taken.
    """
    return self._two_sided(passes, state)

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """The projection onto the directions: int64 [K] and [B] in Q16."""
    drawn = self._drawn(estimate, state)
    flat = projected(drawn, estimate.slopes, self.directions.unit)
    return split(self.layout, flat)


def projected(drawn: Int8, slopes: Int64, unit: int) -> Int64:
  """The scaled projection, rounded once and saturated at 32 bits.

  Args:
    drawn: int8 [m, n], directions.
    slopes: int64 [m].
    unit: what counts as 1 in a direction.

  Returns:
    int64 [n].
  """
  # Exact: whole numbers far below 2**53 throughout.
  reals = drawn.astype(np.float64)
  with one_thread():
    products = reals @ reals.T
  gram = [[int(x) for x in row] for row in products]
  numerators, denominator, kept = solve(gram, [int(s) for s in slopes])
  if not kept:
    return np.zeros(drawn.shape[1], np.int64)
  length = sum(gram[i][i] for i in kept)
  tops = [length * x for x in numerators]
  bottom = denominator * unit * len(kept) ** 2
  largest = max(abs(t) for t in tops) // bottom
  # As many bits behind the point as 64 allow: only the last rounding shows.
  bits = _COEFFICIENT_BITS - largest.bit_length()
  over, under = max(bits, 0), max(-bits, 0)
  bottom <<= under
  whole = [(2 * (t << over) + bottom) // (2 * bottom) for t in tops]
  summed = weighted_sum(drawn, np.array(whole, np.int64))
  flat = (
    round_shift(summed, bits) if bits > 0 else summed.astype(object) << under
  )
  return saturate(flat, np.int32).astype(np.int64)


def solve(
  gram: list[list[int]], slopes: list[int]
) -> tuple[list[int], int, list[int]]:
  """Solves gram x = slopes in whole numbers, by Bareiss's elimination (1968).

  Args:
    gram: m x m, the products of directions with each other.
    slopes: m.

  Returns:
    Numerators of x, 0 where a direction is left out; their one denominator,
    above 0; and the directions that are kept.
  """
  rows = [[*row, slope] for row, slope in zip(gram, slopes)]
  m, before, kept = len(rows), 1, list[int]()
  for k in range(m):
    pivot = rows[k][k]
    if not pivot:  # what is left of a dependent direction has no length
      continue
    for i in range(k + 1, m):
      row, factor = rows[i], rows[i][k]
      for j in range(k + 1, m + 1):
        row[j] = (row[j] * pivot - factor * rows[k][j]) // before
    before = pivot
    kept.append(k)
  x = [0] * m
  for k in reversed(kept):
    rest = sum(rows[k][j] * x[j] for j in kept if j > k)
    x[k] = (before * rows[k][m] - rest) // rows[k][k]
  return x, before, kept


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MultiTangent(DirectionalMethod):
  """SPSA's slopes, combined by orthogonal projection instead of a mean."""

  name: ClassVar[str] = "multi-tangent"
  most_directions: ClassVar[int] = ProjectedSlopes.most_directions
  defaults: ClassVar[Mapping[str, Any]] = {
    **DirectionalMethod.defaults,
    "num_directions": 4,
  }

  def __post_init__(self) -> None:
    super().__post_init__()
    most = self.most_directions
    if self.num_directions is not None and self.num_directions > most:
      raise TflmFgError(
        f"num_directions={self.num_directions}: multi-tangent needs 1 to "
        f"{most}, as it solves so many equations exactly"
      )

  @property
  def steps_by_rate(self) -> bool:
    """As for SPSA."""
    return self.optimizer != "sgd"

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> ProjectedSlopes:
    """Pairs of passes, projected."""
    return ProjectedSlopes(**self.parts(layout, batch_size, self.epsilon_lsb))
