"""Turn a batch of integer logits into one fixed-point loss.

`Loss` is what every loss can do. Cross-entropy is
log2(sum_j 2**(k (l_j - l_max))) + k (l_max - l_y), with k = scale * log2(e):
bits instead of nats, so that powers are shifts and two small constant tables
(2**-x and log2) do the rest. Values are Q16 bits. The error against float64
stays under `MAX_ERROR_NATS` a sample for int8 and int16
logits; a test holds it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tflm_fg.fixed_point.arithmetic import round_shift
from tflm_fg.fixed_point.native import native
from tflm_fg.losses.base import LOSS_BITS, Loss
from tflm_fg.types import Array, Int64

MAX_ERROR_NATS = 1e-4
"""Bound on one sample's error against float64, for up to 1,024 classes."""

RATE_BITS = 30
TERM_BITS = 24
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
  return value >> np.minimum(whole + 30 - TERM_BITS, 62)


def distances(scale: float, bits: int) -> Int64:
  """What whole steps of a logit count in Q16 bits: int64 [2**bits].

  No gap counts as more than 2**30, 16,384 bits, so that the loss of a sample
  stays under 2**31 whatever the scale is.

  Args:
    scale: real value of one step.
    bits: width of the logits, 8 or 16.
  """
  rate = min(round(scale * math.log2(math.e) * (1 << RATE_BITS)), _MOST_RATE)
  steps = np.arange(1 << bits, dtype=np.int64)
  return np.minimum((steps * rate) >> (RATE_BITS - LOSS_BITS), MOST_DISTANCE)


@functools.lru_cache(maxsize=16)
def _tables(scale: float, bits: int) -> tuple[Int64, Int64]:
  """Distances and their powers, made once for all losses of a grid."""
  distance = distances(scale, bits)
  found = distance, exp2_negative(distance)
  for table in found:
    table.setflags(write=False)
  return found


MOST_DISTANCE = 1 << 30
_MOST_RATE = 1 << 46
"""One step of it is more than `MOST_DISTANCE`, 2**16 steps are under 2**63."""


def bits_a_step(scale: float) -> int:
  """What a logit step is worth, in Q30 bits a nat: at most 2**31.

  The sum of a sample's gradient by its moves has up to 31 bits, so that the
  product stays within 64; coarser logits, of more than 1.386 a step, count as
  that in the differences of samples.
  """
  return min(round(scale / math.log(2) * (1 << 30)), 1 << 31)


def log2_of(x: Array) -> Int64:
  """log2(x / 2**24) in Q16, from the 257-entry table with interpolation.

  Args:
    x: integers in Q24, at least 2**24 (a sum of powers whose largest is 1)
      and under 2**47.

  Returns:
    int64 of the same shape.
  """
  # A float64 holds x whole: exponent, then the fraction's leading bits.
  bits = x.astype(np.float64).view(np.int64)
  rest = bits >> (_FRACTION - _INDEX_BITS - 16)
  bits >>= _FRACTION - _INDEX_BITS
  rest &= 0xFFFF
  bits -= _LOG2_FIRST
  rest *= _LOG2_RISE.take(bits)
  rest >>= 16
  rest += _LOG2_START.take(bits)
  rest >>= 30 - LOSS_BITS
  return rest


_FRACTION = 52  # bits of a float64's fraction
_BIAS = 1023  # of its exponent
_OCTAVES = np.arange(47 - TERM_BITS, dtype=np.int64)
_LOG2_FIRST = (_BIAS + TERM_BITS) << _INDEX_BITS
_LOG2_START = ((_OCTAVES[:, None] << 30) + _LOG2[:-1]).reshape(-1)
_LOG2_RISE = np.tile(np.diff(_LOG2), len(_OCTAVES))
"""Start and rise in Q30 of 256 stretches an octave."""


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Loss):
  """Softmax cross-entropy of integer logits against class indices.

  The zero point cancels; only the scale matters. int8 logits have 256 and
  int16 logits 65,536 possible distances from the largest, so the powers and
  the linear term are looked up.

  Attributes:
    scale: real value of one logit step.
    bits: 8 or 16, the width of the logits.
    distance: int64 [2**bits], a gap of so many steps in Q16 bits; see
      `distances`.
    power: int64 [2**bits], 2**-distance in Q24.
  """

  scale: float
  bits: int = 8
  distance: Int64 = dataclasses.field(init=False, repr=False, compare=False)
  power: Int64 = dataclasses.field(init=False, repr=False, compare=False)

  def __post_init__(self) -> None:
    distance, power = _tables(self.scale, self.bits)
    object.__setattr__(self, "distance", distance)
    object.__setattr__(self, "power", power)

  @property
  def reach_of_outputs(self) -> float:
    """Nats that the largest logit can stand above the smallest."""
    return ((1 << self.bits) - 1) * self.scale

  def magnified(self, gain: float) -> CrossEntropy:
    """The same of logits that count `gain` times as much."""
    if gain == 1:
      return self
    return dataclasses.replace(self, scale=self.scale * gain)

  def per_sample(self, logits: Array, labels: Array) -> Int64:
    """Losses of single samples.

    Args:
      logits: int8 or int16 [N, C].
      labels: integers [N] in [0, C).

    Returns:
      int64 [N] in Q16 bits.
    """
    return Ledger(self, 1, *logits.shape).per_sample([logits], labels)[0]

  def residual(self, logits: Array, labels: Array) -> Int64:
    """Softmax minus the one-hot label: the loss's gradient by the logits.

    Args:
      logits: int8 or int16 [N, C].
      labels: integers [N] in [0, C).

    Returns:
      int64 [N, C] in Q16.
    """
    if self.bits == 8 and (c := native()) is not None:
      own = np.ascontiguousarray(labels, np.int64)
      found = np.empty(logits.shape, np.int64)
      rows = np.ascontiguousarray(logits, np.int8)
      c.residual(self.power, rows, own, found)
      return found
    wide = logits.astype(np.int32)
    power = self.power[wide.max(axis=1, keepdims=True) - wide]
    share = (power << 16) // power.sum(axis=1, keepdims=True)
    share[np.arange(len(share)), labels] -= 1 << 16
    return share

  def by_output(self, logits: Array, labels: Array) -> Int64:
    """Softmax minus the one-hot label, in nats a step of a logit.

    Args:
      logits: int8 or int16 [N, C].
      labels: integers [N] in [0, C).

    Returns:
      int64 [N, C] in Q16.
    """
    step = round(self.scale * (1 << 24))
    return np.asarray(round_shift(self.residual(logits, labels) * step, 24))

  def ledger(
    self, passes: int, samples: int, classes: int
  ) -> Callable[[Sequence[Array], Array], Int64]:
    """Prepares summing the losses of one batch under several weights.

    Returns:
      (one array of logits a pass, labels) -> int64 [P], as `Ledger`.
    """
    return Ledger(self, passes, samples, classes)


class Ledger:
  """Losses of one batch under several weights, in buffers made once.

  Logits lie class by class, so that maxima and sums run along the samples.
  """

  def __init__(
    self, loss: CrossEntropy, passes: int, samples: int, classes: int
  ) -> None:
    """Makes the buffers.

    Args:
      loss: gives the tables.
      passes: logits that come at once.
      samples: in a batch.
      classes: of a sample.
    """
    few = classes << TERM_BITS < 1 << 31  # then sums of powers fit 32 bits
    self._labels: Array | None = None
    self._distance, self._powers = loss.distance, loss.power
    self._c: Any = native() if loss.bits == 8 else None
    if self._c is not None:
      return
    self._power = loss.power.astype(np.int32 if few else np.int64)
    shape = (classes, passes, samples)
    self._logits = np.empty(shape, f"i{loss.bits // 8}")
    self._top = np.empty(shape[1:], self._logits.dtype)
    self._gap = np.empty(shape, f"u{loss.bits // 8}")
    self._index = np.empty(shape, np.intp)
    self._terms = np.empty(shape, self._power.dtype)
    self._sum = np.empty(shape[1:], self._power.dtype)
    self._places = np.arange(passes * samples).reshape(passes, samples)

  def per_sample(self, logits: Sequence[Array], labels: Array) -> Int64:
    """Losses of single samples.

    Args:
      logits: int8 or int16 [N, C], one array a pass.
      labels: integers [N] in [0, C); the same array again costs nothing.

    Returns:
      int64 [P, N] in Q16 bits.
    """
    if self._c is not None:
      found = np.empty((len(logits), len(labels)), np.int64)
      self._in_c(logits, labels, found, False)
      return found
    if labels is not self._labels:
      self._own = np.multiply(labels, self._places.size) + self._places
      self._labels = labels
    for number, rows in enumerate(logits):
      self._logits[:, number] = rows.T
    np.maximum.reduce(self._logits, axis=0, out=self._top)
    # Unsigned and modulo: the gap of two signed numbers always fits.
    unsigned = self._gap.dtype
    np.subtract(
      self._top.view(unsigned), self._logits.view(unsigned), out=self._gap
    )
    np.copyto(self._index, self._gap)
    # Every index is inside; "wrap" spares take a copy of its output.
    self._power.take(self._index, out=self._terms, mode="wrap")
    np.add.reduce(self._terms, axis=0, dtype=self._sum.dtype, out=self._sum)
    losses = log2_of(self._sum)
    losses += self._distance.take(self._gap.take(self._own))
    return losses

  def _in_c(
    self, logits: Sequence[Array], labels: Array, out: Int64, sums: bool
  ) -> None:
    rows = [
      z if z.flags.c_contiguous else np.ascontiguousarray(z) for z in logits
    ]
    own = self._labels_for(labels)
    self._c.cross_entropy(self._distance, self._powers, rows, own, out, sums)

  def _labels_for(self, labels: Array) -> Int64:
    """Labels as C takes them; the same array again costs nothing."""
    if labels is not self._labels:
      self._own = np.ascontiguousarray(labels, np.int64)
      self._labels = labels
    return self._own

  def __call__(self, logits: Sequence[Array], labels: Array) -> Int64:
    """Sums of the losses of the batch, int64 [P] in Q16 bits."""
    if self._c is not None:
      sums = np.empty(len(logits), np.int64)
      self._in_c(logits, labels, sums, True)
      return sums
    return np.add.reduce(self.per_sample(logits, labels), axis=1)
