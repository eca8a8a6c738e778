"""Measure a layer's input in integers: its mean, its spreads, its length.

What is measured on a device's samples is defined by integers alone, so that a
microcontroller finds the same bits. The widths hold for inputs of up to 18 bits
(steps from a zero point, of int8 or int16) and up to 2**19 samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tflm_fg.fixed_point.arithmetic import (
  clipped,
  integer_root,
  round_divide,
  round_shift,
)
from tflm_fg.fixed_point.native import native
from tflm_fg.fixed_point.one_thread import exact_product
from tflm_fg.limits import parts
from tflm_fg.types import Int32, Int64

MEAN_SQUARE_BITS = 16
"""Fraction bits of a mean square; its root has half as many."""

_FLOOR = 20
"""No input counts as spread less than 1/20 of the most spread one."""

_LEAST = 1 << (MEAN_SQUARE_BITS - 4)
"""What a mean square has at least: 1/16."""


class Spread(NamedTuple):
  """What was measured.

  Attributes:
    centre: int64 [D], each input's mean in whole steps, or zeros.
    bits: int64 [D], log2 of each input's spread in steps, at least 0.
    mean_square: the mean over samples of the squared length of the centred
      input, each input divided by 2**bits, and 1/16 more; in Q16, at least
      4096.
  """

  centre: Int64
  bits: Int64
  mean_square: int


def spread_of(
  x: Int32 | Int64, centred: bool, quadratic: bool = False
) -> Spread:
  """Measures some samples of an input.

  An input's spread is the root of its mean square around the centre, in Q8,
  and 1/20 of the largest of these roots. Its bits are log2 of that, rounded.

  Args:
    x: int32 or int64 [N, D], in steps from the zero point.
    centred: whether the mean is taken off.
    quadratic: whether the length is that along the steepest direction, where
      that is less.
  """
  centre = round_divide(x.sum(axis=0), len(x))
  if not centred:
    centre = np.zeros_like(centre)
  summed = sum(((x[r] - centre) ** 2).sum(axis=0) for r in parts(x))
  found = _spread(centre, np.asarray(summed), len(x))
  if not quadratic:
    return found
  length = found.mean_square - _LEAST
  length = min(length, steepest(x - centre, found.bits))
  return found._replace(mean_square=length + _LEAST)


def spread_of_sums(
  samples: int, sums: Int64, squares: Int64, centred: bool
) -> Spread:
  """The same of samples whose sums alone are known.

  Args:
    samples: their count.
    sums: int64 [D], of the inputs in steps from the zero point.
    squares: int64 [D], of their squares.
    centred: whether the mean is taken off.
  """
  centre = round_divide(sums, samples)
  if not centred:
    centre = np.zeros_like(centre)
  around = squares - 2 * centre * sums + samples * centre * centre
  return _spread(centre, np.maximum(around, 0), samples)  # noise has signs


def _spread(centre: Int64, summed: Int64, samples: int) -> Spread:
  """What sums of squares around a centre say."""
  squares = _over(summed, samples)
  roots = integer_root(squares)  # Q8, at most 2**25
  spread = roots + roots.max() // _FLOOR
  # From 2**(b - 1/2) to below 2**(b + 1/2) is b, so its square, whose first
  # bit is 2 b - 1 or 2 b, has 2 b or 2 b + 1 bits in front of the fraction.
  bits = np.maximum(_bit_lengths(spread * spread) - MEAN_SQUARE_BITS, 0) >> 1
  length = int((squares >> (2 * bits)).sum())
  return Spread(centre, bits, length + _LEAST)


def _over(sums: Int64, samples: int) -> Int64:
  """Means of squares in Q16, rounded down; 64 bits hold both terms."""
  whole, rest = np.divmod(sums, samples)
  return (whole << MEAN_SQUARE_BITS) + (rest << MEAN_SQUARE_BITS) // samples


def _bit_lengths(x: Int64) -> Int64:
  """Bits of integers from 0 to below 2**53; 0 has none."""
  return np.frexp(x.astype(np.float64))[1].astype(np.int64)


def steepest(away: Int64, bits: Int64) -> int:
  """The largest mean square along any one direction, or more, in Q16.

  Softmax cross-entropy bends less than its bound nearly everywhere, so that a
  rate of many safe steps by the whole length is safe too. A square bends as
  much as its bound everywhere: there the bound must be tight to be of use.

  It is found by 32 steps of the power iteration. Inputs are in Q8 of their
  spread and at most 2**15, directions have 14 bits, so that no sum over up to
  2**11 inputs or 2**19 samples reaches 2**53. Lengths are Python's integers.

  Args:
    away: int64 [N, D], the centred input in steps.
    bits: int64 [D], log2 of each input's spread.
  """
  x = np.clip((away << _UNIT_BITS) >> bits, -_MOST, _MOST)
  direction = _first_bits(x[int(np.argmax((x * x).sum(axis=1)))])[0]
  square = 0
  for _ in range(_POWERS):
    length = _length(direction)
    if not length:
      break
    along, dropped = _first_bits(exact_product(x, direction[:, None])[:, 0])
    summed = exact_product(x.T, along[:, None])[:, 0]
    direction, more = _first_bits(summed)
    square = (_length(direction) << (dropped + more)) // (length * len(x))
  return square * 11 // 10


_POWERS = 32
_UNIT_BITS = 8
_MOST = (1 << 15) - 1
_DIRECTION_BITS = 14


def _first_bits(x: Int64) -> tuple[Int64, int]:
  """The leading 14 bits of the largest number, and how many were dropped."""
  most = int(np.abs(x).max(initial=0))
  dropped = max(0, most.bit_length() - _DIRECTION_BITS)
  return x >> dropped, dropped


def _length(x: Int64) -> int:
  """The length of a vector of 14 bits, in Q8."""
  return int(integer_root(np.array((x * x).sum() << 16)))


class Factors(NamedTuple):
  """Positive reals of one size: integers / 2**bits.

  Attributes:
    mantissas: int64 [n], of up to 17 bits.
    bits: of the fraction.
  """

  mantissas: Int64
  bits: int

  def over(self, divisor: int, fraction: int = 0) -> Factors:
    """The same reals divided by one number.

    Args:
      divisor: above 0 and below 2**63.
      fraction: its fraction bits.

    Returns:
      Factors whose largest has 16 or 17 bits, if this one's has 16.
    """
    # 31 bits of the divisor are enough, and leave room for the dividend.
    dropped = max(0, divisor.bit_length() - _DIVISOR_BITS)
    kept = divisor >> dropped
    more = kept.bit_length()
    found = ((self.mantissas << more) + kept // 2) // kept
    return Factors(found, self.bits + more + dropped - fraction)


_DIVISOR_BITS = 31

_SUM = 1 << 45
"""No sum counts as more; over int8 inputs none is."""

_RESULT = 1 << 31


def scaled(sums: Int64, factors: Int64, bits: Int64) -> Int64:
  """Sums times factors / 2**bits, rounded, and about 2**31 at most.

  Where bits are not above 0 the product is saturated before it is shifted up;
  it stays within 64 bits whatever comes in.

  Args:
    sums: int64, saturated at 2**45.
    factors: int64 of up to 17 bits.
    bits: int64.
  """
  if (c := native()) is not None:
    if not sums.shape == factors.shape == bits.shape:
      arrays = np.broadcast_arrays(*np.atleast_1d(sums, factors, bits))
      sums, factors, bits = map(np.ascontiguousarray, arrays)
    out = np.empty(sums.shape, np.int64)
    c.scaled(sums, factors, bits, out)
    return out
  product = clipped(sums, -_SUM, _SUM) * factors
  down = round_shift(product, clipped(bits, 1, 62))
  up = clipped(product, -_RESULT, _RESULT) << clipped(-bits, 0, 31)
  return np.where(bits > 0, down, up)
