"""Say at which steps of a stream a wake word counts as heard.

The rule is ESPHome's (components/micro_wake_word, streaming_model.cpp), in
integers. The last `window` probabilities, uint8, are summed, and the word is
heard where the sum is above threshold * window, with threshold =
int(cutoff * 255). Probabilities before the first step count as 0. After the
start, and after each detection, which also sets the past probabilities to 0, a
number of steps passes that are not scored. Only a step whose probability is
below the threshold counts towards it, so that one long word is not heard twice.

ESPHome counts features of 10 ms there, 100 of them, and a step of a model may
hold several. Steps are counted here, rounded up: 34 steps of 30 ms. So a
detection comes one step later than on a device, at most.

The Python package pymicro_wakeword has another rule. It compares the mean of
probabilities q / 256, as the file's scale has it, with the cutoff itself. At a
cutoff of 0.97 and a window of 5 its sum must be above 1241.6, and ESPHome's
above 1235: where pymicro_wakeword hears a word, a device does too, but not the
other way round. It waits until the window is full, leaves no steps out, and is
true at every step for which the mean is above, so its detections cannot be
counted as events without a rule such as this one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import Array, Int64, TflmFgError

PROBABILITY_ONE = 255
"""What ESPHome takes for 1: a cutoff counts in 1/255, cut off below."""

MOST_THRESHOLD = PROBABILITY_ONE - 1
"""The highest that a window can be above."""

QUIET_SECONDS = 1.0
"""ESPHome scores nothing for 100 features of 10 ms."""

Outputs = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Rule:
  """When a stream of outputs counts as a detection.

  Attributes:
    cutoff: of the mean probability, 0 to below 1, as the manifest has it.
    window: steps that the mean is over, at least 1.
    warm_up: steps at a stream's start that are not scored.
    refractory: steps behind a detection that are not scored.
    step_seconds: how long a step of the model is.
    output: index of the output that stands for the word.

  Raises:
    TflmFgError: if a number is out of range.

  Example:
    >>> rule = Rule(cutoff=0.97, window=2, warm_up=0, refractory=1)
    >>> detections(np.uint8([0, 250, 250, 0]), rule)
    array([2])
  """

  cutoff: float
  window: int = 5
  warm_up: int = 34
  refractory: int = 34
  step_seconds: float = 0.03
  output: int = 0

  def __post_init__(self) -> None:
    if not 0 <= self.cutoff < 1:
      raise TflmFgError(f"cutoff={self.cutoff}: need 0 <= cutoff < 1")
    for name, least in (("window", 1), ("warm_up", 0), ("refractory", 0)):
      value = getattr(self, name)
      if value != int(value) or not least <= value < 1 << 16:
        raise TflmFgError(
          f"{name}={value}: need a whole number of steps, {least} to 65535"
        )
    if not 0 < self.step_seconds < math.inf:
      raise TflmFgError(
        f"step_seconds={self.step_seconds}: need a length above 0, such as "
        "0.03 for steps of 3 features of 10 ms"
      )
    if self.output < 0:
      raise TflmFgError(f"output={self.output}: need an index, 0 or more")

  @classmethod
  def of_manifest(
    cls, cutoff: float, window: int, step_seconds: float, output: int = 0
  ) -> Rule:
    """The rule of a device with ESPHome: a second is not scored.

    Args:
      cutoff: the manifest's `probability_cutoff`.
      window: the manifest's `sliding_window_size`.
      step_seconds: how long a step of the model is.
      output: index of the output that stands for the word.
    """
    rule = cls(cutoff, window, 0, 0, step_seconds, output)
    quiet = math.ceil(round(QUIET_SECONDS / step_seconds, 6))
    return dataclasses.replace(rule, warm_up=quiet, refractory=quiet)

  @property
  def threshold(self) -> int:
    """The cutoff as ESPHome holds it: 0 to 254."""
    return int(self.cutoff * PROBABILITY_ONE)

  def at(self, threshold: int) -> Rule:
    """The same rule with another cutoff.

    Args:
      threshold: 0 to 254, as ESPHome holds it.
    """
    return dataclasses.replace(self, cutoff=cutoff_of(threshold))


def cutoff_of(threshold: int) -> float:
  """The cutoff with three decimals that ESPHome takes for a threshold.

  Args:
    threshold: 0 to 254.

  Raises:
    TflmFgError: if it is out of range.
  """
  if not 0 <= threshold <= MOST_THRESHOLD:
    raise TflmFgError(
      f"threshold={threshold}: need 0 to {MOST_THRESHOLD}, in 1/255"
    )
  return -(-threshold * 1000 // PROBABILITY_ONE) / 1000


def probabilities(outputs: Outputs, output: int = 0) -> Int64:
  """A stream's probabilities as whole numbers of 1/256.

  Args:
    outputs: uint8, or int8 with the zero point -128 that a SOFTMAX or LOGISTIC
      has, [T] or [T, outputs].
    output: which one.

  Returns:
    int64 [T], 0 to 255.

  Raises:
    TflmFgError: if they are no such outputs, or too few of them.
  """
  if outputs.dtype not in (np.uint8, np.int8) or outputs.ndim not in (1, 2):
    raise TflmFgError(
      f"outputs of {outputs.dtype} {list(outputs.shape)}: need uint8 or int8 "
      "[steps, outputs], as the model gives them"
    )
  columns = (
    outputs.reshape(len(outputs), -1) if len(outputs) else outputs[:, None]
  )
  if len(outputs) and output >= columns.shape[1]:
    raise TflmFgError(
      f"output={output}: the model has {columns.shape[1]} outputs, counted "
      "from 0"
    )
  wide = columns[:, output if len(outputs) else 0].astype(np.int64)
  return wide + 128 if outputs.dtype == np.int8 else wide


def window_sums(values: Int64, window: int) -> Int64:
  """Sums over the last `window` steps; what lies before the first counts as 0.

  Args:
    values: int64 [T].
    window: steps.

  Returns:
    int64 [T].
  """
  sums = np.cumsum(values)
  sums[window:] -= sums[:-window].copy()
  return sums


def detections(outputs: Outputs, rule: Rule) -> Int64:
  """The steps at which the word counts as heard.

  Args:
    outputs: of one stream from a fresh state, see `probabilities`.
    rule: when it counts.

  Returns:
    int64 [events], ascending.
  """
  stream = Stream(probabilities(outputs, rule.output), rule)
  return np.array(stream.fires(rule.threshold), np.int64)


class Stream:
  """One stream's probabilities, prepared for asking at several cutoffs.

  Attributes:
    own: int64 [T], the probabilities.
    sums: int64 [T], see `window_sums`.
    highest: the largest of the sums; 0 without steps.
  """

  def __init__(self, own: Int64, rule: Rule) -> None:
    self.own, self.rule = own, rule
    self.sums = window_sums(own, rule.window)
    self.highest = int(self.sums.max(initial=0))

  def fires(self, threshold: int) -> list[int]:
    """Steps at which the word counts as heard at a threshold, ascending."""
    above = threshold * self.rule.window
    if self.highest <= above:
      return []
    candidates = np.flatnonzero(self.sums > above)
    quiet = np.cumsum(self.own < threshold)
    found: list[int] = []
    start, needed = 0, self.rule.warm_up
    while (step := self._next(candidates, quiet, start, needed, above)) >= 0:
      found.append(step)
      start, needed = step + 1, self.rule.refractory
    return found

  def _next(
    self, candidates: Array, quiet: Array, start: int, needed: int, above: int
  ) -> int:
    """The first step that fires at or behind `start`; -1 for none."""
    counted = int(quiet[start - 1]) if start else 0
    ready = max(start, int(np.searchsorted(quiet, counted + needed)))
    for place in range(
      int(np.searchsorted(candidates, ready)), len(candidates)
    ):
      step = int(candidates[place])
      first = step + 1 - self.rule.window
      # The steps before `start` count as 0, where the window reaches there.
      if first >= start or self.own[start : step + 1].sum() > above:
        return step
    return -1
