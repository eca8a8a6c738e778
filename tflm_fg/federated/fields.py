"""Say what one sample can put into a sum, and refuse sums that say more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tflm_fg.types import Int64


class Field(NamedTuple):
  """A vector of sums over samples.

  Attributes:
    name: what it is called in errors.
    size: count of its numbers.
    low: the least that one sample can add to one of them.
    high: the most.
    clip: the length that a sample's part is clipped to where noise is asked
      for; 0 for a share of the longest that it can be.
  """

  name: str
  size: int
  low: int
  high: int
  clip: int = 0

  def bits(self, samples: int) -> int:
    """Bits that sums over so many samples need, two's complement."""
    ends = samples * self.high, samples * self.low
    return 1 + max((e if e >= 0 else ~e).bit_length() for e in ends)


PUBLIC = ("loss", "samples of blocks")
"""Fields that no noise hides: losses are left out, and counts are public."""

GRADIENTS = ("kernel", "bias", "gradient")
"""Fields that say which way to go: what of them is noise is taken off."""

Sums = Sequence[Int64]
"""One int64 array a field."""


def fault_of(fields: Sequence[Field], samples: int, sums: Sums) -> str:
  """What sums hold that so many samples cannot make; empty for nothing.

  Args:
    fields: what each array is.
    samples: the count of samples that is stated.
    sums: arrays [n] each.
  """
  if len(sums) != len(fields):
    return f"{len(sums)} fields, need {len(fields)}"
  for field, own in zip(fields, sums):
    if own.shape != (field.size,):
      return f"{field.name}: {own.size} numbers, need {field.size}"
    low, high = samples * field.low, samples * field.high
    outside = np.flatnonzero((own < low) | (own > high))
    if outside.size:
      at = int(outside[0])
      return (
        f"{field.name}[{at}] is {int(own[at])}, and {samples} samples give "
        f"{low} to {high}"
      )
  return ""


def added(parts: Sequence[Sums]) -> list[Int64]:
  """The sums of several parts, which no order changes."""
  return [np.sum(columns, axis=0, dtype=np.int64) for columns in zip(*parts)]


def weighed(sums: Sums, samples: int, most: int) -> tuple[list[Int64], int]:
  """Sums that count for so many samples at most, rounded towards zero.

  Args:
    sums: of one client.
    samples: that it states.
    most: samples that it may count for; 0 for any.
  """
  if not most or samples <= most:
    return list(sums), samples
  return [_scaled(own, most, samples) for own in sums], most


def _scaled(numbers: Int64, times: int, over: int) -> Int64:
  """Numbers times a share below 1, towards zero; Python's integers hold it."""
  whole, rest = np.divmod(np.abs(numbers), over)
  return np.asarray(np.sign(numbers) * (whole * times + rest * times // over))
