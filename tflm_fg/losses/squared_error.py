"""Turn integer outputs and their targets into one fixed-point distance.

Mean squared error and Huber's loss, for real targets and for classes. Targets
are put on a fine grid once: 2**-20 of the whole range R of the output tensor,
1/4096 of an int8 step and 1/16 of an int16 one, and at most one range beyond
its ends. Errors are then integers, their squares exact, and a loss is counted
in 2**-28 R**2, whatever the model's units.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import (
  dequantize,
  fixed_point,
  round_divide,
  round_shift,
)
from tflm_fg.losses.base import Loss
from tflm_fg.types import Array, Int64

MAX_ERROR = 2.0**-17
"""Bound on one sample's error against float64, as a share of R**2."""

FINE_BITS = 20
"""A target is kept in 2**-20 of the output's range."""

_UNIT_BITS = 28
_EVERYTHING = 1 << (FINE_BITS + 2)  # no error is as large


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
  """An output tensor's grid, and the finer one of its targets.

  Attributes:
    scale: real value of a step.
    zero_point: the integer that stands for 0.
    bits: 8 or 16, its width.
  """

  scale: float
  zero_point: int
  bits: int

  @property
  def range(self) -> float:
    """R, the real length of all that the tensor can hold."""
    return self.scale * (1 << self.bits)

  @property
  def ends(self) -> tuple[float, float]:
    """The lowest and the highest real number that it can hold."""
    low = (-(1 << (self.bits - 1)) - self.zero_point) * self.scale
    return low, low + self.range - self.scale

  @property
  def _finer(self) -> int:
    return FINE_BITS - self.bits

  def fine(self, outputs: Array) -> Int64:
    """Integers of the tensor on the fine grid: int64, same shape."""
    return (outputs.astype(np.int64) - self.zero_point) << self._finer

  def put(self, y: NDArray[np.floating]) -> Int64:
    """Real targets on the fine grid, the only time that they are rounded."""
    ends = np.array([-1 << (self.bits - 1), (1 << (self.bits - 1)) - 1])
    low, high = (int(end) for end in self.fine(ends))
    whole = 1 << FINE_BITS
    step = self.scale / (1 << self._finer)
    return fixed_point(y, step, low - whole, high + whole)

  def reals(self, outputs: Array) -> NDArray[np.float64]:
    """What the tensor's integers stand for."""
    return dequantize(outputs, self.scale, self.zero_point)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquaredError(Loss):
  """Mean over a sample's outputs of squared errors, linear beyond a limit.

  With a limit it is Huber's loss, counted as e**2 within delta and
  2 delta |e| - delta**2 beyond (twice Keras's), so that the two agree inside.
  A class is a target too: its own output a quarter of the range above the
  middle of what the tensor can hold, the others a quarter below.

  Attributes:
    grid: of the outputs.
    limit: delta in steps of the fine grid; by default beyond every error.
  """

  grid: Grid
  limit: int = _EVERYTHING

  @property
  def unit(self) -> float:
    """Real value of one integer unit of a loss."""
    return self.grid.range**2 / (1 << _UNIT_BITS)

  @property
  def reach(self) -> float:
    """A residual is in Q16 of the output's range."""
    return self.grid.range

  def residual_of_unit(self, outputs: int) -> float:
    """Real residual where a real unit of an output costs one unit of loss."""
    return self.unit * outputs / 4

  @property
  def is_quadratic(self) -> bool:
    """Its bend is the same everywhere, or within delta."""
    return True

  def per_sample(self, logits: Array, labels: Array) -> Int64:
    """Losses of single samples.

    Args:
      logits: int8 or int16 [N, C].
      labels: classes, int64 [N], or targets on the fine grid, int64 [N, C].

    Returns:
      int64 [N] in 2**-28 R**2.
    """
    away = np.abs(self._errors(logits, labels))
    near = np.minimum(away, self.limit)
    sums = (near * (2 * away - near)).sum(axis=1)
    finer = 2 * FINE_BITS - _UNIT_BITS
    return round_divide(sums, logits.shape[1] << finer)

  def residual(self, logits: Array, labels: Array) -> Int64:
    """Half the error, at most half of delta: int64 [N, C] in Q16 of R.

    That is the loss's gradient by the outputs times C / 4: where several
    outputs share a mean, each takes as long a step as one alone would.
    """
    errors = self._errors(logits, labels)
    near = np.sign(errors) * np.minimum(np.abs(errors), self.limit)
    return round_shift(near, FINE_BITS - 16 + 1)

  def mean_absolute(self, logits: Array, labels: Array) -> float | None:
    """Mean distance of outputs from real targets; None for classes."""
    if labels.ndim < 2:
      return None
    away = np.abs(self._errors(logits, labels)).mean()
    return float(away) * self.grid.range / (1 << FINE_BITS)

  def _errors(self, logits: Array, labels: Array) -> Int64:
    targets = labels if labels.ndim > 1 else self._of_classes(logits, labels)
    return self.grid.fine(logits) - targets.astype(np.int64, copy=False)

  def _of_classes(self, logits: Array, labels: Array) -> Int64:
    ends = np.array([-1 << (self.grid.bits - 1), 1 << (self.grid.bits - 1)])
    middle = int(self.grid.fine(ends).sum()) // 2
    targets = np.full(logits.shape, middle - (1 << (FINE_BITS - 2)), np.int64)
    own = np.arange(len(targets)), labels.astype(np.int64)
    targets[own] += 1 << (FINE_BITS - 1)
    return targets


def huber(grid: Grid, delta: float) -> SquaredError:
  """Huber's loss with delta in the outputs' real units."""
  step = grid.range / (1 << FINE_BITS)
  limit = fixed_point(np.array(delta), step, 1, _EVERYTHING)
  return SquaredError(grid=grid, limit=int(limit))
