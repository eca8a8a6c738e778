"""What the signatures of a head do: train, evaluate, give and take weights.

Training is guarded. Of each class every fifth remembered sample, from the third
on, is kept aside. The head trains on the others first. If that leaves it no
worse on the samples that were kept aside, it trains on all of them, from where
it began; else it stays as it was.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tflm_fg.signatures.chance import beyond_chance
from tflm_fg.signatures.engine import Engine, Value
from tflm_fg.signatures.head import (
  UNITS,
  HeadSpec,
  one_hot,
  rounded,
  state_of,
)
from tflm_fg.signatures.head_samples import Samples
from tflm_fg.signatures.head_scales import MOST_RATE, RATE_BITS
from tflm_fg.signatures.head_training import fit
from tflm_fg.signatures.imagined import Ring, imagined, ring_of

MOST_STEPS = 10000
"""Steps of one call at most."""

_KEPT_OF = 5
_KEPT_FIRST = 3

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


class _Start(NamedTuple):
  """What both rounds of training begin with.

  Attributes:
    kernel: int16 [C, D].
    bias: int32 [C].
    features: int8 [T, D], remembered and imagined.
    columns: int8 [D, T].
    hot: int32 [C, T].
    parts: int32 [2, 1].
    kept: int32 [1, T], 1 where a sample is kept aside.
    scored: int32 [2, T].
    steps: int32 [1].
    rate: int32 [1].
  """

  kernel: Value
  bias: Value
  features: Value
  columns: Value
  hot: Value
  parts: Value
  kept: Value
  scored: Value
  steps: Value
  rate: Value


def guarded(
  e: Engine, spec: HeadSpec, steps: Value, rate: Value
) -> tuple[Value, Value, Value, Value]:
  """Trains, and stays where it was where that is no better.

  Args:
    e: the engine.
    spec: of the head.
    steps: int32 [1]; 0 to measure alone.
    rate: int32 [1], in 1/1024.

  Returns:
    Mean loss float32 [1], and int32 [1] each: how many are right, how many
    there are, all of what is remembered; and 1 where the head has moved.
  """
  state = state_of(spec)
  kernel, bias = e.read(state.kernel), e.read(state.bias)
  features, labels = e.read(state.features), e.read(state.labels)
  hot = one_hot(e, spec, labels)
  ring = ring_of(e, features, labels, hot)
  start = _start(e, spec, ring, kernel, bias, steps, rate)

  def round_of(
    e: Engine, number: Value, state: list[Value], kept: list[Value]
  ) -> list[Value]:
    return _round(e, spec, number, state, _Start(*kept))

  count = e.sum(ring.per_class, 0)
  may_train = e.minimum(count, 1)
  best = [kernel, bias, may_train, e.filled([2, 2], 0, "int32")]
  found = e.loop("round", e.constant([2]), best, list(start), round_of)
  e.assign(state.kernel, found[0])
  e.assign(state.bias, found[1])
  right, loss = (_picked(e, found[3], row, 1) for row in range(2))
  return mean_loss(e, loss, count), right, count, found[2]


def _start(
  e: Engine,
  spec: HeadSpec,
  ring: Ring,
  kernel: Value,
  bias: Value,
  steps: Value,
  rate: Value,
) -> _Start:
  """Imagines samples of absent classes, and keeps others aside."""
  own = rounded(e, kernel)
  ones = e.sum(e.cast(own, "int32"), 1, keepdims=True)
  offset = e.reshaped(bias, [spec.classes, 1]) - ones * spec.input_zero_point
  rows, more = imagined(e, spec, ring, own, offset)
  features = e.joined([ring.features, rows])
  hot = one_hot(e, spec, e.joined([ring.labels, more]))
  # How many samples of its class lie in the slots up to each one.
  slots = e.counted(spec.capacity)
  later = e.reshaped(slots, [spec.capacity, 1]) >= slots
  ranks = e.matmul(e.cast(ring.hot, "int8"), e.cast(later, "int8"))
  ranks = e.sum(ranks * ring.hot, 0, keepdims=True)
  aside = e.cast((ranks % _KEPT_OF) == _KEPT_FIRST, "int32")
  there = e.sum(ring.hot, 0, keepdims=True)
  some = e.max(aside, 1, keepdims=True)
  # Where nothing is kept aside, what trains is what is compared.
  judged = aside + there * (some * -1 + 1)
  absent = e.sum(e.cast(ring.per_class < 1, "int32"), 0, keepdims=True)
  return _Start(
    kernel,
    bias,
    features,
    e.transposed(features),
    hot,
    _parts(e, spec, absent),
    e.widened(aside, rows.shape[0]),
    e.widened(e.joined([judged, there]), rows.shape[0]),
    steps,
    rate,
  )


def _parts(e: Engine, spec: HeadSpec, absent: Value) -> Value:
  """What remembered and imagined samples count, int32 [2, 1].

  A class with samples counts once, a class without them twice; and what is
  imagined counts as much again as what is remembered. With less, few classes
  that are absent lose more than two points.
  """
  shown = absent * -1 + spec.classes
  return e.joined([shown, (absent * 2 + shown) * e.minimum(absent, 1)])


def _picked(e: Engine, x: Value, row: int, column: int) -> Value:
  """One number of four, [2, 2], as int32 [1]."""
  return e.take(e.reshaped(x, [4]), e.constant([2 * row + column]))


def _round(
  e: Engine, spec: HeadSpec, number: Value, state: list[Value], start: _Start
) -> list[Value]:
  """Trains without what is kept aside (round 0) or with it (round 1).

  The state is the best kernel and bias, 1 where they may still train, and how
  well they do.
  """
  kernel, bias, alive, score = state
  there = e.sum(start.hot, 0, keepdims=True)
  left = e.reshaped(e.minimum(number * -1 + 1, 1), [1, 1])
  counted = there * (start.kept * left * -1 + 1)
  imagined = e.cast(e.counted(there.shape[1]) >= spec.capacity, "int32")
  imagined = counted * imagined
  groups = e.joined([counted - imagined, imagined])
  samples = Samples(
    start.features, start.columns, start.hot, groups, start.parts, start.scored
  )
  steps = start.steps * alive
  trained, other, first, last = fit(
    e, spec, start.kernel, start.bias, samples, steps, start.rate
  )
  change = last - first
  right, loss = (_picked(e, change, row, 0) for row in range(2))
  better = right * 2 + e.cast(loss < 1, "int32") >= 1
  ok = better & (alive >= 1) & _are_believed(e, spec, start, first, right)
  before = e.select(number >= 1, score, first)
  return [
    e.select(ok, trained, kernel),
    e.select(ok, other, bias),
    e.cast(ok, "int32"),
    e.select(ok, last, before),
  ]


def _are_believed(
  e: Engine, spec: HeadSpec, start: _Start, first: Value, gain: Value
) -> Value:
  """Whether labels are more than chance, so that what they teach is kept.

  Labels that are mixed up fit as well after training as before it, one time in
  two. So the head before training agrees with the labels more often than by
  chance, or what is kept aside gains two standard errors, as large as they can
  be.

  Args:
    e: the engine.
    spec: of the head.
    start: what the round begins with.
    first: int32 [2, 2], how well the head did before training.
    gain: int32 [1], how many more are right of what is kept aside.

  Returns:
    A truth [1].
  """
  kept, right = (_picked(e, first, 0, column) for column in range(2))
  counts = e.sum(start.scored, 1)
  aside, count = (e.take(counts, e.constant([row])) for row in range(2))
  agree = e.cast(beyond_chance(e, spec, right, count), "int32")
  # So many samples at most are right before training alone.
  lost = e.minimum(kept, aside - kept - gain)
  clear = (gain * gain >= (lost * 2 + gain) * 4) & (gain >= 1)
  some = e.max(e.reshaped(start.kept, [1, start.kept.shape[-1]]), 1)
  sure = e.cast(clear, "int32") * some
  return agree + sure >= 1


def mean_loss(e: Engine, total: Value, count: Value) -> Value:
  """Sums of losses in 1/128 bit as a mean in nats; -1 of no sample.

  It is computed in float32, by a product and a quotient, each rounded as IEEE
  754 says; nothing that trains depends on it.
  """
  nats = e.cast(total, "float32") * (math.log(2) / UNITS)
  mean = nats / e.cast(e.maximum(count, 1), "float32")
  return e.select(count >= 1, mean, e.constant([-1], "float32"))


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
  sane = (rate >= 2.0**-RATE_BITS) & (steps >= 1)
  rate = e.select(sane, rate, e.constant([1], "float32"))
  units = e.cast(
    e.minimum(rate, float(MOST_RATE)) * float(1 << RATE_BITS), "int32"
  )
  steps = e.select(sane, e.minimum(steps, MOST_STEPS), e.constant([0]))
  loss, *_ = _called(e, spec, steps, units)
  return e.select(sane, loss, e.constant([-1], "float32"))


def evaluate_head(e: Engine, spec: HeadSpec) -> Scores:
  """How well the head does on what is remembered."""
  loss, right, count, _ = _called(e, spec, e.constant([0]), e.constant([0]))
  return Scores(loss, right, count)


def _called(
  e: Engine, spec: HeadSpec, steps: Value, rate: Value
) -> list[Value]:
  def function(e: Engine, steps: Value, rate: Value) -> tuple[Value, ...]:
    return guarded(e, spec, steps, rate)

  return list(e.call("guarded", function, [steps, rate]))


def weights_now(e: Engine, spec: HeadSpec) -> HeadWeights:
  """The weights as they are."""
  state = state_of(spec)
  kernel = e.cast(e.read(state.kernel), "int32")
  return HeadWeights(kernel, e.read(state.bias))


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
