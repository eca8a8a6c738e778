"""What a report of wake words tells, as a dict for JSON, pages and tables."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Iterable, Sequence
from typing import Any

from apps.wake import scores
from apps.wake.detector import Detector
from apps.wake.scores import FalseAccept, Heard, Played
from tflm_fg import detection

BEFORE, AFTER, BOTH = "before", "after", "before and after"

MOST_TRACES = 4
"""Recordings whose probability over time is kept."""

_PACKAGES = ("tflm-fg", "numpy", "ai-edge-litert", "pymicro-features")


def of_detector(found: Detector, content: bytes) -> dict[str, Any]:
  """What is known of a model before it is played anything.

  Args:
    found: the model.
    content: bytes of its file.
  """
  return {
    "model": found.path,
    "model_bytes": len(content),
    "model_sha256": sha256(content),
    "manifest": found.manifest.path,
    "wake_word": found.wake_word,
    "cutoff": found.rule.cutoff,
    "window": found.rule.window,
    "step_seconds": found.rule.step_seconds,
    "warm_up_steps": found.rule.warm_up,
    "refractory_steps": found.rule.refractory,
    "output": found.rule.output,
    "quantization": found.frontend.rule,
    "frontend": found.frontend.name,
    "runtime": found.runtime,
    "versions": versions(),
  }


def versions() -> dict[str, str]:
  """Versions of the packages that numbers depend on."""
  found = {}
  for name in _PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def sha256(content: bytes) -> str:
  """A file's SHA-256 in hexadecimal digits."""
  return hashlib.sha256(content).hexdigest()


def recall_row(
  of: str, after: Sequence[Heard], before: Sequence[Heard] | None = None
) -> dict[str, Any]:
  """Recall of some recordings of the word, in counts."""
  row: dict[str, Any] = {
    "of": of,
    "recordings": len(after),
    "heard_after": sum(one.heard for one in after),
  }
  if before is not None:
    row["heard_before"] = sum(one.heard for one in before)
  return row


def events_row(
  of: str,
  hours: float,
  after: Sequence[FalseAccept],
  before: Sequence[FalseAccept] | None = None,
) -> dict[str, Any]:
  """False accepts in some sound, in counts."""
  row: dict[str, Any] = {"of": of, "hours": hours, "events_after": len(after)}
  if before is not None:
    row["events_before"] = len(before)
  return row


def recording_rows(
  after: Sequence[Heard], before: Sequence[Heard] | None = None
) -> list[dict[str, Any]]:
  """Recordings of the word, one by one."""
  rows = []
  for place, one in enumerate(after):
    row: dict[str, Any] = {"file": one.name}
    if before is not None:
      row |= _told(before[place], BEFORE)
    rows.append(row | _told(one, AFTER))
  return rows


def _told(one: Heard, when: str) -> dict[str, Any]:
  return {
    f"probability_{when}": round(one.probability, 4),
    f"heard_{when}": one.heard,
  }


def event_rows(
  after: Iterable[FalseAccept], before: Iterable[FalseAccept] | None = None
) -> list[dict[str, Any]]:
  """False accepts, in the order of sounds and times.

  One within a second of another counts as the same, of before and of after.
  """
  last, first = list(after), list(before or ())
  rows = []
  for one in last:
    same = [other for other in first if _is_same(one, other)]
    for other in same:
      first.remove(other)
    when = "" if before is None else BOTH if same else AFTER
    rows.append({"file": one.name, "seconds": one.seconds, "when": when})
  rows += [
    {"file": one.name, "seconds": one.seconds, "when": BEFORE} for one in first
  ]
  rows.sort(key=lambda row: (row["file"], row["seconds"]))
  return [{**row, "seconds": round(row["seconds"], 2)} for row in rows]


def _is_same(one: FalseAccept, other: FalseAccept) -> bool:
  return one.name == other.name and abs(one.seconds - other.seconds) < 1


def det(
  curves: Sequence[tuple[str, detection.Curve, detection.Rule]], of: str
) -> dict[str, Any] | None:
  """DET curves: recall and false accepts an hour at each cutoff.

  Args:
    curves: a name, the curve, and the rule whose cutoff is used.
    of: what the recordings of the word are.

  Returns:
    None where recordings of the word or sounds without it are missing.
  """
  if not (curves[-1][1].positives and curves[-1][1].hours):
    return None
  shown = []
  for name, curve, rule in curves:
    point = dataclasses.asdict(curve.point(rule))
    point |= {"recall": curve.point(rule).recall}
    point |= {"an_hour": curve.point(rule).an_hour}
    shown.append(
      {
        "name": name,
        "cutoffs": curve.cutoffs.tolist(),
        "recall": curve.recall.tolist(),
        "an_hour": curve.an_hour.tolist(),
        "heard": curve.heard.tolist(),
        "events": curve.events.tolist(),
        "at_cutoff": point,
      }
    )
  last = curves[-1][1]
  return {
    "positives": last.positives,
    "positives_are": of,
    "hours": last.hours,
    "curves": shown,
  }


def det_csv(report: dict[str, Any]) -> bytes:
  """The last DET curve as a table: a row a cutoff."""
  curve = report["det"]["curves"][-1]
  rows = zip(
    *(curve[n] for n in ("cutoffs", "recall", "an_hour", "heard", "events"))
  )
  lines = ["cutoff,recall,false_accepts_an_hour,heard,false_accepts"]
  lines += [f"{c:.3f},{r:.4f},{a:.3f},{h},{e}" for c, r, a, h, e in rows]
  return ("\n".join(lines) + "\n").encode()


def trace(
  played: Sequence[tuple[str, Played, detection.Rule]], told: str
) -> dict[str, Any]:
  """Probability over time of one recording, on one model or on several."""
  _, last, rule = played[-1]
  return {
    "name": last.name,
    "told": told,
    "cutoff": rule.cutoff,
    "step_seconds": rule.step_seconds,
    "first_second": round(last.seconds(0, rule), 4),
    "curves": [
      {"name": name, "probability": scores.trace(one, own)}
      for name, one, own in played
    ],
  }


def changed_bytes(before: bytes, after: bytes) -> list[dict[str, Any]]:
  """Which bytes of a file changed: runs, each with both contents.

  Put `before` back at `offset` to undo it.
  """
  runs: list[tuple[int, int]] = []
  for place, (old, new) in enumerate(zip(before, after)):
    if old == new:
      continue
    if runs and runs[-1][1] == place:
      runs[-1] = runs[-1][0], place + 1
    else:
      runs.append((place, place + 1))
  return [
    {
      "offset": first,
      "before": before[first:last].hex(),
      "after": after[first:last].hex(),
    }
    for first, last in runs
  ]
