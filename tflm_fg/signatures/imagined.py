"""Imagine features of classes that nothing remembered shows.

Where a class has no samples, the head itself says what it takes for the class:
from the mean of what is remembered a point climbs until the head is sure of the
class. Around it lie points as remembered samples lie around the mean of their
own class. Training counts them as samples, so that the class is kept. It is the
integer form of `forgetting.imagined`, for what a file can do by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tflm_fg.signatures.engine import Engine, Value, within
from tflm_fg.signatures.head import HeadSpec, logits, odds

_STEPS = 64
"""Steps that a point climbs at most."""

_SURE = 0.9
"""Probability of its class at which a point stays."""

_SPREAD = 3
"""Halves of a sample's distance from its mean that points lie away."""

_PART = 8
"""A step of a climb is one part of so many of the largest distance."""

_LEAST = 2
"""A step of a climb has as many int8 steps at least."""


class Ring(NamedTuple):
  """What is remembered.

  Attributes:
    features: int8 [N, D].
    labels: int32 [N], -1 where there is none.
    hot: int32 [C, N], the labels one-hot.
    per_class: int32 [C, 1], how many samples each class has.
    number: int32 [1, 1], how many samples there are, at least 1.
    means: int32 [C, D], of the features of each class; -128 to 127.
  """

  features: Value
  labels: Value
  hot: Value
  per_class: Value
  number: Value
  means: Value


def ring_of(
  e: Engine, spec: HeadSpec, features: Value, labels: Value, hot: Value
) -> Ring:
  """Counts what is remembered and finds the means."""
  per_class = e.sum(hot, 1, keepdims=True)
  total = e.matmul(e.cast(hot, "int8"), e.transposed(features))
  number = e.maximum(e.sum(per_class, 0, keepdims=True), 1)
  means = total // e.maximum(per_class, 1)
  return Ring(features, labels, hot, per_class, number, means)


def imagined(
  e: Engine, spec: HeadSpec, ring: Ring, kernel: Value, offset: Value
) -> Value:
  """Imagines features of all classes.

  Args:
    e: the engine.
    spec: of the head.
    ring: what is remembered.
    kernel: int8 [C, D], the head's weights.
    offset: int32 [C, 1], what is added to a sum of products.

  Returns:
    int8 [C * K, D]: K points of each class, one class after the other.
  """
  count = spec.imagined
  # Samples all over the ring; they lie in its first slots.
  parts = e.constant(np.arange(count)) * e.reshaped(ring.number, [1])
  slots = parts // count
  chosen = e.cast(e.take(ring.features, slots), "int32")
  own = e.maximum(e.take(ring.labels, slots), 0)
  away = chosen - e.take(ring.means, own)
  largest = e.max(e.maximum(away, away * -1), 1, keepdims=True)
  step = e.maximum(
    e.max(largest, 0, keepdims=True) * (256 // _PART), 256 * _LEAST
  )
  start = e.sum(ring.means * ring.per_class, 0, keepdims=True) // ring.number
  x = e.filled([spec.classes, spec.inputs], 0, "int32") + start * 256
  kept = [kernel, e.transposed(kernel), offset, step]
  steps = e.constant([_STEPS])

  def climb(
    e: Engine, number: Value, state: list[Value], kept: list[Value]
  ) -> list[Value]:
    del number
    return [_climbed(e, spec, state[0], *kept)]

  (x,) = e.loop("climb", steps, [x], kept, climb)
  spread = e.reshaped((away * _SPREAD) >> 1, [1, count, spec.inputs])
  points = e.reshaped(as_steps(e, x), [spec.classes, 1, spec.inputs]) + spread
  rows = e.reshaped(points, [spec.classes * count, spec.inputs])
  return e.cast(within(e, rows, -128, 127), "int8")


def as_steps(e: Engine, x: Value) -> Value:
  """int8 steps, as int32, of numbers in 1/256."""
  return within(e, (x + 128) >> 8, -128, 127)


def _climbed(
  e: Engine,
  spec: HeadSpec,
  x: Value,
  kernel: Value,
  columns: Value,
  offset: Value,
  step: Value,
) -> Value:
  """Points, int32 [C, D] in 1/256 of an int8 step, one step further."""
  found = logits(e, spec, kernel, offset, e.cast(as_steps(e, x), "int8"))
  own = e.constant(np.eye(spec.classes))
  missing = own * (1 << spec.residual_bits) - odds(e, spec, found).shares
  unsure = e.sum(missing * own, 0) >= round(
    (1 - _SURE) * (1 << spec.residual_bits)
  )
  # Each class's row of weights counts by its scale.
  scales = spec.kernel_scales / spec.kernel_scales.max()
  shares = np.round(scales * 127).astype(np.int32)[:, None]
  pull = ((missing >> (spec.residual_bits - 7)) * e.constant(shares)) >> 7
  uphill = e.matmul(e.cast(e.transposed(pull), "int8"), columns)
  most = e.max(e.maximum(uphill, uphill * -1), 1, keepdims=True)
  move = uphill * step // e.maximum(most, 1)
  go = e.reshaped(e.cast(unsure, "int32"), [spec.classes, 1])
  # Kept within int8, so that a point never runs away.
  return within(e, x + move * go, -128 * 256, 127 * 256)
