"""Widen, round, saturate: the only place where a number is clipped.

Masters are int16. An engine that holds an int8 holds the master's high byte,
rounded; one that holds a low byte beside it, or an int16, holds all of it.
Biases are already integers of one unit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tflm_fg.types import Array, Int8, Int16, Int32, Int64

MASTER_BITS = 8
MASTER_UNIT = 1 << MASTER_BITS
"""Master units in one int8 step."""

WEIGHT_MAX = 127
"""TFLite's symmetric weights never use -128: kernels rely on it."""

LIMITS: dict[Any, tuple[int, int]] = {
  np.dtype(d): (int(np.iinfo(d).min), int(np.iinfo(d).max))
  for d in ("int8", "uint8", "int16", "int32", "int64")
}
MEAN_BITS = 4
"""Means of activations are kept in 1/16 of an output step."""

_MASTER_MAX = WEIGHT_MAX << MASTER_BITS

_Limits = tuple[int, int] | tuple[Array, Array]
"""The lowest and the highest that may be, or an array of each."""


def round_shift(
  x: NDArray[np.signedinteger], bits: int | Int64
) -> NDArray[np.signedinteger]:
  """Divides by 2**bits and rounds half away from zero.

  Symmetric rounding makes a reversed step the exact opposite of the step.

  Args:
    x: signed integers wide enough to add 2**(bits - 1) without overflow.
    bits: at least 1.

  Returns:
    The same dtype and shape.
  """
  # A negative number rounds to the same as one less than half would.
  rounded = x >> (8 * x.itemsize - 1)
  rounded += x
  rounded += 1 << (bits - 1)
  rounded >>= bits
  return rounded


def round_divide(
  x: NDArray[np.signedinteger], divisor: int | Int64
) -> NDArray[np.signedinteger]:
  """Divides by positive integers and rounds half away from zero."""
  if isinstance(divisor, int) and divisor == 1:
    return x
  return np.sign(x) * ((np.abs(x) + divisor // 2) // divisor)


def integer_root(x: Int64) -> Int64:
  """The largest integers whose squares are not above x.

  The float root is corrected by integers, so that it is exact on any machine.

  Args:
    x: int64, 0 to 2**62.
  """
  root = np.sqrt(x).astype(np.int64)
  root -= root * root > x
  root += (root + 1) * (root + 1) <= x
  return root


def as_factors(reals: NDArray[np.float64]) -> tuple[Int64, int]:
  """Positive reals as integers of 16 bits: integers / 2**bits."""
  bits = _FACTOR_BITS - math.ceil(math.log2(reals.max()))
  return np.rint(reals * 2.0**bits).astype(np.int64), bits


_FACTOR_BITS = 16


def widen(weights: Int8) -> Int16:
  """Makes the masters of int8 kernel values: the low byte starts at zero."""
  return weights.astype(np.int16) << MASTER_BITS


def narrow(masters: NDArray[np.signedinteger]) -> Int8:
  """Rounds masters (any signed width, any range) to the int8 the engine holds.

  Half a step rounds up, one addition and one shift on a microcontroller.

  Returns:
    int8 in [-127, 127].
  """
  steps = np.empty(masters.shape, np.int8)
  _narrow_into(masters.astype(np.int32), steps)
  return steps


def _narrow_into(
  masters: Int32,
  out: Int8,
  limits: _Limits = (-WEIGHT_MAX, WEIGHT_MAX),
  dither: int | Int32 = MASTER_UNIT >> 1,
) -> None:
  """Narrows into `out`; `masters` is used up.

  Half a step of dither rounds to the nearest, an even draw of 0 to 255
  stochastically.
  """
  masters += dither
  masters >>= MASTER_BITS
  clip_into(masters, limits, out)


def clip_into(
  x: NDArray[np.signedinteger], limits: _Limits, out: Array
) -> None:
  """Clips x into `out` of any width; `x` is used up.

  Faster than np.clip on few numbers, and on many where limits are arrays.
  """
  np.minimum(x, limits[1], out=x)
  np.maximum(x, limits[0], out=out, casting="unsafe")


def saturate(x: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
  """Clips integers into `dtype` and casts them."""
  low, high = LIMITS[np.dtype(dtype)]
  if x.dtype.itemsize < 4:  # its own type may not hold the limits
    return np.clip(x, low, high).astype(dtype)
  return clipped(x, low, high).astype(dtype)


def clipped(x: NDArray[Any], low: Any, high: Any) -> NDArray[Any]:
  """What np.clip gives; that asks for the limits of x's type at every call.

  Args:
    x: of a type that holds the limits.
    low: the least.
    high: the most.
  """
  return np.minimum(np.maximum(x, low), high)


def symmetric(x: NDArray[np.signedinteger]) -> Int8:
  """Clips integers to a direction's int8, as far down as up."""
  return np.clip(x, -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)


def channel_means(activation: Array) -> Int64:
  """Means over samples and positions: int64 [C], in 1/16 of a step.

  Args:
    activation: integers [N, ..., C].
  """
  flat = activation.reshape(-1, activation.shape[-1]).astype(np.int64)
  return round_divide(flat.sum(axis=0) << MEAN_BITS, len(flat))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
  """The same array, closed to writing: what is cached is handed out so."""
  array.flags.writeable = False
  return array


SATURATED = 0.05
"""Share of a layer's weights at an end of their range that is too many."""


def saturated_share(before: Array, after: Array) -> float:
  """Share of the kernels that training has moved to an end of their range.

  Args:
    before: int16 [K], masters before training.
    after: int16 [K], the same behind it.
  """
  if not after.size:
    return 0.0
  then, now = (np.abs(m.astype(int)) >= _MASTER_MAX for m in (before, after))
  return float((now & ~then).mean())


def quantize(
  x: NDArray[np.floating], scale: float, zero_point: int, dtype: str
) -> Array:
  """Rounds real numbers onto a tensor's grid, as the TFLite converter does."""
  return saturate(np.rint(x / scale) + zero_point, dtype)


def fixed_point(
  x: NDArray[np.floating], step: float, low: int, high: int
) -> Int64:
  """Rounds real numbers to whole steps, saturated at `low` and `high`."""
  with np.errstate(over="ignore"):  # far beyond the ends is still beyond
    steps = np.rint(x / step)
  return np.clip(steps, low, high).astype(np.int64)


def dequantize(q: Array, scale: float, zero_point: int) -> NDArray[np.float64]:
  """The real numbers that a quantized tensor stands for."""
  return (q.astype(np.float64) - zero_point) * scale
