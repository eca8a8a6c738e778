"""What a head trains on, and what is measured of it, in 32-bit integers."""

from __future__ import annotations

from typing import NamedTuple

from tflm_fg.signatures.engine import Engine, Value, within


class Samples(NamedTuple):
  """What a head trains on: remembered samples, then imagined ones.

  Attributes:
    features: int8 [T, D].
    columns: int8 [D, T], the same transposed.
    hot: int32 [C, T], one-hot labels; all 0 where there is none.
    groups: int32 [2, T], 1 for a remembered and for an imagined sample that
      counts.
    parts: int32 [2, 1], what the mean of each group counts.
    scored: int32 [2, T], 1 where a sample is kept aside, and where it is
      remembered.
  """

  features: Value
  columns: Value
  hot: Value
  groups: Value
  parts: Value
  scored: Value


class Measured(NamedTuple):
  """What is known of the features of the samples that count.

  Attributes:
    numbers: int32 [2, 1, 1], how many samples each group has, at least 1.
    total: int32 [1, 1], the sum of the parts, at least 1.
    centre: int32 [1, D], each feature's mean.
    bits: int32 [1, D], log2 of each feature's mean square, from 0 to 14.
    length: int32 [1], the mean squared length of a centred sample, each
      feature divided by 2**bits, in 1/16.
  """

  numbers: Value
  total: Value
  centre: Value
  bits: Value
  length: Value


def measure(e: Engine, samples: Samples) -> Measured:
  """Measures the features of the samples that count."""
  numbers = e.maximum(e.sum(samples.groups, 1, keepdims=True), 1)
  total = e.maximum(e.sum(samples.parts, 0, keepdims=True), 1)
  groups = e.cast(samples.groups, "int8")

  def mean(sums: Value) -> Value:
    of_groups = sums // numbers * samples.parts
    return e.sum(of_groups, 0, keepdims=True) // total

  centre = mean(e.matmul(groups, samples.columns))
  away = e.cast(samples.features, "int32") - centre
  # Two digits of seven bits; what is further away counts as 127.
  away = within(e, away, -127, 127)
  squares = e.transposed(away * away)
  high = squares >> 7
  low = squares - high * 128
  sums = e.matmul(groups, e.cast(high, "int8")) * 128
  square = mean((sums + e.matmul(groups, e.cast(low, "int8"))) * 16)
  spread = square + e.max(square, 1, keepdims=True) // 400
  steps = e.constant([[16 << power] for power in range(1, 15, 2)])
  bits = e.sum(e.cast(spread >= steps, "int32"), 0, keepdims=True) * 2
  length = e.sum(square >> bits, 1) + 1
  numbers = e.reshaped(numbers, [2, 1, 1])
  return Measured(numbers, total, centre, bits, length)
