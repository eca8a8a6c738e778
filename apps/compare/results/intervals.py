"""Means of several seeds' numbers, with their 95 % intervals."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tflm_fg.types import TflmFgError

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


def interval(values: Iterable[float]) -> Interval:
  """Mean and 95 % interval by Student's t."""
  v = np.array(list(values), np.float64)
  if not len(v):
    return Interval(math.nan, math.nan, 0)
  if len(v) == 1:
    return Interval(float(v[0]), math.nan, 1)
  half = _t_975(len(v) - 1) * v.std(ddof=1) / math.sqrt(len(v))
  return Interval(float(v.mean()), float(half), len(v))


@functools.cache
def _t_975(freedom: int) -> float:
  """Student's t that 97.5 % lie below."""
  try:
    from scipy import stats  # it takes a second to import
  except ImportError:
    raise TflmFgError(
      "intervals need: pip install 'tflm-fg[compare]'"
    ) from None
  return float(stats.t.ppf(0.975, freedom))


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
