"""Run a batch twice, around an input prompt that is being trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tflm_fg.signatures.engine import Engine, Value
from tflm_fg.signatures.head import (
  HeadSpec,
  logits,
  odds,
  one_hot,
  rounded,
  scored,
  state_of,
)
from tflm_fg.signatures.input_state import (
  COUNTS,
  STARTS,
  UNITS,
  PromptSpec,
  PromptState,
  clipped,
  gain_alone,
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


class Now(NamedTuple):
  """What the variables hold when a call begins.

  Attributes:
    masters: int32 [1, K], the prompt that is being trained, in 1/256.
    velocity: int32 [1, K].
    mean: int32 [1, K], the running mean of masters.
    used: int32 [1, K], the prompt that `infer` uses.
    centre: int32 [1, K], the one that is being trained, in whole steps.
    settled: int32 [1, K], the running mean in whole steps.
    steps: int32 [1, 1].
    scans: int32 [1, 1].
    turn: int32 [1, 1], which start of the gain is tried next.
    scanning: int32 [1, 1], 1 while starts are tried, else 0.
    kept: int32 [5, 1], the sums of samples that were kept aside.
    starts: int32 [4, 1].
  """

  masters: Value
  velocity: Value
  mean: Value
  used: Value
  centre: Value
  settled: Value
  steps: Value
  scans: Value
  turn: Value
  scanning: Value
  kept: Value
  starts: Value


def now_of(e: Engine, spec: PromptSpec, state: PromptState) -> Now:
  """Reads the variables."""
  training, counts = e.read(state.training), e.read(state.counts)
  masters, velocity, mean, used = (
    e.take(training, e.constant([row])) for row in range(4)
  )
  steps, scans = (e.take(counts, e.constant([i])) for i in range(2))
  starts = np.arange(COUNTS, COUNTS + len(STARTS))
  return Now(
    masters,
    velocity,
    mean,
    used,
    (masters + UNITS // 2) >> 8,
    (mean + UNITS // 2) >> 8,
    steps,
    scans,
    scans % len(STARTS),
    e.cast(scans < spec.scans, "int32"),
    e.take(counts, e.constant(np.arange(2, COUNTS))),
    e.take(counts, e.constant(starts)),
  )


class Batch(NamedTuple):
  """The samples of a call, and what came of them.

  Attributes:
    hot: int32 [C, 2 B], one-hot labels of the batch, twice.
    learned: int32 [B, 1]: 1 for a sample to learn from, else 0.
    kept: int32 [B, 1]: 1 for a sample that is kept aside, else 0.
    directions: int32 [B, K] of 1 and -1.
    losses: int32 [2, B], at one side and the other, in 1/128 bit.
    worse: int32 [B, 1], by how much the loss at the first side is higher.
    righter: int32 [B, 1], 1 where the first side alone is right, -1 where the
      second is.
    right: int32 [B, 1], 1 where the first side is right.
  """

  hot: Value
  learned: Value
  kept: Value
  directions: Value
  losses: Value
  worse: Value
  righter: Value
  right: Value


def run_both(
  e: Engine,
  head: HeadSpec,
  spec: PromptSpec,
  now: Now,
  x: Value,
  labels: Value,
  seed: Value,
  features_of: FeaturesOf,
) -> Batch:
  """Both passes, as one batch of twice the samples."""
  rows = spec.batch
  hot = one_hot(e, head, e.joined([labels, labels]))
  known = e.reshaped(e.sum(hot, 0), [2 * rows, 1])
  known = e.take(known, e.constant(np.arange(rows)))
  kept = _is_kept(e, x) * known
  learned = known - kept
  drawn = signs(e, e.reshaped(seed, [1, 1]), now.steps, rows, spec.numbers)
  plus, minus = _sides(e, spec, now, drawn * learned * EPSILON, kept)
  gain, offset = _flowing(e, spec, e.joined([plus, minus]))
  features = features_of(e, e.joined([x, x]), gain, offset)
  found = _logits(e, head, features)
  score = scored(e, head, found, odds(e, head, found), hot)
  sides = e.reshaped(score, [4, rows])  # right or not, and losses
  more = e.take(sides, e.constant([0, 2])) - e.take(sides, e.constant([1, 3]))
  righter, worse = (
    e.reshaped(e.take(more, e.constant([row])), [rows, 1]) for row in (0, 1)
  )
  most = MOST_DIFFERENCE
  return Batch(
    hot,
    learned,
    kept,
    drawn,
    e.take(sides, e.constant([2, 3])),
    e.minimum(e.maximum(worse, -most), most),
    righter,
    e.reshaped(e.take(sides, e.constant([0])), [rows, 1]),
  )


def _sides(
  e: Engine, spec: PromptSpec, now: Now, way: Value, kept: Value
) -> tuple[Value, Value]:
  """The prompts of the two passes, int32 [B, K] or [1, K] each."""
  starts = np.array(STARTS)[:, None] * gain_alone(spec)
  tried = e.take(e.constant(starts), e.reshaped(now.turn, [1]))
  scans = now.scanning >= 1
  ahead = now.centre + way + (now.settled - now.centre) * kept
  back = now.centre - way + (now.used - now.centre) * kept
  return (
    e.select(scans, tried, ahead),
    e.select(scans, e.constant(neutral(spec)), back),
  )


def _is_kept(e: Engine, x: Value) -> Value:
  """Whether a sample is kept aside, by the sum of its numbers: int32 [B, 1]."""
  ones = e.filled([1, x.shape[1]], 1, "int8")
  return e.cast(e.matmul(x, ones) % KEPT_SHARE == 0, "int32")


def _flowing(
  e: Engine, spec: PromptSpec, prompts: Value
) -> tuple[Value, Value]:
  """A gain and an offset for every sample, int8, of int32 [2 B, K]."""
  turned = e.transposed(e.cast(clipped(e, spec, prompts, 1), "int8"))
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
