"""Train and score with every part of the streams kept aside in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.detection.curve import Curve, det_curve
from tflm_fg.detection.folds import Parts
from tflm_fg.detection.model import Model
from tflm_fg.detection.near_misses import Tail, likeness, tail_of
from tflm_fg.detection.over_time import target_of
from tflm_fg.detection.row import Row, in_bits, softplus
from tflm_fg.detection.rule import Outputs, Rule
from tflm_fg.detection.settings import Settings
from tflm_fg.detection.training import train_head
from tflm_fg.losses.base import NATS_PER_UNIT
from tflm_fg.types import Int8, Int32, Int64

Trained = tuple[Int8, Int32]
"""Weights int8 [outputs, features] and bias int32 [outputs]."""


@dataclasses.dataclass(frozen=True)
class Numbers:
  """What a head does at one cutoff, on streams that its training did not see.

  Attributes:
    cutoff: of the mean probability.
    heard: positives in which the word is heard.
    positives: how many there are.
    keepers_heard: keepers in which it is heard.
    keepers: how many there are.
    events: detections in the negatives.
    hours: of negatives that were scored.
    estimated_an_hour: false accepts an hour by the near misses, see `Tail`; NaN
      with too few negatives.
    shortfall: how far the positives stay behind the target, a mean softplus in
      nats; 0 is best.
    alike_events: detections in phrases that sound like the word.
    alike_hours: of such phrases that were scored.
  """

  cutoff: float
  heard: int
  positives: int
  keepers_heard: int
  keepers: int
  events: int
  hours: float
  estimated_an_hour: float
  shortfall: float
  alike_events: int = 0
  alike_hours: float = 0.0

  @property
  def recall(self) -> float:
    """The share of positives that are heard."""
    return self.heard / self.positives

  @property
  def keepers_recall(self) -> float:
    """The share of keepers that are heard; NaN without any."""
    return self.keepers_heard / self.keepers if self.keepers else float("nan")

  @property
  def an_hour(self) -> float:
    """False accepts an hour, counted; NaN without scored negatives."""
    return self.events / self.hours if self.hours else float("nan")


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
  """What heads do at every cutoff, each on what it did not train on.

  Attributes:
    curve: positives and negatives.
    alike: what sounds like the word; its curve has no positives.
    keepers_heard: int64 [255], keepers in which the word is heard.
    keepers: how many there are.
    tail: of the negatives' odds.
    shortfalls: nats of each positive, see `Numbers`.
  """

  curve: Curve
  alike: Curve
  keepers_heard: Int64
  keepers: int
  tail: Tail
  shortfalls: tuple[float, ...]

  def at(self, rule: Rule) -> Numbers:
    """The numbers at a rule's cutoff."""
    point, threshold = self.curve.point(rule), rule.threshold
    return Numbers(
      cutoff=rule.cutoff,
      heard=point.heard,
      positives=point.positives,
      keepers_heard=int(self.keepers_heard[threshold]),
      keepers=self.keepers,
      events=point.events,
      hours=point.hours,
      estimated_an_hour=self.tail.above(rule.cutoff),
      shortfall=float(np.mean(self.shortfalls)),
      alike_events=int(self.alike.events[threshold]),
      alike_hours=self.alike.hours,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
  """All that is trained and scored on.

  Attributes:
    model: whose engine scores.
    row: of its head that trains.
    positives: in parts.
    negatives: in parts.
    alike: negatives that are sound like the word, counted apart, in parts.
    keepers: in parts.
    rule: when the word counts as heard.
    settings: of training; its `folds` is the count of parts.
  """

  model: Model
  row: Row
  positives: Parts
  negatives: Parts
  alike: Parts
  keepers: Parts
  rule: Rule
  settings: Settings

  def trained(self, settings: Settings, fold: int = -2) -> Trained:
    """Trains on all streams but those of a part; on all for no part."""
    return train_head(
      self.row.head,
      self.positives.trained(fold),
      [*self.negatives.trained(fold), *self.alike.trained(fold)],
      self.keepers.trained(fold),
      self.rule,
      settings,
    )

  def by_folds(self, settings: Settings) -> Scored:
    """Trains once for each part that is kept aside, and scores on these."""
    folds = range(self.settings.folds)
    return self.scored([self.trained(settings, fold) for fold in folds])

  def unchanged(self) -> Scored:
    """Scores the head as the file has it."""
    head = self.row.head
    return self.scored([(head.weights, head.bias)] * self.settings.folds)

  def final(self, trained: Trained) -> Scored:
    """Scores one head on all streams, those that it trained on."""
    return self.scored([trained] * self.settings.folds)

  def scored(self, heads: Sequence[Trained]) -> Scored:
    """Scores a head for each part on the streams of the part.

    Args:
      heads: one a part.
    """
    groups = (self.positives, self.negatives, self.keepers)
    words, others, kept = (self._outputs(parts, heads) for parts in groups)
    first = self.rule.warm_up
    odds = [
      self._odds(stream, head, first)
      for stream, head in _paired(self.negatives, heads)
    ]
    keepers = det_curve(kept, [], self.rule)
    return Scored(
      det_curve(words, others, self.rule),
      det_curve([], self._outputs(self.alike, heads), self.rule),
      keepers.heard,
      len(kept),
      tail_of(odds, self.rule.step_seconds),
      tuple(
        self._shortfall(stream, head)
        for stream, head in _paired(self.positives, heads)
      ),
    )

  def likeness(self) -> list[float]:
    """How much each positive stands out before training.

    From negatives, and from phrases that are alike: most other words stand out
    from noise, and few from these.
    """
    head = (self.row.head.weights, self.row.head.bias)
    settled = self.settings.settled(self.rule)
    others = [*self.negatives.streams, *self.alike.streams]
    return likeness(
      [self._odds(s, head, settled) for s in self.positives.streams],
      [self._odds(s, head, self.rule.warm_up) for s in others],
    )

  def _outputs(self, parts: Parts, heads: Sequence[Trained]) -> list[Outputs]:
    return [
      self.model.head_outputs(stream, *head)
      for stream, head in _paired(parts, heads)
    ]

  def _odds(
    self, stream: Int8, head: Trained, first: int
  ) -> NDArray[np.float64]:
    """Nats of the windows that end at a step or behind it."""
    weights, bias = (own[self.rule.output] for own in head)
    window = self.rule.window
    odds = self.row.window_odds(stream, weights, int(bias), window)
    scored = odds[max(first + 1 - window, 0) :]
    return scored.astype(np.float64) * NATS_PER_UNIT

  def _shortfall(self, stream: Int8, head: Trained) -> float:
    odds = self._odds(stream, head, self.settings.settled(self.rule))
    target = target_of(self.row, self.rule, self.settings)
    missing = in_bits(target - float(odds.max()))
    return float(softplus(np.array([missing]))[0]) * NATS_PER_UNIT


def _paired(
  parts: Parts, heads: Sequence[Trained]
) -> list[tuple[Int8, Trained]]:
  """Each stream with the head that did not train on it, in their order."""
  return [
    (stream, heads[max(part, 0)])
    for stream, part in zip(parts.streams, parts.part)
  ]
