"""Multipliers, shifts and ranges of int8 layers, as the engines compute them.

All of it is computed on the host, once. The rules are those of TensorFlow
Lite's kernels when they are prepared, so that a layer's numbers are theirs bit
for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_MOST = (1 << 31) - 1

NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
"""Codes of the schema for activation functions that a layer can end in."""

_REACHES = {
  NONE: (-math.inf, math.inf),
  RELU: (0.0, math.inf),
  RELU_N1_TO_1: (-1.0, 1.0),
  RELU6: (0.0, 6.0),
}


def half_away(value: float) -> int:
  """The nearest integer; of two the one that is further from zero."""
  return int(math.copysign(math.floor(abs(value) + 0.5), value))


def multiplier_of(real: float) -> tuple[int, int]:
  """A positive factor as an integer in Q31 and a shift to the left.

  Args:
    real: the factor.

  Returns:
    The multiplier, from 2**30 to 2**31 - 1, and the shift, -31 to 30; (0, 0)
    for a factor that is too small.
  """
  if real == 0:
    return 0, 0
  fraction, shift = math.frexp(real)
  multiplier = half_away(fraction * (1 << 31))
  if multiplier == 1 << 31:
    multiplier, shift = multiplier // 2, shift + 1
  if shift < -31:
    return 0, 0
  return (_MOST, 30) if shift > 30 else (multiplier, shift)


def output_multipliers(
  input_scale: float,
  kernel_scales: Sequence[float],
  output_scale: float,
  *,
  in_float32: bool,
) -> list[tuple[int, int]]:
  """What brings a layer's int32 sums to its output, one a kernel scale.

  Args:
    input_scale: of the layer's input.
    kernel_scales: one, or one an output channel.
    output_scale: of the layer's output.
    in_float32: whether the product of the two first is rounded to float32, as
      it is for a FULLY_CONNECTED with one kernel scale.
  """
  found = []
  for scale in kernel_scales:
    product = input_scale * scale
    if in_float32:
      product = float(np.float32(input_scale) * np.float32(scale))
    found.append(multiplier_of(product / output_scale))
  return found


def add_multipliers(
  first: float, second: float, output: float
) -> list[tuple[int, int]]:
  """The three factors of an int8 ADD: of each input, and of their sum."""
  twice = 2 * max(first, second)
  return [
    multiplier_of(first / twice),
    multiplier_of(second / twice),
    multiplier_of(twice / ((1 << 20) * output)),
  ]


def mean_multiplier(
  input_scale: float, output_scale: float, count: int
) -> tuple[int, int]:
  """What brings a sum of `count` numbers to the output of a MEAN."""
  multiplier, shift = multiplier_of(input_scale / output_scale)
  right = min(count.bit_length() - 1, 32, 31 + shift)
  return (multiplier << right) // count, shift - right


def output_range(
  activation: int, scale: float, zero_point: int
) -> tuple[int, int]:
  """The least and the largest int8 that a layer gives.

  Args:
    activation: NONE, RELU, RELU_N1_TO_1 or RELU6.
    scale: of the output.
    zero_point: of the output.
  """
  low, high = _REACHES[activation]

  def on_grid(value: float) -> int:
    return zero_point + half_away(float(np.float32(value) / np.float32(scale)))

  return (
    -128 if low == -math.inf else max(-128, on_grid(low)),
    127 if high == math.inf else min(127, on_grid(high)),
  )
