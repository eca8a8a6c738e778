"""Numbers of seeds go in; their mean with its 95 % interval comes out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_T975 = (
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
  2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
  2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, 97.5 %, for 1 to 30 degrees of freedom."""

_Z975 = 1.95996

LEAST_DOMAINS = 3
"""What is judged is shown on so many, or it is not judged."""


class Interval(NamedTuple):
  """A mean and half the width of its 95 % interval; nan where n is 1."""

  mean: float
  half: float
  n: int

  @property
  def low(self) -> float:
    """Where it begins."""
    return self.mean - self.half

  @property
  def high(self) -> float:
    """Where it ends."""
    return self.mean + self.half


def t_975(freedom: int) -> float:
  """Student's t that 97.5 % lie below.

  Beyond the table, the first two terms of its expansion about the normal
  (Abramowitz and Stegun, 26.7.5): right to three digits.
  """
  if freedom <= len(_T975):
    return _T975[freedom - 1]
  z = _Z975
  first = (z**3 + z) / 4
  second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
  return z + first / freedom + second / freedom**2


def interval(values: Iterable[float]) -> Interval:
  """Mean and 95 % interval by Student's t."""
  v = np.array(list(values), np.float64)
  if not len(v):
    return Interval(math.nan, math.nan, 0)
  if len(v) == 1:
    return Interval(float(v[0]), math.nan, 1)
  half = t_975(len(v) - 1) * v.std(ddof=1) / math.sqrt(len(v))
  return Interval(float(v.mean()), float(half), len(v))


def verdict(difference: Interval) -> str:
  """What a difference shows over the domains that it is from."""
  if difference.n < LEAST_DOMAINS:
    return "too few domains"
  if difference.low > 0:
    return "helps"
  return "harms" if difference.high < 0 else "not shown"


def percent(found: Interval, sign: str = "") -> str:
  """Percent, or points where `sign` is "+"."""
  if not found.n:
    return "-"
  mean = format(100 * found.mean, f"{sign}.1f")
  return mean if math.isnan(found.half) else f"{mean} ± {100 * found.half:.1f}"
