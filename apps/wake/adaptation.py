"""Adapt a wake word model, and tell what came of it."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from apps.wake import report, scores
from apps.wake.detector import Detector
from apps.wake.learning import Streams, TrainingData
from apps.wake.report import AFTER, BEFORE
from apps.wake.scores import FalseAccept, Heard, Played
from tflm_fg import detection
from tflm_fg.detection import Outcome, Rule, Settings
from tflm_fg.types import TflmFgError


class Refused(TflmFgError):  # noqa: N818
  """No result was better and as safe."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapted:
  """A model that was adapted.

  Attributes:
    found: the model as it came.
    data: what it learned from.
    settings: how it was trained.
    outcome: what training gave.
    model: bytes of the adapted file.
    manifest: text of its manifest; None where the model came without one.
    seconds: that training and its guard took.
  """

  found: Detector
  data: TrainingData
  settings: Settings
  outcome: Outcome
  model: bytes
  manifest: str | None
  seconds: float

  @property
  def rules(self) -> tuple[Rule, Rule]:
    """When the model hears its word, before and after."""
    before = self.found.rule
    return before, dataclasses.replace(before, cutoff=self.outcome.cutoff)

  def played(self, streams: Streams) -> tuple[list[Played], list[Played]]:
    """What the model gives for sounds, before and after."""
    own = self.outcome
    return (
      streams.played(self.found),
      streams.played(self.found, own.weights, own.bias),
    )


def adapt(
  found: Detector,
  data: TrainingData,
  settings: Settings,
  name: str,
  progress: Callable[[str], None] = lambda line: None,
) -> Adapted:
  """Trains the last layer of a model.

  Args:
    found: the model.
    data: what it learns from.
    settings: how.
    name: of the new file, which its manifest names.
    progress: is told what happens, a line at a time.

  Raises:
    Refused: if no result is better and as safe, saying what it was not.
    TflmFgError: if sounds are too few or too short.
  """
  start = time.monotonic()
  outcome = detection.adapt(
    found.model,
    data.positives.arrays,
    data.all_negatives.arrays,
    data.all_keepers.arrays,
    found.rule,
    settings,
    alike=data.stock_alike.arrays,
    negative_names=data.all_negatives.names,
    alike_names=data.stock_alike.names,
    keeper_names=data.all_keepers.names,
    progress=progress,
  )
  if not outcome.accepted:
    raise Refused(f"{found.path}: {outcome.reason}; nothing was written")
  text = None
  if found.manifest.text:
    text = found.manifest.edited(model=name, cutoff=outcome.cutoff)
  return Adapted(
    found=found,
    data=data,
    settings=settings,
    outcome=outcome,
    model=found.model.with_head(outcome.weights, outcome.bias),
    manifest=text,
    seconds=time.monotonic() - start,
  )


class Side:
  """Some sounds, as a model hears them before and after."""

  def __init__(self, adapted: Adapted, streams: Streams) -> None:
    self.streams = streams
    self.rules = adapted.rules
    self.played = adapted.played(streams)

  def heard(self) -> tuple[list[Heard], list[Heard]]:
    """Recordings of the word."""
    before, after = zip(self.played, self.rules)
    return scores.heard(*before), scores.heard(*after)

  def false_accepts(self) -> tuple[list[FalseAccept], list[FalseAccept]]:
    """Detections in sound without the word."""
    before, after = zip(self.played, self.rules)
    return scores.false_accepts(*before), scores.false_accepts(*after)


def told(adapted: Adapted, content: bytes, path: str) -> dict[str, Any]:
  """The report of an adaptation.

  Args:
    adapted: what came of it.
    content: bytes of the file as it came.
    path: of the new file.
  """
  data, outcome, found = adapted.data, adapted.outcome, adapted.found
  test = Side(adapted, data.test_positives)
  room = Side(adapted, data.test_negatives)
  shown = test if test.streams else Side(adapted, data.positives)
  negatives = room if room.streams else Side(adapted, data.all_negatives)
  hits, events = shown.heard(), negatives.false_accepts()
  return {
    **report.of_detector(found, content),
    "out": path,
    "out_sha256": report.sha256(adapted.model),
    "seed": adapted.settings.seed,
    "settings": dataclasses.asdict(adapted.settings),
    "cutoff_before": found.rule.cutoff,
    "cutoff_after": outcome.cutoff,
    "learned_from": data.to_json(found),
    "changed": changed(adapted),
    "recall": recall(adapted, test),
    "false_accepts": false_accepts(adapted, room),
    "recordings": report.recording_rows(hits[1], hits[0]),
    "recordings_are": OTHERS if test.streams else LEARNED,
    "events": report.event_rows(events[1], events[0]),
    "events_are": OTHERS if room.streams else LEARNED,
    "det": det(adapted, test, room),
    "traces": traces(shown, hits),
    "first": [] if outcome.cutoff == found.rule.cutoff else [MOVED],
    "reason": outcome.reason,
    "tried": [tried(attempt) for attempt in outcome.tried],
    "notes": [
      *data.notes,
      *written_anew(adapted),
      *doubts(outcome, data.positives),
      *without_manifest(adapted),
    ],
    "seconds": adapted.seconds,
  }


OTHERS, LEARNED = "not learned from", "learned from"
"""What sounds are to the model that is shown."""

ASIDE = "each kept aside in turn"
"""How sounds are scored that a model learns from: by one that did not."""

MOVED = (
  "The cutoff was moved. It stands in the new manifest; a cutoff in a YAML "
  "file overrides it."
)


def doubts(outcome: Outcome, positives: Streams) -> list[str]:
  """What is unsure, with recordings by their names."""

  def named(found: re.Match[str]) -> str:
    return positives.names[int(found[1])]

  return [re.sub(r"^positive (\d+)", named, line) for line in outcome.doubts]


def without_manifest(adapted: Adapted) -> list[str]:
  """What to know of a result for which no manifest can be written."""
  if adapted.manifest is not None:
    return []
  return [
    "the model came without a manifest, so none is written: it counts as heard "
    f"at a cutoff of {adapted.outcome.cutoff:g} and a sliding window of "
    f"{adapted.found.rule.window}"
  ]


def tried(attempt: detection.Attempt) -> dict[str, Any]:
  """One of the things that were tried, in words and in numbers."""
  own = attempt.numbers
  words = (
    f"{own.heard} of {own.positives} recordings, {own.keepers_heard} of "
    f"{own.keepers} voices to keep, {own.events} false accepts in "
    f"{own.hours:.2f} hours ({ASIDE})"
  )
  if attempt.why_not:
    words = f"not taken: {attempt.why_not}"
  return {
    "what": attempt.what,
    "came_of_it": words,
    **{k: plain(v) for k, v in dataclasses.asdict(own).items()},
  }


def plain(value: float) -> float | None:
  """A number as JSON has it; None for one that is none."""
  return None if value != value else value


def written_anew(adapted: Adapted) -> list[str]:
  """What had to be mended in the file before its last layer was changed."""
  return [
    "the file was written anew, and the changed bytes are those of the new "
    f"one: {note}"
    for note in adapted.found.model.notes
  ]


def changed(adapted: Adapted) -> dict[str, Any]:
  """What is different in the file: counts, and each run of bytes."""
  model, outcome = adapted.found.model, adapted.outcome
  head, content = model.head, model.file.data
  runs = report.changed_bytes(content, adapted.model)
  return {
    "bytes": sum(len(run["before"]) // 2 for run in runs),
    "weights": int((outcome.weights != head.weights).sum()),
    "all_weights": head.weights.size,
    "biases": int((outcome.bias != head.bias).sum()),
    "all_biases": head.bias.size,
    "runs": runs,
  }


def det(adapted: Adapted, test: Side, room: Side) -> dict[str, Any] | None:
  """The DET curves of before and after, of sounds that were not learned."""
  outcome, rules = adapted.outcome, adapted.rules
  own = [outcome.before_curve, outcome.after_curve]
  of = ASIDE
  if test.streams and room.streams:
    played = zip(test.played, room.played, rules)
    own, of = [scores.curve(*one) for one in played], OTHERS
  return report.det(list(zip((BEFORE, AFTER), own, rules)), of)


def traces(
  shown: Side, hits: tuple[Sequence[Heard], Sequence[Heard]]
) -> list[dict[str, Any]]:
  """Probability over time of a recording that was missed, and of others."""
  pairs = [(one.heard, other.heard) for one, other in zip(*hits)]
  drawn = []
  for pair, words in (
    ((False, True), "missed before, heard after"),
    ((False, False), "missed before and after"),
    ((True, False), "heard before, missed after"),
    ((True, True), "heard before and after"),
  ):
    if pair in pairs and len(drawn) < report.MOST_TRACES:
      place = pairs.index(pair)
      own = [
        (name, played[place], rule)
        for name, played, rule in zip(
          (BEFORE, AFTER), shown.played, shown.rules
        )
      ]
      drawn.append(report.trace(own, words))
  return drawn


def recall(adapted: Adapted, test: Side) -> list[dict[str, Any]]:
  """Rows of recall: the user's recordings, and voices that are kept."""
  rows = []
  if test.streams:
    before, after = test.heard()
    rows.append(report.recall_row("other recordings", after, before))
  first, last = adapted.outcome.before, adapted.outcome.after
  for of, name, count in (
    (f"your recordings, {ASIDE}", "heard", first.positives),
    (f"voices to keep, {ASIDE}", "keepers_heard", first.keepers),
  ):
    if count:
      rows.append(
        {
          "of": of,
          "recordings": count,
          "heard_before": getattr(first, name),
          "heard_after": getattr(last, name),
        }
      )
  return rows


def false_accepts(adapted: Adapted, room: Side) -> list[dict[str, Any]]:
  """Rows of false accepts: in other sound, and in what was kept aside."""
  rows = []
  if room.streams:
    before, after = room.false_accepts()
    outputs = [one.outputs for one in room.played[0]]
    hours = detection.scored_hours(outputs, room.rules[0])
    rows.append(report.events_row("other sound", hours, after, before))
  first, last = adapted.outcome.before, adapted.outcome.after
  rows.append(
    {
      "of": f"negatives, {ASIDE}",
      "hours": first.hours,
      "events_before": first.events,
      "events_after": last.events,
      "estimated_before": plain(first.estimated_an_hour),
      "estimated_after": plain(last.estimated_an_hour),
    }
  )
  return rows
