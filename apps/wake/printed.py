"""Print the main numbers of a report of wake words, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.report_page.intervals import wilson
from apps.wake.curves import hours
from apps.wake.page import clock

Report = Mapping[str, Any]

MOST_NAMED = 10
"""Recordings and false accepts that are named; the report has all."""

SHOWN_CUTOFFS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
"""Cutoffs of the printed DET curve, beside the one in use."""


def print_evaluation(report: Report) -> None:
  """Recall, false accepts and the DET curve of one model."""
  print_notes(report)
  print(
    f"{report['model']} ({report['wake_word']}): cutoff {report['cutoff']:g}, "
    f"sliding window of {report['window']} steps of "
    f"{1000 * report['step_seconds']:.0f} ms, {report['runtime']}"
  )
  for row in report["recall"]:
    print(_recall(row))
  missed = [row for row in report["recordings"] if not row["heard_after"]]
  for row in missed[:MOST_NAMED]:
    share = row["probability_after"]
    print(f"  missed: {row['file']}, {_last_cutoff(share)}")
  _print_rest(missed, "missed")
  for row in report["false_accepts"]:
    an_hour = f" ({row['events_after'] / row['hours']:.2f} an hour)"
    print(
      f"false accepts: {row['events_after']} in {hours(row['hours'])} of "
      f"{row['of']}{an_hour if row['hours'] else ''}"
    )
  for row in report["events"][:MOST_NAMED]:
    print(f"  {row['file']} at {clock(row['seconds'])}")
  _print_rest(report["events"], "false accepts")
  if report["det"]:
    _print_det(report["det"]["curves"][-1], report["cutoff"])


def _recall(row: Report) -> str:
  count, found = row["recordings"], row["heard_after"]
  low, high = (100 * end for end in wilson(found / max(1, count), count))
  return (
    f"recall: {found} of {count} recordings of {row['of']} "
    f"({100 * found / max(1, count):.1f} %, 95 % interval {low:.1f} to "
    f"{high:.1f})"
  )


def _last_cutoff(share: float) -> str:
  if not share:
    return "heard at no cutoff"
  return f"heard up to a cutoff of {share:.3f}"


def _print_rest(rows: Sequence[Any], what: str) -> None:
  if len(rows) > MOST_NAMED:
    print(f"  and {len(rows) - MOST_NAMED} more {what}")


def _print_det(curve: Report, cutoff: float) -> None:
  """A few cutoffs of the DET curve, and the one in use."""
  print("\ncutoff  recall  false accepts an hour")
  wanted = sorted({*SHOWN_CUTOFFS, cutoff})
  for own in wanted:
    threshold = min(int(own * 255), len(curve["recall"]) - 1)
    mark = " *" if own == cutoff else ""
    print(
      f"{own:6.3f}  {curve['recall'][threshold]:6.3f}  "
      f"{curve['an_hour'][threshold]:8.2f}{mark}"
    )


def print_adaptation(report: Report) -> None:
  """Before and after: what is heard, what it wakes to, and what changed."""
  print_notes(report)
  print(f"{'':44} {'before':>12} {'after':>12}")
  for row in report["recall"]:
    counts = [
      f"{row[f'heard_{when}']} of {row['recordings']}"
      for when in ("before", "after")
    ]
    print(_line(f"heard of {row['of']}", *counts))
  for row in report["false_accepts"]:
    rates = [_rate(row, when) for when in ("before", "after")]
    title = f"false accepts an hour, {row['of']} ({hours(row['hours'])})"
    print(_line(title, *rates))
  print(_line("cutoff", *(f"{report[f'cutoff_{w}']:g}" for w in _WHEN)))
  changed = report["changed"]
  print(
    f"{changed['bytes']} of {report['model_bytes']} bytes of the file changed; "
    f"learned from {report['learned_from']['told']}; "
    f"{report['seconds']:.1f} s"
  )


_WHEN = ("before", "after")


def _rate(row: Report, when: str) -> str:
  events = row[f"events_{when}"]
  rate = f"{events / row['hours']:.1f} " if row["hours"] else ""
  return f"{rate}({events})"


def _line(title: str, before: str, after: str) -> str:
  """A row of the table; a long title has a line of its own."""
  if len(title) > 44:
    return f"{title}\n{'':44} {before:>12} {after:>12}"
  return f"{title:44} {before:>12} {after:>12}"


def print_notes(report: Report) -> None:
  """What a user should know."""
  for note in report["notes"]:
    print(f"note: {note}")
