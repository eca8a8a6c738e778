"""Run a batch twice, around an input prompt that is being trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tflm_fg.signatures.engine import Engine, Value
from tflm_fg.signatures.head import (
  HeadSpec,
  logits,
  one_hot,
  rounded,
  state_of,
  tell,
)
from tflm_fg.signatures.input_state import (
  COUNTS,
  GAIN_ONE,
  STARTS,
  UNITS,
  PromptSpec,
  PromptState,
  clipped,
  gain_alone,
  given_prompt,
  limits,
  neutral,
)
from tflm_fg.signatures.signs import signs

EPSILON = 8
"""Size of the perturbation, in steps of the prompt: two of the input."""

KEPT_SHARE = 5
"""One sample of so many is kept aside."""

MOST_DIFFERENCE = 1 << 11
"""Losses that differ by more, 16 bits, count as this."""

FeaturesOf = Callable[[Engine, Value, Value, Value], Value]
"""(engine, x int8 [N, n], gain int8 [N, 1, ...], offset int8 [N, ...]) -> int8
[N, D], what the head reads of samples that are each multiplied by their gain,
in 1/64, and then moved by their offset, in quarters of an input step."""


class Batch(NamedTuple):
  """The samples of a call, and where they go in.

  Attributes:
    learned: int32 [B, 1]: 1 for a sample to learn from, else 0.
    kept: int32 [B, 1]: 1 for a sample that is kept aside, else 0.
    directions: int32 [B, K] of 1 and -1.
    losses: int32 [2, B], at one side and the other.
    difference: int32 [B, 1], of the losses.
    righter: int32 [B, 1], 1 where the first side alone is right, -1 where the
      second is.
    counts: bool [1], whether there is a sample to learn from, and what is
      learned may be used.
  """

  learned: Value
  kept: Value
  directions: Value
  losses: Value
  difference: Value
  righter: Value
  counts: Value


class Now(NamedTuple):
  """What the variables hold when a call begins.

  Attributes:
    masters: int32 [K].
    centre: int32 [K], the prompt that is being trained.
    used: int32 [K], the one that `infer` uses.
    counts: six of int32 [1].
    scanning: bool [1], whether gains are still tried.
  """

  masters: Value
  centre: Value
  used: Value
  counts: tuple[Value, ...]
  scanning: Value


def now_of(e: Engine, spec: PromptSpec, state: PromptState) -> Now:
  """Reads the variables."""
  masters = e.cast(e.read(state.masters), "int32")
  counts = e.read(state.counts)
  single = tuple(e.take(counts, e.constant([i])) for i in range(COUNTS))
  return Now(
    masters,
    (masters + UNITS // 2) >> 8,
    given_prompt(e, spec, e.read(state.offset), e.read(state.gain)),
    single,
    single[1] < spec.scans,
  )


def run_both(
  e: Engine,
  head: HeadSpec,
  spec: PromptSpec,
  now: Now,
  x: Value,
  labels: Value,
  hot: Value,
  seed: Value,
  features_of: FeaturesOf,
) -> Batch:
  """Both passes, as one batch of twice the samples."""
  rows, numbers = spec.batch, spec.numbers
  known = e.reshaped(e.sum(hot, 0), [rows, 1])
  kept = _is_kept(e, x)
  drawn = signs(e, seed, now.counts[0], rows, numbers)
  way = drawn * EPSILON * (1 - kept)
  start = e.take(e.constant(STARTS), now.counts[1] % len(STARTS))
  without = e.constant(neutral(spec)[None])
  tried = without + (start - GAIN_ONE) * e.constant(gain_alone(spec)[None])
  centre, used = (e.reshaped(v, [1, numbers]) for v in (now.centre, now.used))
  plus = e.select(now.scanning, tried, centre + way)
  minus = e.select(
    now.scanning, without, (centre - way) * (1 - kept) + used * kept
  )
  gain, offset = _flowing(e, spec, e.joined([plus, minus]))
  features = features_of(e, e.joined([x, x]), gain, offset)
  twice = one_hot(e, head, e.joined([labels, labels]))
  told = tell(e, head, _logits(e, head, features), twice)
  difference = _difference(e, told.loss)
  learned = (1 - kept) * known
  return Batch(
    learned,
    kept * known,
    drawn,
    e.reshaped(told.loss, [2, rows]),
    clipped(e, difference, -MOST_DIFFERENCE, MOST_DIFFERENCE),
    _difference(e, told.right),
    e.reshaped(e.sum(learned, 0), [1]) >= 1,
  )


def _difference(e: Engine, both: Value) -> Value:
  """What the first half of [2 B] is beyond the second: [B, 1]."""
  rows = both.shape[0] // 2
  sides = e.reshaped(both, [2, rows])
  first, second = (e.take(sides, e.constant([side])) for side in (0, 1))
  return e.reshaped(first - second, [rows, 1])


def _is_kept(e: Engine, x: Value) -> Value:
  """Whether a sample is kept aside, by the sum of its numbers: int32 [B, 1]."""
  ones = e.filled([1, x.shape[1]], 1, "int8")
  return e.cast(e.matmul(x, ones) % KEPT_SHARE == 0, "int32")


def _flowing(
  e: Engine, spec: PromptSpec, prompts: Value
) -> tuple[Value, Value]:
  """A gain and an offset for every sample, int8, of int32 [2 B, K]."""
  low, high = limits(spec)
  fit = clipped(e, prompts, e.constant(low[None]), e.constant(high[None]))
  turned = e.transposed(e.cast(fit, "int8"))
  rows, channels = 2 * spec.batch, np.arange(spec.channels)
  offset = e.transposed(e.take(turned, e.constant(channels)))
  gain = e.take(turned, e.constant([spec.channels]))
  return (
    e.reshaped(gain, [rows, *spec.gain[1:]]),
    e.reshaped(offset, [rows, *spec.offset[1:]]),
  )


def _logits(e: Engine, head: HeadSpec, features: Value) -> Value:
  """What the head that `infer` uses says: int32 [C, N]."""
  state = state_of(head)
  kernel = rounded(e, e.read(state.kernel))
  sums = e.sum(e.cast(kernel, "int32"), 1, keepdims=True)
  bias = e.reshaped(e.read(state.bias), [head.classes, 1])
  offset = bias - sums * head.input_zero_point
  return logits(e, head, kernel, offset, features)
