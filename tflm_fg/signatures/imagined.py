"""Imagine features of classes that nothing remembered shows.

Where a class has no samples, the head itself says what it takes for the class:
points lie on a line from the mean of what is remembered in the direction in
which the class gains most on the mean of all classes, up to as far away as
samples lie from the mean of their own class; and around that line as samples
lie around their mean. Training counts those that the head takes for the class
as samples of it. It is a form of `forgetting.imagined` without a climb.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tflm_fg.signatures.engine import Engine, Value, within
from tflm_fg.signatures.head import HeadSpec, logits, one_hot

_SPREAD = 3
"""Halves of a sample's distance from its mean that points lie away."""

_LEAST = 8
"""int8 steps that the line is long at least."""


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


def ring_of(e: Engine, features: Value, labels: Value, hot: Value) -> Ring:
  """Counts what is remembered and finds the means."""
  per_class = e.sum(hot, 1, keepdims=True)
  total = e.matmul(e.cast(hot, "int8"), e.transposed(features))
  number = e.maximum(e.sum(per_class, 0, keepdims=True), 1)
  means = total // e.maximum(per_class, 1)
  return Ring(features, labels, hot, per_class, number, means)


def imagined(
  e: Engine, spec: HeadSpec, ring: Ring, kernel: Value, offset: Value
) -> tuple[Value, Value]:
  """Imagines features of all classes.

  Args:
    e: the engine.
    spec: of the head.
    ring: what is remembered.
    kernel: int8 [C, D], the head's weights.
    offset: int32 [C, 1], what is added to a sum of products.

  Returns:
    Points int8 [C * K, D], K of each class, one class after the other; and
    their labels int32 [C * K], -1 where the head takes a point for another
    class, or where the class has samples.
  """
  classes, inputs, count = spec.classes, spec.inputs, spec.imagined
  # Samples all over the ring; they lie in its first slots.
  slots = e.counted(count) * e.reshaped(ring.number, [1]) // count
  chosen = e.cast(e.take(ring.features, slots), "int32")
  own = e.maximum(e.take(ring.labels, slots), 0)
  spread = ((chosen - e.take(ring.means, own)) * _SPREAD) >> 1
  reach = e.max(largest(e, spread), 0, keepdims=True)
  start = e.sum(ring.means * ring.per_class, 0, keepdims=True) // ring.number
  ways = e.reshaped(directions(e, spec, kernel), [classes, 1, inputs])
  # More of them lie near the mean than far from it.
  parts = e.constant((np.arange(count) + 1)[None, :, None] ** 2)
  lengths = parts * e.reshaped(e.maximum(reach, _LEAST), [1, 1, 1])
  points = ways * lengths // (127 * count * count)
  points = points + e.reshaped(spread + start, [1, count, inputs])
  rows = e.reshaped(points, [classes * count, inputs])
  rows = e.cast(within(e, rows, -128, 127), "int8")
  labels = e.counted(classes * count) // count
  found = logits(e, spec, kernel, offset, rows)
  own = e.sum(found * one_hot(e, spec, labels), 0)
  absent = e.reshaped(e.cast(ring.per_class < 1, "int32"), [classes])
  wanted = e.cast(own >= e.max(found, 0), "int32") * e.take(absent, labels)
  return rows, (labels + 1) * wanted - 1


def largest(e: Engine, x: Value) -> Value:
  """The largest magnitude in each row: int32 [N, 1]."""
  return e.max(e.maximum(x, x * -1), 1, keepdims=True)


def directions(e: Engine, spec: HeadSpec, kernel: Value) -> Value:
  """Where each class gains on the mean of all: int32 [C, D], up to 127."""
  scales = spec.kernel_scales / spec.kernel_scales.max()
  shares = np.round(scales * 127).astype(np.int32)[:, None]
  real = e.cast(kernel, "int32") * e.constant(shares)
  beyond = real - e.sum(real, 0, keepdims=True) // spec.classes
  return beyond * 127 // e.maximum(largest(e, beyond), 1)
