"""Recall and false accepts an hour at every cutoff: the DET curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.detection.rule import (
  MOST_THRESHOLD,
  Outputs,
  Rule,
  Stream,
  cutoff_of,
  probabilities,
)
from tflm_fg.types import Int64


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
  """What a model does at every cutoff that a device can hold.

  Attributes:
    thresholds: int64 [255], 0 to 254, the cutoffs as ESPHome holds them.
    heard: int64 [255], positive streams in which the word is heard.
    positives: how many positive streams there are.
    events: int64 [255], detections in the negatives.
    hours: of negatives that were scored, without each stream's warm-up.
  """

  thresholds: Int64
  heard: Int64
  positives: int
  events: Int64
  hours: float

  @property
  def cutoffs(self) -> NDArray[np.float64]:
    """The thresholds as a manifest has them, float64 [255]."""
    return np.array([cutoff_of(int(k)) for k in self.thresholds])

  @property
  def recall(self) -> NDArray[np.float64]:
    """The share of positives that are heard, float64 [255]; NaN without any."""
    return _over(self.heard, self.positives)

  @property
  def an_hour(self) -> NDArray[np.float64]:
    """False accepts an hour, float64 [255]; NaN without scored negatives."""
    return _over(self.events, self.hours)

  def point(self, rule: Rule) -> Point:
    """What it does at a rule's cutoff."""
    k = rule.threshold
    return Point(
      rule.cutoff,
      int(self.heard[k]),
      self.positives,
      int(self.events[k]),
      self.hours,
    )


@dataclasses.dataclass(frozen=True)
class Point:
  """What a model does at one cutoff, in counts.

  Attributes:
    cutoff: of the mean probability.
    heard: positive streams in which the word is heard.
    positives: how many there are.
    events: detections in the negatives.
    hours: of negatives that were scored.
  """

  cutoff: float
  heard: int
  positives: int
  events: int
  hours: float

  @property
  def recall(self) -> float:
    """The share of positives that are heard; NaN without any."""
    return self.heard / self.positives if self.positives else float("nan")

  @property
  def an_hour(self) -> float:
    """False accepts an hour; NaN without scored negatives."""
    return self.events / self.hours if self.hours else float("nan")


def det_curve(
  positives: Sequence[Outputs], negatives: Sequence[Outputs], rule: Rule
) -> Curve:
  """Measures recall and false accepts at every cutoff.

  A positive counts as heard if the word fires anywhere in it; a negative
  counts as often as it fires.

  Args:
    positives: outputs of streams that hold the word, see `probabilities`.
    negatives: outputs of streams that do not.
    rule: its cutoff is not looked at.

  Returns:
    The curve over 255 cutoffs.

  Raises:
    TflmFgError: if outputs are not a model's.

  Example:
    >>> curve = det_curve(model_outputs, other_outputs, rule)
    >>> curve.recall[rule.threshold], curve.an_hour[rule.threshold]
  """
  thresholds = np.arange(MOST_THRESHOLD + 1)
  heard, events = np.zeros_like(thresholds), np.zeros_like(thresholds)
  for outputs in positives:
    heard += _counts(outputs, rule) > 0
  for outputs in negatives:
    events += _counts(outputs, rule)
  return Curve(
    thresholds, heard, len(positives), events, scored_hours(negatives, rule)
  )


def point(
  positives: Sequence[Outputs], negatives: Sequence[Outputs], rule: Rule
) -> Point:
  """What a model does at the rule's own cutoff; see `det_curve`."""
  fired = [
    [_stream(o, rule).fires(rule.threshold) for o in streams]
    for streams in (positives, negatives)
  ]
  heard, events = sum(map(bool, fired[0])), sum(map(len, fired[1]))
  hours = scored_hours(negatives, rule)
  return Point(rule.cutoff, heard, len(positives), events, hours)


def scored_hours(streams: Sequence[Outputs], rule: Rule) -> float:
  """How long streams are in hours, each without its warm-up."""
  steps = sum(max(0, len(outputs) - rule.warm_up) for outputs in streams)
  return steps * rule.step_seconds / 3600


def _counts(outputs: Outputs, rule: Rule) -> Int64:
  """How often one stream fires at each threshold: int64 [255]."""
  stream = _stream(outputs, rule)
  found = [len(stream.fires(k)) for k in range(MOST_THRESHOLD + 1)]
  return np.array(found, np.int64)


def _stream(outputs: Outputs, rule: Rule) -> Stream:
  return Stream(probabilities(outputs, rule.output), rule)


def _over(counts: Int64, whole: float) -> NDArray[np.float64]:
  if not whole:
    return np.full(counts.shape, np.nan)
  return counts / whole
