"""Find an offset and a gain of the input by batches that an app hands in.

The program of `adapt_input`, written once over an engine (see `engine`). A call
runs its batch twice through the model, as one batch of twice the samples:

- Samples to learn from go in at the prompt plus and minus a random direction of
  their own. Their slopes along these directions, averaged, are a gradient, and
  every number of the prompt moves by the rate, against the sign of its velocity
  (`tflm_fg.methods.PerSample` has the same step).
- Every fifth sample, by its own content, is kept aside. It goes in at the
  prompt that is being trained and at the one that `infer` uses. Where the
  former is surely better, `infer` gets it. So `infer` never gets worse on
  samples that nothing was learned from, whatever order they come in.

A prompt that was learned from some of the classes may harm the others, so
nothing is learned before every class has been shown. The first calls then try
gains of 0.5, 0.7, 1.4 and 2 against 1, because the loss is flat between them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tflm_fg.signatures.engine import Engine, Value
from tflm_fg.signatures.head import (
  HeadSpec,
  one_hot,
  state_of,
)
from tflm_fg.signatures.head_calls import mean_loss
from tflm_fg.signatures.input_passes import (
  MOST_DIFFERENCE,
  Batch,
  FeaturesOf,
  Now,
  now_of,
  run_both,
)
from tflm_fg.signatures.input_state import (
  GAIN_ONE,
  STARTS,
  UNITS,
  PromptSpec,
  PromptState,
  clipped,
  differs,
  gain_alone,
  limits,
  neutral,
  prompt_state,
  use_prompt,
)

RATE, SLOWING, LAST = 512, 60, 4096
"""How far a number moves in the first step, in units of a master; after how
many steps it moves a quarter of that; and after how many it stays as slow.

The way falls with the square of the steps, so that a number comes as far as the
ends of its range, and yet hardly moves behind some hundreds of steps.
"""

MEMORY_BITS = 5
"""A velocity loses 1/32 of itself a step."""

WINDOW = 32
"""Samples kept aside that a decision is made on."""

SURELY = 2
"""Standard errors by which the first prompt must be better than none."""

MORE_RIGHT = 2
"""Samples of a window that the first prompt must get right beyond none."""


class Adapted(NamedTuple):
  """What a call of `adapt_input` gives.

  Attributes:
    loss: float32 [1], mean loss in nats of the samples that were learned from,
      around the prompt that is being trained; -1 where there were none.
    changed: int32 [1]: 1 if `infer` has got another prompt, else 0.
  """

  loss: Value
  changed: Value


def adapt_input(
  e: Engine,
  head: HeadSpec,
  spec: PromptSpec,
  x: Value,
  labels: Value,
  seed: Value,
  features_of: FeaturesOf,
) -> Adapted:
  """One step on a batch, and a decision whenever enough was kept aside.

  Whatever `remember` holds was seen through another prompt once `infer` has
  got a new one, and is forgotten.

  Args:
    e: the engine.
    head: of the model.
    spec: of the prompt.
    x: int8 [B, n], samples, as they come to the prompt.
    labels: int32 [B]; a sample whose label is no class is left out.
    seed: int32 [1].
    features_of: runs the layers before the head.
  """
  state = prompt_state(head, spec)
  now = now_of(e, spec, state)
  hot = one_hot(e, head, labels)
  batch = run_both(e, head, spec, now, x, labels, hot, seed, features_of)
  batch = batch._replace(counts=_all_shown(e, head, state, hot) & batch.counts)
  _step(e, spec, state, now, batch)
  changed = _decide(e, head, spec, state, now, batch)
  _forget_features(e, head, changed)
  return Adapted(_loss(e, batch), e.cast(changed, "int32"))


def _all_shown(
  e: Engine, head: HeadSpec, state: PromptState, hot: Value
) -> Value:
  """Whether there have been samples of all classes: bool [1]."""
  there = e.maximum(e.read(state.shown), e.max(hot, 1))
  e.assign(state.shown, there)
  return e.reshaped(e.sum(there, 0), [1]) >= head.classes


def _step(
  e: Engine, spec: PromptSpec, state: PromptState, now: Now, batch: Batch
) -> None:
  """Moves the prompt that is being trained, or scores a start of its gain."""
  steps, scans = now.counts[:2]
  learned = batch.difference * batch.learned
  velocity = e.read(state.velocity)
  slower = velocity - (velocity >> MEMORY_BITS)
  faster = slower + e.sum(learned * batch.directions, 0) * 16
  gone = e.minimum(steps, LAST) + SLOWING
  rate = (RATE * SLOWING * SLOWING) // (gone * gone)
  low, high = limits(spec)
  moved = now.masters - clipped(e, faster, -1, 1) * rate
  moved = clipped(e, moved, e.constant(low * UNITS), e.constant(high * UNITS))

  held = e.read(state.starts)
  turn = e.constant(np.arange(len(STARTS))) == scans % len(STARTS)
  scored = held + e.cast(turn, "int32") * e.sum(learned, 0)
  least = 0 - e.reshaped(e.max(0 - scored, 0), [1])
  best = e.max(
    e.cast(scored == least, "int32") * e.constant(np.array(STARTS)), 0
  )
  gain = e.select(least < 0, e.reshaped(best, [1]) - GAIN_ONE, 0)
  begun = e.constant(neutral(spec) * UNITS) + gain * e.constant(
    gain_alone(spec) * UNITS
  )
  is_last = e.cast(scans >= spec.scans - 1, "int32")
  begun = begun * is_last + now.masters * (1 - is_last)

  def chosen(scanned: Value, stepped: Value, old: Value) -> Value:
    done = e.select(now.scanning, scanned, stepped)
    return e.select(batch.counts, done, old)

  masters = chosen(begun, moved, now.masters)
  e.assign(state.masters, e.cast(masters, "int16"))
  e.assign(state.velocity, chosen(velocity, faster, velocity))
  e.assign(state.starts, chosen(scored, held, held))


def _decide(
  e: Engine,
  head: HeadSpec,
  spec: PromptSpec,
  state: PromptState,
  now: Now,
  batch: Batch,
) -> Value:
  """Judges by what was kept aside; whether `infer` got another prompt."""
  steps, scans, count, total, squares, right = now.counts
  scanning = e.cast(now.scanning, "int32")
  went_on = e.cast(batch.counts, "int32")
  kept = batch.kept * went_on * (1 - scanning)
  bits = _kept_bits(spec)
  gained = ((0 - batch.difference) * kept) >> bits
  count = count + e.reshaped(e.sum(kept, 0), [1])
  total = total + e.reshaped(e.sum(gained, 0), [1])
  squares = squares + e.reshaped(e.sum(gained * gained, 0), [1])
  right = right + e.reshaped(e.sum(batch.righter * kept, 0), [1])
  first = 1 - differs(e, spec, now.used)
  needed = squares * (SURELY * SURELY) * first
  due = count >= WINDOW
  better = (total >= 1) & (needed < total * total)
  better = better & (right >= first * MORE_RIGHT)
  changed = due & better
  use_prompt(e, spec, state, e.select(changed, now.centre, now.used))
  go_on = 1 - e.cast(due, "int32")
  e.assign(
    state.counts,
    e.joined(
      [
        steps + went_on * (1 - scanning),
        scans + went_on * scanning,
        count * go_on,
        total * go_on,
        squares * go_on,
        right * go_on,
      ]
    ),
  )
  return changed


def _kept_bits(spec: PromptSpec) -> int:
  """By how much differences are shifted down, so that squares of sums fit."""
  most = (1 << 15) // (WINDOW + spec.batch)
  return max(0, math.ceil(math.log2(MOST_DIFFERENCE / most)))


def _forget_features(e: Engine, head: HeadSpec, changed: Value) -> None:
  """Empties the ring where its features came through another prompt."""
  state = state_of(head)
  labels, count = e.read(state.labels), e.read(state.count)
  e.assign(state.labels, e.select(changed, -1, labels))
  e.assign(state.count, e.select(changed, 0, count))


def _loss(e: Engine, batch: Batch) -> Value:
  """Mean loss of both sides in nats, float32 [1]; -1 where there is none."""
  learned = e.reshaped(batch.learned, [1, batch.learned.shape[0]])
  both = e.reshaped(e.sum(batch.losses * learned, 1), [1, 2])
  return mean_loss(e, e.sum(both, 1), e.sum(learned, 1) * 2)
