"""Train a head on what is remembered, in 32-bit integers.

It is the closed form of `gradients.closed_form` in a form that needs no 64-bit
number: the exact gradient of cross-entropy, on centred features, each feature's
step divided by its mean square (a power of two), with momentum and a rate that
falls to zero. A rate of 1 is the longest step that is safe for any samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tflm_fg.signatures.engine import Engine, Value
from tflm_fg.signatures.head import (
  HeadSpec,
  logits,
  mantissas,
  one_hot,
  rounded,
  tell,
)

RATE_BITS = 10
"""Fraction bits of a rate."""

MOST_RATE = 64
"""A rate counts as no more."""

MOMENTUM = 205
"""0.8 in 1/256."""

_BIAS_SHARE = 1 / 11
"""Share of a step that the bias has, as an input of its own."""

_STEP_BITS = 16
"""Fraction bits of an int8 step while a head trains."""

_MOST_MOVE = 1 << 22
_MOST_WEIGHT = 127 << _STEP_BITS
_BIAS_BITS = 6
_MOST_BIAS = 1 << 30


class Samples(NamedTuple):
  """What a head trains on.

  Attributes:
    features: int8 [N, D].
    columns: int8 [D, N], the same transposed.
    hot: int32 [C, N], one-hot labels; 0 where a sample does not count.
  """

  features: Value
  columns: Value
  hot: Value


class Measured(NamedTuple):
  """What is known of the features of the samples.

  Attributes:
    number: int32 [1, 1], how many samples count, at least 1.
    centre: int32 [1, D], each feature's mean.
    bits: int32 [1, D], log2 of each feature's mean square, from 0 to 16.
    length: int32 [1], the mean squared length of a centred sample, each
      feature divided by 2**bits, in 1/16.
  """

  number: Value
  centre: Value
  bits: Value
  length: Value


def measure(e: Engine, samples: Samples) -> Measured:
  """Measures the features of the samples that count."""
  counts = e.sum(samples.hot, 0, keepdims=True)  # [1, N]
  number = e.maximum(e.sum(counts, 1, keepdims=True), 1)
  total = e.matmul(e.cast(counts, "int8"), samples.columns)  # [1, D]
  centre = (total + (number >> 1)) // number
  away = e.cast(samples.features, "int32") - centre
  away = away * e.reshaped(counts, [samples.features.shape[0], 1])
  squares = e.sum(away * away, 0, keepdims=True)
  # In 1/16; the remainder is divided apart, so that nothing wraps.
  whole = squares // number
  square = whole * 16 + (squares - whole * number) * 16 // number
  spread = square + e.max(square, 1, keepdims=True) // 400
  steps = e.constant([[16 << power] for power in range(1, 17, 2)])
  bits = e.sum(e.cast(spread >= steps, "int32"), 0, keepdims=True) * 2
  length = e.sum(square >> bits, 1) + 1
  return Measured(number, centre, bits, length)


def bit_length(e: Engine, x: Value) -> Value:
  """How many bits x, int32 [1] and at least 0, has: int32 [1]."""
  powers = e.constant([[1 << k for k in range(31)]])
  return e.sum(e.cast(e.reshaped(x, [1, 1]) >= powers, "int32"), 1)


class Step(NamedTuple):
  """A positive real: mantissa * 2**-bits.

  Attributes:
    mantissa: int32 [1], of 10 bits.
    bits: int32 [1].
  """

  mantissa: Value
  bits: Value


def as_step(e: Engine, x: Value) -> Step:
  """The leading 10 bits of x, int32 [1], from 0 to 2**30."""
  length = bit_length(e, x)
  down = e.maximum(length - 10, 0)
  up = e.maximum(10 - length, 0)
  powers = e.constant([1 << k for k in range(11)])
  return Step((x >> down) * e.take(powers, up), up - down)


def constants(spec: HeadSpec) -> tuple[tuple[np.ndarray, ...], ...]:
  """What a mean of residuals is times, a unit of rate, before spreads count.

  Returns:
    Mantissas of 10 bits and their bits, both int32 [C, 1]; of weights, in
    2**-16 int8 steps, and of biases, in 2**-6 of their unit.
  """
  unit = 2.0**-spec.residual_bits / spec.unit_scales
  weights = 2 * (1 - _BIAS_SHARE) * unit * 2.0**_STEP_BITS
  biases = 2 * _BIAS_SHARE * unit * 2.0**_BIAS_BITS
  found = (mantissas(x, 10) for x in (weights, biases))
  return tuple(tuple(part[:, None] for part in pair) for pair in found)


def moved(e: Engine, sums: Value, factors: Value, bits: Value) -> Value:
  """Gives sums * factors / 2**bits, at most 2**22 either way.

  Args:
    e: the engine.
    sums: int32, of up to 21 bits beside the sign.
    factors: int32, of up to 10 bits.
    bits: int32; below 0 to multiply.
  """
  down = e.minimum(e.maximum(bits, 0), 31)
  up = e.minimum(e.maximum(bits * -1, 0), 20)
  most = e.constant(_MOST_MOVE) >> up
  product = (sums * factors) >> down
  product = e.minimum(e.maximum(product, most * -1), most)
  return product * e.take(e.constant([1 << k for k in range(21)]), up)


class Weights(NamedTuple):
  """A head while it trains.

  Attributes:
    kernel: int32 [C, D], in 2**-16 int8 steps.
    bias: int32 [C, 1]: the logits at the centre, in 2**-6 of the bias's unit.
    kernel_speed: int32 [C, D], what the last step moved the kernel by.
    bias_speed: int32 [C, 1].
  """

  kernel: Value
  bias: Value
  kernel_speed: Value
  bias_speed: Value


def as_int8(e: Engine, kernel: Value) -> Value:
  """The int8 weights of a head that trains, by way of its int16 ones."""
  return rounded(e, as_masters(e, kernel))


def as_masters(e: Engine, kernel: Value) -> Value:
  """The int16 weights of a head that trains."""
  return e.cast((kernel + 128) >> (_STEP_BITS - 8), "int16")


def at_centre(e: Engine, kernel: Value, centre: Value) -> Value:
  """int8 weights [C, D] times a centre, int32 [1, D]: int32 [C, 1]."""
  return e.sum(e.cast(kernel, "int32") * centre, 1, keepdims=True)


def begin(
  e: Engine, spec: HeadSpec, kernel: Value, bias: Value, centre: Value
) -> Weights:
  """A head that is about to train.

  Args:
    e: the engine.
    spec: of the head.
    kernel: int16 [C, D].
    bias: int32 [C].
    centre: int32 [1, D].
  """
  steps = rounded(e, kernel)
  middle = at_centre(e, steps, centre - spec.input_zero_point)
  middle = middle + e.reshaped(bias, [spec.classes, 1])
  most = _MOST_BIAS >> _BIAS_BITS
  middle = e.minimum(e.maximum(middle, -most), most)
  return Weights(
    e.cast(kernel, "int32") * (1 << (_STEP_BITS - 8)),
    middle * (1 << _BIAS_BITS),
    e.filled([spec.classes, spec.inputs], 0, "int32"),
    e.filled([spec.classes, 1], 0, "int32"),
  )


def ended(
  e: Engine, spec: HeadSpec, weights: Weights, centre: Value
) -> tuple[Value, Value]:
  """The masters int16 [C, D] and biases int32 [C] of a head that trained."""
  masters = as_masters(e, weights.kernel)
  kernel = rounded(e, masters)
  middle = (weights.bias + (1 << (_BIAS_BITS - 1))) >> _BIAS_BITS
  bias = middle - at_centre(e, kernel, centre - spec.input_zero_point)
  return masters, e.reshaped(bias, [spec.classes])


def product(e: Engine, residual: Value, columns: Value) -> Value:
  """Residuals [C, N] times int8 features [D, N]: int32 [C, D].

  A residual has up to 14 bits beside the sign, and goes in as two int8 digits.
  """
  high = (residual + 64) >> 7
  low = residual - high * 128
  return e.matmul(e.cast(high, "int8"), columns) * 128 + e.matmul(
    e.cast(low, "int8"), columns
  )


def means(
  e: Engine,
  spec: HeadSpec,
  weights: Weights,
  samples: Samples,
  measured: Measured,
) -> tuple[Value, Value]:
  """The gradient: means over samples of residuals times centred features.

  Returns:
    int32 [C, D], of up to 21 bits, and of the residuals alone, [C, 1].
  """
  kernel = as_int8(e, weights.kernel)
  middle = (weights.bias + (1 << (_BIAS_BITS - 1))) >> _BIAS_BITS
  offset = middle - at_centre(e, kernel, measured.centre)
  found = logits(e, spec, kernel, offset, samples.features)
  residual = tell(e, spec, found, samples.hot).residual
  total = e.sum(residual, 1, keepdims=True)
  sums = product(e, residual, samples.columns) - total * measured.centre
  half = measured.number >> 1
  return (sums + half) // measured.number, (total + half) // measured.number


def train(
  e: Engine,
  spec: HeadSpec,
  kernel: Value,
  bias: Value,
  samples: Samples,
  steps: Value,
  rate: Value,
) -> tuple[Value, Value]:
  """Trains for some steps.

  Args:
    e: the engine.
    spec: of the head.
    kernel: int16 [C, D].
    bias: int32 [C].
    samples: that it trains on.
    steps: int32 [1].
    rate: int32 [1], in 1/1024, at most 2**16.

  Returns:
    The trained kernel and bias, int16 [C, D] and int32 [C].
  """
  measured = measure(e, samples)
  start = begin(e, spec, kernel, bias, measured.centre)

  def step(
    e: Engine, number: Value, state: list[Value], kept: list[Value]
  ) -> Weights:
    weights = Weights(*state)
    *rest, steps, rate = kept
    seen, known = Samples(*rest[:3]), Measured(*rest[3:])
    left = e.maximum(steps, 1) - number
    # The rate falls to zero: rate * left / steps, without a large product.
    now = rate * left // steps
    return stepped(e, spec, weights, seen, known, now)

  after = e.loop(steps, list(start), [*samples, *measured, steps, rate], step)
  return ended(e, spec, Weights(*after), measured.centre)


def stepped(
  e: Engine,
  spec: HeadSpec,
  weights: Weights,
  samples: Samples,
  measured: Measured,
  rate: Value,
) -> Weights:
  """One step at a rate, int32 [1] in 1/1024."""
  slopes, residuals = means(e, spec, weights, samples, measured)
  (own, own_bits), (other, other_bits) = constants(spec)
  # rate / length, both as mantissa and bits; a length is in 1/16.
  short = as_step(e, measured.length)
  fast = as_step(e, rate)
  ratio = as_step(e, fast.mantissa * 1024 // short.mantissa)
  ratio_bits = ratio.bits + 10 + fast.bits - short.bits + RATE_BITS - 4
  factors = (e.constant(own) * ratio.mantissa) >> 10
  bits = e.constant(own_bits) + ratio_bits - 10 + measured.bits
  pull = moved(e, slopes, factors, bits)
  factors = (e.constant(other) * fast.mantissa) >> 10
  bits = e.constant(other_bits) + fast.bits + RATE_BITS - 10
  pull_bias = moved(e, residuals, factors, bits)
  speed = limited(e, ((weights.kernel_speed * MOMENTUM) >> 8) - pull)
  bias_speed = limited(e, ((weights.bias_speed * MOMENTUM) >> 8) - pull_bias)
  kernel = weights.kernel + speed
  bias = weights.bias + bias_speed
  return Weights(
    e.minimum(e.maximum(kernel, -_MOST_WEIGHT), _MOST_WEIGHT),
    e.minimum(e.maximum(bias, -_MOST_BIAS), _MOST_BIAS),
    speed,
    bias_speed,
  )


def limited(e: Engine, speed: Value) -> Value:
  """A speed, at most 2**22 either way."""
  return e.minimum(e.maximum(speed, -_MOST_MOVE), _MOST_MOVE)


def samples_of(
  e: Engine, spec: HeadSpec, features: Value, labels: Value
) -> Samples:
  """Features [N, D] and labels [N], -1 for none, as samples."""
  return Samples(features, e.transposed(features), one_hot(e, spec, labels))
