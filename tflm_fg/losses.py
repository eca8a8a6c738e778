"""Turn a batch of integer logits into one fixed-point loss.

Cross-entropy is log2(sum_j 2**(k (l_j - l_max))) + k (l_max - l_y), with
k = scale * log2(e): bits instead of nats, so that powers are shifts and two
small constant tables (2**-x and log2) do the rest. Values are Q16 bits. The
error against float64 stays under `MAX_ERROR_NATS` a clip for int8 and int16
logits; a test holds it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tflm_fg.base import Array, Int64

LOSS_BITS = 16
"""Fraction bits of a loss: one unit is 2**-16 bits."""

NATS_PER_UNIT = math.log(2) / (1 << LOSS_BITS)
"""For reports only: a loss in units times this is in nats."""

MAX_ERROR_NATS = 1e-4
"""Bound on one clip's error against float64, for up to 1,024 classes."""

_RATE_BITS = 30
_TERM_BITS = 24
_INDEX_BITS = 8

# Correctly rounded constants: float64 is 2**22 times finer than their grid.
_EXP2 = np.array(
  [round(2.0**30 * 2.0 ** (-i / 256)) for i in range(257)], np.int64
)
_LOG2 = np.array(
  [round(2.0**30 * math.log2(1 + i / 256)) for i in range(257)], np.int64
)


def exp2_negative(x: Int64) -> Int64:
  """2**(-x / 2**16) in Q24, from the 257-entry table with interpolation.

  Args:
    x: int64, at least 0, in Q16.

  Returns:
    int64 of the same shape.
  """
  whole = np.minimum(x >> 16, 62)
  index = (x >> (16 - _INDEX_BITS)) & ((1 << _INDEX_BITS) - 1)
  rest = x & ((1 << (16 - _INDEX_BITS)) - 1)
  high, low = _EXP2[index], _EXP2[index + 1]
  value = high - (((high - low) * rest) >> (16 - _INDEX_BITS))
  return value >> np.minimum(whole + 30 - _TERM_BITS, 62)


def log2_of(x: Int64) -> Int64:
  """log2(x / 2**24) in Q16, from the 257-entry table with interpolation.

  Args:
    x: int64 in Q24, at least 2**24 (a sum of powers whose largest is 1).

  Returns:
    int64 of the same shape.
  """
  top = np.searchsorted(_POWERS, x, side="right") - 1
  mantissa = (x << (48 - top)) - (1 << 48)  # [0, 1) in Q48
  index = mantissa >> (48 - _INDEX_BITS)
  rest = (mantissa >> (48 - _INDEX_BITS - 16)) & 0xFFFF
  low, high = _LOG2[index], _LOG2[index + 1]
  fraction = low + (((high - low) * rest) >> 16)
  return ((top - _TERM_BITS) << LOSS_BITS) + (fraction >> (30 - LOSS_BITS))


_POWERS = np.int64(1) << np.arange(48, dtype=np.int64)


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
  """Softmax cross-entropy of integer logits against class indices.

  The zero point cancels; only the scale matters. int8 logits have 256 and
  int16 logits 65,536 possible distances from the largest, so the powers and
  the linear term are looked up.

  Attributes:
    scale: real value of one logit step.
    bits: 8 or 16, the width of the logits.
  """

  scale: float
  bits: int = 8
  _distance: Int64 = dataclasses.field(init=False, repr=False, compare=False)
  _power: Int64 = dataclasses.field(init=False, repr=False, compare=False)

  def __post_init__(self) -> None:
    rate = round(self.scale * math.log2(math.e) * (1 << _RATE_BITS))
    steps = np.arange(1 << self.bits, dtype=np.int64)
    distance = (steps * rate) >> (_RATE_BITS - LOSS_BITS)
    object.__setattr__(self, "_distance", distance)
    object.__setattr__(self, "_power", exp2_negative(distance))

  def per_clip(self, logits: Array, labels: Array) -> Int64:
    """Losses of single clips.

    Args:
      logits: int8 or int16 [N, C].
      labels: integers [N] in [0, C).

    Returns:
      int64 [N] in Q16 bits.
    """
    wide = logits.astype(np.int32)
    gaps = wide.max(axis=1, keepdims=True) - wide
    own = gaps[np.arange(len(gaps)), labels]
    return log2_of(self._power[gaps].sum(axis=1)) + self._distance[own]

  def residual(self, logits: Array, labels: Array) -> Int64:
    """Softmax minus the one-hot label: the loss's gradient by the logits.

    Args:
      logits: int8 or int16 [N, C].
      labels: integers [N] in [0, C).

    Returns:
      int64 [N, C] in Q16.
    """
    wide = logits.astype(np.int32)
    power = self._power[wide.max(axis=1, keepdims=True) - wide]
    share = (power << 16) // power.sum(axis=1, keepdims=True)
    share[np.arange(len(share)), labels] -= 1 << 16
    return share

  def __call__(self, logits: Array, labels: Array) -> int:
    """Sum of the losses of a batch, in Q16 bits."""
    return int(self.per_clip(logits, labels).sum())


def mean_nats(total: int, clips: int) -> float:
  """A batch's loss for people: mean over clips, in nats."""
  return total * NATS_PER_UNIT / clips
