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

COUNTS = 7
"""Rows of the counts in front of those of the starts, see `PromptState`."""


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
    """Numbers of the offset, and then the gain: K."""
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
  """The variables of a prompt. The offset's numbers come first, then the gain.

  Attributes:
    offset: int8, what `infer` adds to its input, in quarters of its steps.
    gain: int8, what `infer` multiplies its input by, in 1/64.
    training: int32 [4, K]: the prompt that is being trained, in 1/256 of its
      steps; its velocity; its running mean, in 1/256 of steps too; and the
      prompt that `infer` uses, in steps.
    shown: int32 [C, 1], 1 for each class that there were samples of, else 0.
    counts: int32 [11, 1]: steps; scans; of the samples kept aside since the
      last decision how many, the sum of what their losses gained, and of its
      squares, how many more are right, and how many are; and what each start
      of the gain loses against a gain of 1.
  """

  offset: Variable
  gain: Variable
  training: Variable
  shown: Variable
  counts: Variable


def prompt_state(head: HeadSpec, spec: PromptSpec) -> PromptState:
  """The variables of a prompt of this size."""
  return PromptState(
    Variable("offset", spec.offset, "int8"),
    Variable("gain", spec.gain, "int8"),
    Variable("input_training", (4, spec.numbers), "int32"),
    Variable("input_shown", (head.classes, 1), "int32"),
    Variable("input_counts", (COUNTS + len(STARTS), 1), "int32"),
  )


def forget_prompt(e: Engine, head: HeadSpec, spec: PromptSpec) -> None:
  """Begins anew: no prompt, and nothing that was learned of one."""
  state = prompt_state(head, spec)
  e.assign(state.offset, e.filled(spec.offset, 0, "int8"))
  e.assign(state.gain, e.filled(spec.gain, GAIN_ONE, "int8"))
  e.assign(state.training, _begun(e, e.constant(neutral(spec))))
  for variable in (state.shown, state.counts):
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
  parts = e.reshaped(offset, [spec.channels, 1]), e.reshaped(gain, [1, 1])
  given = clipped(e, spec, e.reshaped(e.joined(parts), [1, spec.numbers]), 1)
  training = e.select(fits, _begun(e, given), e.read(state.training))
  e.assign(state.training, training)
  use_prompt(e, spec, state, e.take(training, e.constant([3])))
  # A gain that was found is not looked for again.
  turns = np.eye(COUNTS + len(STARTS), 1, -1, np.int32) * spec.scans
  counts = differs(e, spec, given) * e.constant(turns)
  e.assign(state.counts, e.select(fits, counts, e.read(state.counts)))
  e.assign(state.shown, e.read(state.shown) * (1 - accepted))


def use_prompt(
  e: Engine, spec: PromptSpec, state: PromptState, numbers: Value
) -> None:
  """Lets `infer` have a prompt, int32 [1, K]."""
  used = e.cast(e.reshaped(numbers, [spec.numbers]), "int8")
  offset = e.take(used, e.constant(np.arange(spec.channels)))
  e.assign(state.offset, e.reshaped(offset, spec.offset))
  gain = e.take(used, e.constant([spec.channels]))
  e.assign(state.gain, e.reshaped(gain, spec.gain))


def differs(e: Engine, spec: PromptSpec, numbers: Value) -> Value:
  """1 where a prompt, [1, K], is not the neutral one, else 0: int32 [1, 1]."""
  same = e.cast(numbers == e.constant(neutral(spec)), "int32")
  return e.cast(e.sum(same, 1, keepdims=True) < spec.numbers, "int32")


def clipped(e: Engine, spec: PromptSpec, x: Value, unit: int) -> Value:
  """Prompts [N, K] within the range, in steps of so many units."""
  high = np.full((1, spec.numbers), 127 * unit)
  low = high * (gain_alone(spec) - 1)
  return e.minimum(e.maximum(x, e.constant(low)), e.constant(high))


def neutral(spec: PromptSpec) -> NDArray[np.int32]:
  """No offset and a gain of 1: int32 [1, K]."""
  return gain_alone(spec) * GAIN_ONE


def gain_alone(spec: PromptSpec) -> NDArray[np.int32]:
  """1 at the gain's place, else 0: int32 [1, K]."""
  return np.eye(1, spec.numbers, spec.channels, np.int32)


def _begun(e: Engine, numbers: Value) -> Value:
  """What training begins with at a prompt, [1, K]: int32 [4, K]."""
  masters = numbers * UNITS
  return e.joined([masters, numbers * 0, masters, numbers])
