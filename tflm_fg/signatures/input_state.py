"""What a file that trains itself holds of an input prompt.

A prompt is an offset for each channel of the input and one gain, in int8: what
`tflm-fg-adapt --trainable=prompt` finds too. `prompt` finds it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.signatures.engine import Engine, Value, Variable
from tflm_fg.signatures.head import HeadSpec

GAIN_ONE = 64
"""The gain's value that stands for 1."""

STARTS = (32, 45, 90, 127)
"""Gains of 0.5, 0.7, 1.4 and 2, each tried against 1."""

UNITS = 256
"""Units of a master in a step of the prompt."""

SCANNED = 64
"""Samples, about, that each start of the gain is tried on."""

COUNTS = 6
"""Numbers that a prompt's training counts, see `PromptState`."""


@dataclasses.dataclass(frozen=True)
class PromptSpec:
  """What is known of a prompt when a file is written.

  Attributes:
    offset: shape of the offset, one number a channel: [1, ..., channels].
    batch: B, samples of a call.
  """

  offset: tuple[int, ...]
  batch: int

  @property
  def channels(self) -> int:
    """Numbers of the offset."""
    return math.prod(self.offset)

  @property
  def numbers(self) -> int:
    """Numbers of the offset, and then the gain."""
    return self.channels + 1

  @property
  def gain(self) -> tuple[int, ...]:
    """Shape of the gain, one number: [1, 1, ...]."""
    return (1,) * len(self.offset)

  @property
  def scans(self) -> int:
    """Calls that try the starts of the gain, one start a call in turn."""
    return len(STARTS) * -(-SCANNED // self.batch)


class PromptState(NamedTuple):
  """The variables of a prompt.

  Attributes:
    offset: int8, what `infer` adds to its input, in quarters of its steps.
    gain: int8, what `infer` multiplies its input by, in 1/64.
    masters: int16 [channels + 1], the offset that is being trained and then
      the gain, in 1/256 of their steps.
    velocity: int32 [channels + 1].
    starts: int32 [4], what each start of the gain loses against a gain of 1.
    shown: int32 [C], 1 for each class that there were samples of, else 0.
    counts: int32 [6]: steps; scans; and of samples kept aside since the last
      decision how many, the sum of what their losses gained, and of its
      squares, and how many more are right.
  """

  offset: Variable
  gain: Variable
  masters: Variable
  velocity: Variable
  starts: Variable
  shown: Variable
  counts: Variable


def prompt_state(head: HeadSpec, spec: PromptSpec) -> PromptState:
  """The variables of a prompt of this size."""
  return PromptState(
    Variable("offset", spec.offset, "int8"),
    Variable("gain", spec.gain, "int8"),
    Variable("input_masters", (spec.numbers,), "int16"),
    Variable("input_velocity", (spec.numbers,), "int32"),
    Variable("input_starts", (len(STARTS),), "int32"),
    Variable("input_shown", (head.classes,), "int32"),
    Variable("input_counts", (COUNTS,), "int32"),
  )


def forget_prompt(e: Engine, head: HeadSpec, spec: PromptSpec) -> None:
  """Begins anew: no prompt, and nothing that was learned of one."""
  state = prompt_state(head, spec)
  e.assign(state.offset, e.filled(spec.offset, 0, "int8"))
  e.assign(state.gain, e.filled(spec.gain, GAIN_ONE, "int8"))
  masters = e.constant(neutral(spec) * UNITS)
  e.assign(state.masters, e.cast(masters, "int16"))
  for variable in state[3:]:
    e.assign(variable, e.filled(variable.shape, 0, "int32"))


class PromptNumbers(NamedTuple):
  """What `get_weights` gives of a prompt, and `set_weights` takes.

  Attributes:
    offset: int32 in the offset's shape, in quarters of an input step.
    gain: int32 in the gain's shape, in 1/64.
  """

  offset: Value
  gain: Value


def prompt_now(e: Engine, head: HeadSpec, spec: PromptSpec) -> PromptNumbers:
  """The prompt that `infer` uses."""
  state = prompt_state(head, spec)
  return PromptNumbers(
    e.cast(e.read(state.offset), "int32"), e.cast(e.read(state.gain), "int32")
  )


def set_prompt(
  e: Engine,
  head: HeadSpec,
  spec: PromptSpec,
  offset: Value,
  gain: Value,
  accepted: Value,
) -> None:
  """Gives `infer` a prompt, from which training goes on.

  Numbers out of range count as the ends of the range. A file that is given the
  prompt that it began with is as after a reset.

  Args:
    e: the engine.
    head: of the model.
    spec: of the prompt.
    offset: int32 in the offset's shape, from -127 to 127.
    gain: int32 in the gain's shape, from 0 to 127.
    accepted: int32 [1]: 1; or 0 to leave all as it was.
  """
  state, fits = prompt_state(head, spec), accepted >= 1
  parts = e.reshaped(offset, [spec.channels]), e.reshaped(gain, [1])
  low, high = (e.constant(limit) for limit in limits(spec))
  given = clipped(e, e.joined(parts), low, high)
  old = given_prompt(e, spec, e.read(state.offset), e.read(state.gain))
  use_prompt(e, spec, state, e.select(fits, given, old))
  masters = e.cast(e.read(state.masters), "int32")
  masters = e.select(fits, given * UNITS, masters)
  e.assign(state.masters, e.cast(masters, "int16"))
  for variable in state[3:6]:
    e.assign(variable, e.read(variable) * (1 - accepted))
  # A gain that was found is not looked for again.
  scans = differs(e, spec, given) * e.constant([0, spec.scans, 0, 0, 0, 0])
  e.assign(state.counts, e.select(fits, scans, e.read(state.counts)))


def use_prompt(
  e: Engine, spec: PromptSpec, state: PromptState, numbers: Value
) -> None:
  """Lets `infer` have a prompt, int32 [K]."""
  used = e.cast(numbers, "int8")
  channels = e.constant(np.arange(spec.channels))
  e.assign(state.offset, e.reshaped(e.take(used, channels), spec.offset))
  gain = e.take(used, e.constant([spec.channels]))
  e.assign(state.gain, e.reshaped(gain, spec.gain))


def given_prompt(
  e: Engine, spec: PromptSpec, offset: Value, gain: Value
) -> Value:
  """The offset's numbers and the gain in a row: int32 [K]."""
  row = e.joined([e.reshaped(offset, [spec.channels]), e.reshaped(gain, [1])])
  return e.cast(row, "int32")


def differs(e: Engine, spec: PromptSpec, given: Value) -> Value:
  """1 where a prompt is not the neutral one, else 0: int32 [1]."""
  same = e.cast(given == e.constant(neutral(spec)), "int32")
  whole = e.reshaped(e.sum(same, 0), [1]) >= spec.numbers
  return 1 - e.cast(whole, "int32")


def clipped(e: Engine, x: Value, low: Value, high: Value) -> Value:
  """x, within limits."""
  return e.minimum(e.maximum(x, low), high)


def neutral(spec: PromptSpec) -> NDArray[np.int32]:
  """No offset and a gain of 1: int32 [K]."""
  return gain_alone(spec) * GAIN_ONE


def gain_alone(spec: PromptSpec) -> NDArray[np.int32]:
  """1 at the gain's place, else 0: int32 [K]."""
  return np.eye(spec.numbers, dtype=np.int32)[-1]


def limits(spec: PromptSpec) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
  """The least and the most that a prompt's numbers can be: int32 [K]."""
  high = np.full(spec.numbers, 127, np.int32)
  return high * (gain_alone(spec) - 1), high
