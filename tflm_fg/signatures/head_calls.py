"""What the signatures of a head do: train, evaluate, give and take weights."""

from __future__ import annotations

import math
from typing import NamedTuple

from tflm_fg.signatures.engine import Engine, Value
from tflm_fg.signatures.head import (
  UNITS,
  HeadSpec,
  logits,
  rounded,
  state_of,
  tell,
)
from tflm_fg.signatures.head_training import (
  MOST_RATE,
  RATE_BITS,
  Samples,
  samples_of,
  train,
)

MOST_STEPS = 10000
"""Steps of one call at most."""

_MOST_MASTER = 127 * 256


class Scores(NamedTuple):
  """What `evaluate` says of the samples that are remembered.

  Attributes:
    loss: float32 [1], mean cross-entropy in nats; -1 where there is none.
    correct: int32 [1], how many are recognized.
    count: int32 [1], how many there are.
  """

  loss: Value
  correct: Value
  count: Value


class HeadWeights(NamedTuple):
  """What `get_weights` gives.

  Attributes:
    kernel: int32 [C, D], 256 units an int8 step.
    bias: int32 [C], in the layer's own unit.
  """

  kernel: Value
  bias: Value


def scores(
  e: Engine, spec: HeadSpec, kernel: Value, bias: Value, samples: Samples
) -> Scores:
  """Of weights, int16 [C, D] and int32 [C], on samples."""
  steps = rounded(e, kernel)
  ones = e.sum(e.cast(steps, "int32"), 1, keepdims=True)
  offset = e.reshaped(bias, [spec.classes, 1]) - ones * spec.input_zero_point
  found = logits(e, spec, steps, offset, samples.features)
  told = tell(e, spec, found, samples.hot)
  rows = samples.features.shape[0]
  count = e.sum(e.reshaped(e.sum(samples.hot, 0), [1, rows]), 1)
  loss = e.sum(e.reshaped(told.loss, [1, rows]), 1)
  right = e.sum(e.reshaped(told.right, [1, rows]), 1)
  return Scores(mean_loss(e, loss, count), right, count)


def mean_loss(e: Engine, total: Value, count: Value) -> Value:
  """Sums of losses in 1/128 bit as a mean in nats; -1 of no sample.

  It is computed in float32, by a product and a quotient, each rounded as IEEE
  754 says; nothing that trains depends on it.
  """
  nats = e.cast(total, "float32") * (math.log(2) / UNITS)
  mean = nats / e.cast(e.maximum(count, 1), "float32")
  return e.select(count >= 1, mean, e.constant([-1], "float32"))


def remembered(e: Engine, spec: HeadSpec) -> Samples:
  """The samples of the ring."""
  state = state_of(spec)
  return samples_of(e, spec, e.read(state.features), e.read(state.labels))


def train_head(e: Engine, spec: HeadSpec, steps: Value, rate: Value) -> Value:
  """Trains the head on what is remembered.

  Args:
    e: the engine.
    spec: of the head.
    steps: int32 [1], above 0.
    rate: float32 [1], above 0; 1 is the longest step that is always safe.

  Returns:
    The mean loss on what is remembered, in nats: float32 [1]. It is -1, and
    the weights are as they were, where nothing is remembered, where steps or
    rate are not above 0, or where the rate is no number.
  """
  state = state_of(spec)
  samples = remembered(e, spec)
  kernel, bias = e.read(state.kernel), e.read(state.bias)
  sane = (rate >= 2.0**-RATE_BITS) & (steps >= 1)
  rate = e.select(sane, rate, e.constant([1], "float32"))
  units = e.cast(
    e.minimum(rate, float(MOST_RATE)) * float(1 << RATE_BITS), "int32"
  )
  before = scores(e, spec, kernel, bias, samples)
  sane = sane & (before.count >= 1)
  steps = e.select(sane, e.minimum(steps, MOST_STEPS), e.constant([0]))
  trained, other = train(e, spec, kernel, bias, samples, steps, units)
  trained, other = e.select(sane, trained, kernel), e.select(sane, other, bias)
  e.assign(state.kernel, trained)
  e.assign(state.bias, other)
  after = scores(e, spec, trained, other, samples)
  return e.select(sane, after.loss, e.constant([-1], "float32"))


def evaluate_head(e: Engine, spec: HeadSpec) -> Scores:
  """How well the head does on what is remembered."""
  state = state_of(spec)
  kernel, bias = e.read(state.kernel), e.read(state.bias)
  return scores(e, spec, kernel, bias, remembered(e, spec))


def weights_now(e: Engine, spec: HeadSpec) -> HeadWeights:
  """The weights as they are."""
  state = state_of(spec)
  kernel = e.cast(e.read(state.kernel), "int32")
  # An output must be a tensor of its own, not a variable's.
  return HeadWeights(kernel, e.read(state.bias) + 0)


def set_weights(e: Engine, spec: HeadSpec, kernel: Value, bias: Value) -> Value:
  """Puts weights into the file.

  Args:
    e: the engine.
    spec: of the head.
    kernel: int32 [C, D], as `get_weights` gave it.
    bias: int32 [C].

  Returns:
    int32 [1]: 1; or 0, where a number of the kernel is out of the range of
    127 int8 steps, and all stays as it was.
  """
  state = state_of(spec)
  # One less on both sides: what wraps around becomes the largest number.
  far = e.maximum(kernel - 1, kernel * -1 - 1)
  far = e.max(e.reshaped(far, [1, spec.classes * spec.inputs]), 1)
  fits = far < _MOST_MASTER
  held = e.cast(kernel, "int16")
  e.assign(state.kernel, e.select(fits, held, e.read(state.kernel)))
  e.assign(state.bias, e.select(fits, bias, e.read(state.bias)))
  return e.cast(fits, "int32")
