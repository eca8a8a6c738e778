"""Count what a model hears: recordings of its word, and what is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg import detection
from tflm_fg.detection import Rule

ONE = 255
"""The probability of 1, as ESPHome counts cutoffs."""


@dataclasses.dataclass(frozen=True)
class Played:
  """A sound, and what a model gave for it from a fresh state.

  Attributes:
    name: of the sound.
    outputs: uint8 or int8 [T, outputs].
    lead_seconds: how long what was played in front of the sound is.
  """

  name: str
  outputs: NDArray[Any]
  lead_seconds: float = 0.0

  def seconds(self, step: int, rule: Rule) -> float:
    """Where the end of a step lies in the sound."""
    return (step + 1) * rule.step_seconds - self.lead_seconds


class Heard(NamedTuple):
  """A recording of the word.

  Attributes:
    name: of the recording.
    probability: the highest cutoff at which the word is still heard in it, 0
      to 1; 0 where it is heard at none.
    heard: whether it is heard at the rule's cutoff.
  """

  name: str
  probability: float
  heard: bool


class FalseAccept(NamedTuple):
  """A detection where nobody said the word.

  Attributes:
    name: of the sound.
    seconds: where in it.
  """

  name: str
  seconds: float


def heard(played: Iterable[Played], rule: Rule) -> list[Heard]:
  """What a model hears of recordings of its word."""
  found = []
  for one in played:
    curve = detection.det_curve([one.outputs], [], rule)
    at = np.flatnonzero(curve.heard)
    share = (int(curve.thresholds[at[-1]]) + 1) / ONE if len(at) else 0.0
    found.append(Heard(one.name, share, bool(curve.heard[rule.threshold])))
  return found


def false_accepts(played: Iterable[Played], rule: Rule) -> list[FalseAccept]:
  """Where a model wakes to sounds in which nobody says its word."""
  return [
    FalseAccept(one.name, one.seconds(int(step), rule))
    for one in played
    for step in detection.detections(one.outputs, rule)
  ]


def curve(
  positives: Sequence[Played], negatives: Sequence[Played], rule: Rule
) -> detection.Curve:
  """The DET curve of recordings of the word and of other sounds."""
  return detection.det_curve(
    [one.outputs for one in positives], [one.outputs for one in negatives], rule
  )


def trace(played: Played, rule: Rule) -> list[float]:
  """Probability over time: the mean over the sliding window at each step."""
  own = detection.probabilities(played.outputs, rule.output)
  sums = np.convolve(own, np.ones(rule.window, np.int64))[: len(own)]
  return [round(float(s) / (rule.window * ONE), 4) for s in sums]
