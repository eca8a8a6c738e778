"""Draw integers of the discrete Gaussian distribution, exactly.

After Canonne, Kamath and Steinke, "The discrete Gaussian for differential
privacy" (NeurIPS 2020), algorithms 1 to 3: everything is whole numbers and
fractions of them, so that no rounding of a float tells what was hidden.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable

import numpy as np

from tflm_fg.types import Int64

Below = Callable[[int], int]
"""n -> an even draw from 0 to n - 1."""


def below_of(seed: int | None) -> Below:
  """Where random whole numbers come from.

  Args:
    seed: None for the operating system's, as hiding needs it; a number for the
      same draws in every run, as tests need them.
  """
  if seed is None:
    return secrets.randbelow
  generator = np.random.Generator(np.random.PCG64(seed))

  def below(most: int) -> int:
    bits = (most - 1).bit_length()
    while True:
      drawn = int.from_bytes(generator.bytes((bits + 7) // 8), "little")
      drawn &= (1 << bits) - 1
      if drawn < most:
        return drawn

  return below


def discrete_gaussian(count: int, variance: int, below: Below) -> Int64:
  """Whole numbers x with a probability in proportion to exp(-x^2 / 2 v).

  Args:
    count: how many.
    variance: v, a whole number from 0; 0 gives zeros.
    below: draws even whole numbers.

  Returns:
    int64 [count].
  """
  if not variance:
    return np.zeros(count, np.int64)
  drawn = (_gaussian(variance, below) for _ in range(count))
  return np.fromiter(drawn, np.int64, count)


def _gaussian(variance: int, below: Below) -> int:
  """One draw: a discrete Laplace draw, kept with the right probability."""
  scale = math.isqrt(variance) + 1
  while True:
    found = _laplace(scale, below)
    away = abs(found) * scale - variance
    # exp(-(|x| - v / t)^2 / 2 v), over a common denominator.
    if _happens(away * away, 2 * variance * scale * scale, below):
      return found


def _laplace(scale: int, below: Below) -> int:
  """One draw in proportion to exp(-|x| / scale)."""
  while True:
    rest = below(scale)
    if not _happens(rest, scale, below):
      continue
    whole = 0
    while _happens(1, 1, below):
      whole += 1
    found = rest + scale * whole
    is_negative = below(2)
    if found or not is_negative:  # zero has one sign alone
      return -found if is_negative else found


def _happens(over: int, under: int, below: Below) -> bool:
  """True with probability exp(-over / under), over from 0."""
  while over > under:
    if not _happens_small(1, 1, below):
      return False
    over -= under
  return _happens_small(over, under, below)


def _happens_small(over: int, under: int, below: Below) -> bool:
  """The same for over from 0 to under: von Neumann's way to exp(-x)."""
  count = 1
  while below(under * count) < over:
    count += 1
  return count % 2 == 1
