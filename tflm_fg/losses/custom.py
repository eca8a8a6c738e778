"""Turn what a user's own function says of the outputs into a fixed-point loss.

A forward gradient asks a loss for nothing but its value, so it may be a
simulator, a rule or a metric without a derivative. Its value is a float and
is rounded once, here, to the unit that cross-entropy has.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.losses.base import Loss, LossFunction, name_of
from tflm_fg.losses.squared_error import Grid
from tflm_fg.types import Array, Int64, TflmFgError, one_line

MOST = 4096
"""Largest value, of either sign, that a user's function may give."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlackBox(Loss):
  """A function of the dequantized outputs; the same input, the same value.

  It takes outputs, float64 [N, C], in front of a final SOFTMAX, and targets:
  classes, int64 [N], where y is whole numbers [N] and the model has several
  outputs, else float64 [N, C], or of y's own shape where that is another. It
  gives one number, the lower the better, or one for each sample.

  Attributes:
    function: what the user gave.
    grid: of the outputs.
  """

  function: LossFunction
  grid: Grid

  @property
  def name(self) -> str:
    """What the function is called."""
    return name_of(self.function)

  def per_sample(self, logits: Array, labels: Array) -> Int64:
    """Losses of single samples, int64 [N].

    Raises:
      TflmFgError: if the function fails, or gives one number for all.
    """
    values = self._values(logits, labels)
    if values.ndim == 0:
      raise TflmFgError(
        f"loss {self.name!r} gives one number for all samples; this needs one "
        f"a sample, an array of shape [{len(logits)}]"
      )
    return self._rounded(values)

  def residual(self, logits: Array, labels: Array) -> Int64:
    """There is none."""
    raise TflmFgError(exact_refusal(self.function))

  def mean_absolute(self, logits: Array, labels: Array) -> float | None:
    """Mean distance of outputs from targets of the same shape."""
    if labels.shape != logits.shape:
      return None
    return float(
      np.abs(self.grid.reals(logits) - np.asarray(labels, np.float64)).mean()
    )

  def __call__(self, logits: Array, labels: Array) -> int:
    """Sum over the samples; one number for all counts once a sample."""
    values = self._values(logits, labels)
    if values.ndim == 0:
      values = values * len(logits)
    return int(self._rounded(values).sum())

  def is_per_sample(self, logits: Array, labels: Array) -> bool:
    """Whether the function gives a number for each of these samples."""
    return self._values(logits, labels).ndim == 1

  def _rounded(self, values: NDArray[np.float64]) -> Int64:
    return np.rint(values / self.unit).astype(np.int64)

  def _values(self, logits: Array, labels: Array) -> NDArray[np.float64]:
    """Calls the function and takes nothing but finite numbers from it."""
    targets = labels.view()
    targets.flags.writeable = False
    try:
      given = self.function(self.grid.reals(logits), targets)
    except Exception as fault:  # whatever a user's function raises
      raise TflmFgError(
        f"loss {self.name!r} failed with {type(fault).__name__}: "
        f"{one_line(fault, 200)}"
      ) from None
    return self._checked(given, len(logits))

  def _checked(self, given: Any, samples: int) -> NDArray[np.float64]:
    try:
      values = np.asarray(given)
    except Exception:  # ragged lists, or odd __array__ methods
      values = np.array(None)
    if values.dtype.kind not in "biuf" or values.shape not in ((), (samples,)):
      shape = f" of shape {list(values.shape)}" if values.ndim else ""
      raise TflmFgError(
        f"loss {self.name!r} gave {type(given).__name__}{shape}; need a "
        f"number, or one for each of {samples} samples"
      )
    values = values.astype(np.float64)
    if not (np.abs(values) <= MOST).all():
      worst = values.reshape(-1)[np.argmax(~(np.abs(values) <= MOST))]
      raise TflmFgError(
        f"loss {self.name!r} gave {worst:g}; need numbers from -{MOST} to "
        f"{MOST}; scale it"
      )
    if 0 < np.abs(values).max() < self.unit:
      warnings.warn(
        f"loss {self.name!r} gave less than its smallest unit, "
        f"{self.unit:.2g}; what is finer is not seen: scale it",
        stacklevel=2,
      )
    return values


def exact_refusal(function: LossFunction) -> str:
  """Why a function's loss cannot train in the closed form."""
  return (
    f"loss {name_of(function)!r} is a function without a derivative, which "
    "method 'closed-form' needs; use method 'auto' or 'sign-m-spsa'"
  )
