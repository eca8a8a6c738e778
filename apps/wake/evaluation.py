"""Play sounds to a model, and tell what it heard."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from tqdm import tqdm

from apps.wake import report, scores
from apps.wake.detector import Detector
from apps.wake.scores import Heard, Played
from apps.wake.sounds import Sound

OTHERS_ARE_SHORT_SECONDS = 6.0
"""A recording of a word is shorter; a longer one is sound of another kind."""


def played(found: Detector, sounds: Sequence[Sound], what: str) -> list[Played]:
  """Plays each sound to the model, from a fresh state.

  Args:
    found: the model.
    sounds: what is played.
    what: for the progress bar, which a terminal shows.
  """
  shown = tqdm(sounds, what, disable=None, leave=False)
  return [
    Played(one.name, found.outputs(one.samples), one.lead_seconds)
    for one in shown
  ]


def told(
  found: Detector,
  content: bytes,
  positives: Sequence[Played],
  negatives: Sequence[Played],
  names: tuple[str, str],
) -> dict[str, Any]:
  """The report of an evaluation.

  Args:
    found: the model.
    content: bytes of its file.
    positives: recordings of its word, as it was played them.
    negatives: sounds without its word, the same.
    names: what positives and negatives are called: the flags' values.
  """
  rule = found.rule
  hits = scores.heard(positives, rule)
  events = scores.false_accepts(negatives, rule)
  curve = scores.curve(positives, negatives, rule)
  rows = report.recall_row(names[0], hits)
  wrong = report.events_row(names[1], curve.hours, events)
  return {
    **report.of_detector(found, content),
    "recall": [rows] if positives else [],
    "false_accepts": [wrong] if negatives else [],
    "recordings": report.recording_rows(hits),
    "events": report.event_rows(events),
    "det": report.det([("now", curve, rule)], names[0]),
    "traces": traces(positives, hits, found),
    "notes": [],
  }


def traces(
  positives: Sequence[Played], hits: Sequence[Heard], found: Detector
) -> list[dict[str, Any]]:
  """Probability over time of a missed recording and of one that is heard."""
  shown = []
  for wanted, words in ((False, "missed"), (True, "heard")):
    places = [i for i, hit in enumerate(hits) if hit.heard is wanted]
    if places:
      one = positives[places[0]]
      shown.append(report.trace([("now", one, found.rule)], words))
  return shown


def mostly_heard(
  negatives: Iterable[Played], found: Detector
) -> list[str] | None:
  """Short sounds "without the word" in which the model hears it.

  Returns:
    Their names, where these are most of three short sounds or more: then the
    folder holds the word itself. None otherwise.
  """
  rule = found.rule
  longest = OTHERS_ARE_SHORT_SECONDS / rule.step_seconds
  short = [
    one
    for one in negatives
    if len(one.outputs) - one.lead_seconds / rule.step_seconds <= longest
  ]
  named = [one.name for one in scores.heard(short, rule) if one.heard]
  return named if len(short) >= 3 and 2 * len(named) > len(short) else None


def holds_the_word(folder: str, names: Sequence[str], word: str) -> str:
  """What to say of negatives that are the word itself."""
  first = ", ".join(os.path.basename(name) for name in names[:3])
  return (
    f"the model hears {word!r} in most recordings there ({first}); it should "
    f"be sound without the word: take these out of {folder}"
  )
