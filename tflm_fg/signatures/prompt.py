"""Find an offset and a gain of the input by batches that an app hands in.

The program of `adapt_input`, written once over an engine (see `engine`). A call
runs its batch twice through the model, as one batch of twice the samples:

- Samples to learn from go in at the prompt plus and minus a random direction of
  their own. Their slopes along these directions, averaged, are a gradient, and
  every number of the prompt moves by the rate, against the sign of its velocity
  (`tflm_fg.methods.PerSample` has the same step).
- Every fifth sample, by its own content, is kept aside. It goes in at the
  running mean of the prompt that is being trained and at the one that `infer`
  uses. Where the former is surely better, and agrees with the labels more often
  than by chance, `infer` gets it. So `infer` never
  gets worse on samples that nothing was learned from, in whatever order they
  come.

A prompt that was learned from some of the classes may harm the others, so
nothing is learned before every class has been shown. The first calls then try
gains of 0.5, 0.7, 1.4 and 2 against 1, because the loss is flat between them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tflm_fg.signatures.chance import beyond_chance
from tflm_fg.signatures.engine import Engine, Value
from tflm_fg.signatures.head import HeadSpec, state_of
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
  clipped,
  differs,
  gain_alone,
  prompt_state,
  use_prompt,
)

RATE, HALVED = 256, 20
"""How far a number moves in the first step, in units of a master, and after how
many steps it moves half as far; after twice as many it is a third, and so on.
"""

MEMORY_BITS = 5
"""A velocity loses 1/32 of itself a step."""

MEAN_BITS = 4
"""The running mean of a prompt comes 1/16 of the way to it with a step."""

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
  batch = run_both(e, head, spec, now, x, labels, seed, features_of)
  number = e.sum(batch.learned, 0, keepdims=True)
  shown = e.maximum(e.read(state.shown), e.max(batch.hot, 1, keepdims=True))
  e.assign(state.shown, shown)
  complete = e.sum(shown, 0, keepdims=True) >= head.classes
  active = e.cast(complete & (number >= 1), "int32")
  scans, steps = active * now.scanning, active * (1 - now.scanning)

  lost = batch.worse * batch.learned
  starts = _scored_start(e, now, lost, scans)
  masters, velocity = _stepped(e, spec, now, batch, lost, steps)
  is_last = scans * e.cast(now.scans >= spec.scans - 1, "int32")
  mean = now.mean + ((masters - now.mean) >> MEAN_BITS) * steps
  both = e.joined([masters, mean])
  masters = e.select(is_last >= 1, _begun(e, spec, starts), both)
  kept = now.kept + _kept_sums(e, spec, batch, steps)
  due, changed = _decided(e, head, spec, now, kept)

  used = e.select(changed, now.settled, now.used)
  masters, mean = (e.take(masters, e.constant([row])) for row in range(2))
  e.assign(state.training, e.joined([masters, velocity, mean, used]))
  counts = [now.steps + steps, now.scans + scans, kept * (1 - due), starts]
  e.assign(state.counts, e.joined(counts))
  use_prompt(e, spec, state, used)
  changed = e.reshaped(changed, [1])
  _forget_features(e, head, changed)
  return Adapted(_loss(e, batch, number), e.cast(changed, "int32"))


def _stepped(
  e: Engine, spec: PromptSpec, now: Now, batch: Batch, lost: Value, steps: Value
) -> tuple[Value, Value]:
  """The prompt that is being trained, and its velocity, after a step.

  Args:
    e: the engine.
    spec: of the prompt.
    now: what the variables hold.
    batch: what came of the samples.
    lost: int32 [B, 1], by how much the first side is worse, of the samples to
      learn from.
    steps: int32 [1, 1]: 1; or 0 to leave both as they are.
  """
  slopes = e.sum(lost * batch.directions, 0, keepdims=True) * 16
  faster = (slopes - (now.velocity >> MEMORY_BITS)) * steps
  velocity = now.velocity + faster
  rate = (RATE * HALVED) // (now.steps + HALVED) * steps
  way = e.minimum(e.maximum(velocity, -1), 1) * rate
  return clipped(e, spec, now.masters - way, UNITS), velocity


def _scored_start(e: Engine, now: Now, lost: Value, scans: Value) -> Value:
  """What each start of the gain loses against a gain of 1: int32 [4, 1]."""
  places = np.arange(len(STARTS))[:, None]
  own = e.cast(e.constant(places) == now.turn, "int32") * scans
  return now.starts + own * e.sum(lost, 0, keepdims=True)


def _begun(e: Engine, spec: PromptSpec, starts: Value) -> Value:
  """Where training begins: the gain that loses least, int32 [1, K]."""
  gains = e.constant(np.array(STARTS)[:, None])
  least = 0 - e.max(0 - starts, 0, keepdims=True)
  best = e.max(e.cast(starts == least, "int32") * gains, 0, keepdims=True)
  gain = e.select(least < 0, best, GAIN_ONE)
  return gain * e.constant(gain_alone(spec) * UNITS)


def _kept_sums(
  e: Engine, spec: PromptSpec, batch: Batch, steps: Value
) -> Value:
  """How the samples kept aside do: int32 [5, 1], as `PromptState.counts`."""
  kept = batch.kept * steps
  most = (1 << 15) // (WINDOW + spec.batch)
  bits = max(0, math.ceil(math.log2(MOST_DIFFERENCE / most)))
  gained = ((0 - batch.worse) * kept) >> bits  # so that no square wraps
  more = batch.righter * kept, batch.right * kept
  columns = [kept, gained, gained * gained, *more]
  table = e.reshaped(e.joined(columns), [len(columns), spec.batch])
  return e.sum(table, 1, keepdims=True)


def _decided(
  e: Engine, head: HeadSpec, spec: PromptSpec, now: Now, kept: Value
) -> tuple[Value, Value]:
  """Whether enough was kept aside, and whether `infer` gets another prompt.

  Returns:
    int32 [1, 1] and bool [1, 1].
  """
  count, total, squares, more, right = (
    e.take(kept, e.constant([row])) for row in range(5)
  )
  first = 1 - differs(e, spec, now.used)
  due = count >= WINDOW
  better = (squares * first * (SURELY * SURELY) < total * total) & (total >= 1)
  enough = more >= first * MORE_RIGHT - (1 - first) * WINDOW
  believed = beyond_chance(e, head, right, count)
  changed = due & better & enough & believed
  return e.cast(due, "int32"), changed


def _forget_features(e: Engine, head: HeadSpec, changed: Value) -> None:
  """Empties the ring where its features came through another prompt."""
  state = state_of(head)
  labels, count = e.read(state.labels), e.read(state.count)
  e.assign(state.labels, e.select(changed, -1, labels))
  e.assign(state.count, e.select(changed, 0, count))


def _loss(e: Engine, batch: Batch, number: Value) -> Value:
  """Mean loss of both sides in nats, float32 [1]; -1 where there is none."""
  rows = batch.learned.shape[0]
  own = batch.losses * e.reshaped(batch.learned, [1, rows])
  total = e.reshaped(e.sum(e.sum(own, 1, keepdims=True), 0), [1])
  return mean_loss(e, total, e.reshaped(number, [1]) * 2)
