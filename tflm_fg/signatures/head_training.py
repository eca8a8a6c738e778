"""Train a head on what is remembered, in 32-bit integers.

It is the closed form of `gradients.closed_form` in a form that needs no 64-bit
number: the exact gradient of cross-entropy, on centred features, each feature's
step divided by its mean square (a power of two), with momentum and a rate that
falls to zero. A rate of 1 is the longest step that is safe for any samples.

Samples are in two groups, remembered and imagined. Each group counts by its
mean, so that it does not matter how many samples stand for a class.
"""

from __future__ import annotations

from typing import NamedTuple

from tflm_fg.signatures.engine import Engine, Value, within
from tflm_fg.signatures.head import (
  HeadSpec,
  logits,
  odds,
  rounded,
  scored,
)
from tflm_fg.signatures.head_samples import Measured, Samples, measure
from tflm_fg.signatures.head_scales import (
  BIAS_BITS,
  STEP_BITS,
  Factors,
  factors_of,
  moved,
)

MOMENTUM = 205
"""0.8 in 1/256."""

_MOST_WEIGHT = 127 << STEP_BITS
_MOST_BIAS = 1 << 30


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
  """The int8 weights of a head that trains: its int16 ones, rounded."""
  half = (1 << (STEP_BITS - 1)) + 128
  return e.cast((kernel + half) >> STEP_BITS, "int8")


def as_masters(e: Engine, kernel: Value) -> Value:
  """The int16 weights of a head that trains."""
  return e.cast((kernel + 128) >> (STEP_BITS - 8), "int16")


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
  most = _MOST_BIAS >> BIAS_BITS
  middle = within(e, middle, -most, most)
  return Weights(
    e.cast(kernel, "int32") * (1 << (STEP_BITS - 8)),
    middle * (1 << BIAS_BITS),
    e.filled([spec.classes, spec.inputs], 0, "int32"),
    e.filled([spec.classes, 1], 0, "int32"),
  )


def ended(
  e: Engine, spec: HeadSpec, weights: Weights, centre: Value
) -> tuple[Value, Value]:
  """The masters int16 [C, D] and biases int32 [C] of a head that trained."""
  masters = as_masters(e, weights.kernel)
  kernel = rounded(e, masters)
  middle = (weights.bias + (1 << (BIAS_BITS - 1))) >> BIAS_BITS
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


class Fit(NamedTuple):
  """A head while it trains, and how well it did.

  Attributes:
    weights: as they are.
    first: int32 [2, 2], before the first step: how many of the samples that
      are kept aside, and of all that are remembered, were right; and the sums
      of their losses in 1/128 bit.
    last: int32 [2, 2], the same of the weights as they are.
  """

  weights: Weights
  first: Value
  last: Value


def fit(
  e: Engine,
  spec: HeadSpec,
  kernel: Value,
  bias: Value,
  samples: Samples,
  steps: Value,
  rate: Value,
) -> tuple[Value, Value, Value, Value]:
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
    The trained kernel and bias, int16 [C, D] and int32 [C]; and how well the
    head did before the first step and after the last, as `Fit` has it.
  """
  measured = measure(e, samples)
  start = begin(e, spec, kernel, bias, measured.centre)
  nothing = e.filled([2, 2], 0, "int32")
  factors = factors_of(e, spec, measured, rate)
  kept = [*samples, *measured, *factors, steps]

  def step(
    e: Engine, number: Value, state: list[Value], kept: list[Value]
  ) -> list[Value]:
    *weights, first, _ = state
    seen, known, scale = (
      Samples(*kept[:6]),
      Measured(*kept[6:11]),
      Factors(*kept[11:15]),
    )
    after, score = stepped(
      e, spec, Weights(*weights), seen, known, scale, number, kept[15]
    )
    return [*after, e.select(number >= 1, first, score), score]

  # One more step, which moves nothing, says how well the last one did.
  *state, first, last = e.loop(
    "fit", steps + 1, [*start, nothing, nothing], kept, step
  )
  return (*ended(e, spec, Weights(*state), measured.centre), first, last)


def stepped(
  e: Engine,
  spec: HeadSpec,
  weights: Weights,
  samples: Samples,
  measured: Measured,
  factors: Factors,
  number: Value,
  steps: Value,
) -> tuple[Weights, Value]:
  """One step, and how well the weights before it did.

  Args:
    e: the engine.
    spec: of the head.
    weights: before the step.
    samples: that it trains on.
    measured: of them.
    factors: of the first step. They fall to zero with the steps.
    number: int32 [1], of the step, from 0.
    steps: int32 [1], how many there are. Step `steps` moves nothing.
  """
  slopes, residuals, score = means(e, spec, weights, samples, measured)
  left = steps - number
  share = left * 256 // e.maximum(steps, 1)
  pull = moved(e, slopes, factors.kernel, factors.kernel_bits, share)
  pull_bias = moved(e, residuals, factors.bias, factors.bias_bits, share)
  go = e.minimum(left, 1)
  speed = (((weights.kernel_speed * MOMENTUM) >> 8) - pull) * go
  bias_speed = (((weights.bias_speed * MOMENTUM) >> 8) - pull_bias) * go
  after = Weights(
    within(e, weights.kernel + speed, -_MOST_WEIGHT, _MOST_WEIGHT),
    within(e, weights.bias + bias_speed, -_MOST_BIAS, _MOST_BIAS),
    speed,
    bias_speed,
  )
  return after, score


def means(
  e: Engine,
  spec: HeadSpec,
  weights: Weights,
  samples: Samples,
  measured: Measured,
) -> tuple[Value, Value, Value]:
  """The gradient, and how well the weights do.

  Returns:
    Means of residuals times centred features, int32 [C, D], of up to 21 bits;
    means of residuals, int32 [C, 1]; and scores, as `Fit.last`.
  """
  kernel = as_int8(e, weights.kernel)
  middle = (weights.bias + (1 << (BIAS_BITS - 1))) >> BIAS_BITS
  offset = middle - at_centre(e, kernel, measured.centre)
  found = logits(e, spec, kernel, offset, samples.features)
  said = odds(e, spec, found)
  rows, columns = found.shape
  residual = said.shares - samples.hot * (1 << spec.residual_bits)
  residual = e.reshaped(residual, [1, rows, columns])
  residual = residual * e.reshaped(samples.groups, [2, 1, columns])
  residual = e.reshaped(residual, [2 * rows, columns])
  total = e.sum(residual, 1, keepdims=True)
  sums = product(e, residual, samples.columns) - total * measured.centre

  parts = e.reshaped(samples.parts, [2, 1, 1])

  def mean(sums: Value) -> Value:
    of_groups = e.reshaped(sums, [2, rows, sums.shape[1]])
    of_groups = of_groups // measured.numbers * parts
    return e.sum(of_groups, 0) // measured.total

  score = scored(e, spec, found, said, samples.hot)
  score = e.reshaped(score, [2, 1, columns])
  score = score * e.reshaped(samples.scored, [1, 2, columns])
  return mean(sums), mean(total), e.sum(score, 2)
