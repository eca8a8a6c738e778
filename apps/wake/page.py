"""The pages of reports: of an adaptation, and of an evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from apps.report_page import charts, sections
from apps.report_page.intervals import wilson
from apps.report_page.markup import (
  Markup,
  element,
  facts,
  joined,
  listed,
  page,
  paragraph,
  section,
  table,
  text,
)
from apps.wake.curves import det_section, hours, traces_section

Report = Mapping[str, Any]

MOST_ROWS = 200
"""Recordings and false accepts that a page names; the report has all."""

NOT_SPEECH = (
  "Recall and false accepts are those of the recordings and sounds named here, "
  "played to the file itself from a fresh state, as a device begins."
)


def adaptation_page(
  report: Report, when: str, commands: Sequence[tuple[str, str]]
) -> str:
  """The page of tflm-fg-wake adapt: HTML that needs no other file.

  Args:
    report: what `apps.wake.report` tells of an adaptation.
    when: the date, for people.
    commands: what repeats it: a sentence and a command each.
  """
  name = os.path.basename(report["model"])
  count = report["learned_from"]["positives"]
  return page(
    f"{name} ({report['wake_word']}), adapted to {count} recordings",
    when,
    [
      *_lead(report),
      sections.notes_section(report),
      det_section(report),
      traces_section(report),
      _recordings(report),
      _events(report),
      _tried(report),
      _changed(report),
      sections.again_section(report, commands),
    ],
  )


def evaluation_page(
  report: Report, when: str, commands: Sequence[tuple[str, str]]
) -> str:
  """The page of tflm-fg-wake evaluate: HTML that needs no other file."""
  name = os.path.basename(report["model"])
  return page(
    f"{name} ({report['wake_word']}), scored on {_played(report)}",
    when,
    [
      *_lead(report),
      sections.notes_section(report),
      det_section(report),
      traces_section(report),
      _recordings(report),
      _events(report),
      _rule(report),
      sections.again_section(report, commands),
    ],
  )


def _played(report: Report) -> str:
  """What a model was played, in a few words."""
  rows = [*report["recall"], *report["false_accepts"]]
  return " and ".join(os.path.basename(row["of"].rstrip("/")) for row in rows)


RULES = {"esphome": "ESPHome's", "wheel": "pymicro-wakeword's"}
"""Whose rule makes features int8, by the flag's name of it."""


def _frontend(report: Report) -> str:
  return f"features rounded by {RULES[report['quantization']]} rule"


def _lead(report: Report) -> list[Markup]:
  """The main numbers, and what they are of."""
  pieces = [paragraph(told, "note") for told in report.get("first", ())]
  shown = [_recall_card(row) for row in report["recall"]]
  shown += [_events_card(row) for row in report["false_accepts"]]
  pieces.append(sections.cards(shown))
  rows = [row for row in report["recall"] if _is_pair(row)]
  told = NOT_SPEECH
  if rows and rows[0]["recordings"]:
    before, after = (_share(rows[0], when) for when in ("before", "after"))
    told += " " + sections.overlap(before, after, rows[0]["recordings"])
  pieces.append(paragraph(told))
  return pieces


def _is_pair(row: Report) -> bool:
  """Whether a row has numbers of before and of after."""
  return row.get("heard_before") is not None or (
    row.get("events_before") is not None
  )


def _share(row: Report, when: str) -> float:
  return row[f"heard_{when}"] / max(1, row["recordings"])


def _recall_card(row: Report) -> Markup:
  """Recall of some recordings."""
  count = row["recordings"]
  title = f"recall, {row['of']} ({count} recordings)"
  after = _share(row, "after")
  if _is_pair(row):
    return sections.accuracy_card(title, _share(row, "before"), after, count)
  low, high = wilson(after, count)
  pieces = [
    element("span", title),
    element("b", sections.percent(after)),
    element(
      "span",
      f"{row['heard_after']} of {count}; 95 % interval {100 * low:.1f} to "
      f"{100 * high:.1f}",
    ),
  ]
  return element("div", joined(pieces), "card")


def _events_card(row: Report) -> Markup:
  """False accepts an hour in some sound."""
  length = row["hours"]
  kinds = ["before", "after"] if _is_pair(row) else ["after"]
  counts = [row[f"events_{when}"] for when in kinds]
  rates = [f"{count / length:.2f}" if length else "none" for count in counts]
  events = " → ".join(map(str, counts))
  pieces = [
    element("span", f"false accepts an hour, {row['of']}"),
    element("b", " → ".join(rates)),
    element("span", f"{events} in {hours(length)}; lower is better"),
  ]
  guesses = [row.get(f"estimated_{when}") for when in kinds]
  if None not in guesses:
    guess = " → ".join(f"{value:.2f}" for value in guesses)
    pieces.append(element("span", f"by near misses: {guess}"))
  return element("div", joined(pieces), "card")


def _recordings(report: Report) -> Markup:
  """Each recording of the word: whether it is heard, and how surely."""
  rows = report.get("recordings", ())
  if not rows:
    return Markup()
  pair = any(row.get("probability_before") is not None for row in rows)
  head = [
    "recording",
    *(["before"] if pair else []),
    "after" if pair else "heard",
  ]
  cells = [
    [
      row["file"],
      *([_heard(row, "before")] if pair else []),
      _heard(row, "after"),
    ]
    for row in rows[:MOST_ROWS]
  ]
  told = (
    "The highest cutoff at which the word is still heard in a recording: the "
    "mean over the sliding window. ✓ heard at the cutoff, ✗ missed."
  )
  if kind := report.get("recordings_are"):
    told = f"Recordings that were {kind}. {told}"
  return section(
    "Recording by recording",
    [
      paragraph(told, "soft"),
      element("div", table(head, cells), "scroll"),
      _rest(rows, "recordings"),
    ],
  )


def _heard(row: Report, when: str) -> Markup:
  share = row.get(f"probability_{when}")
  if share is None:
    return Markup()
  is_heard = row[f"heard_{when}"]
  mark, kind = ("✓", "gain") if is_heard else ("✗", "loss")
  return element("span", f"{mark} {share:.3f}", kind)


def _events(report: Report) -> Markup:
  """Sound without the word that the model woke to: file and time."""
  rows = report.get("events", ())
  if not rows:
    return Markup()
  cells = [[row["file"], clock(row["seconds"]), row["when"]] for row in rows]
  kind = report.get("events_are")
  told = f"Sound that was {kind}, played to both files." if kind else ""
  return section(
    "What it woke to without the word",
    [
      paragraph(told, "soft") if told else "",
      element("div", table(["sound", "time", ""], cells[:MOST_ROWS]), "scroll"),
      _rest(rows, "false accepts"),
    ],
  )


def _rest(rows: Sequence[Any], what: str) -> Markup:
  if len(rows) <= MOST_ROWS:
    return Markup()
  told = f"{len(rows) - MOST_ROWS} more {what} are in report.json."
  return paragraph(told, "soft")


def clock(seconds: float) -> str:
  """A time in a recording for people: minutes and seconds."""
  minutes, rest = divmod(max(0.0, seconds), 60)
  return f"{int(minutes)}:{rest:05.2f}"


def _tried(report: Report) -> Markup:
  """What was tried, in order, and what came of each."""
  rows = [
    joined([element("b", row["what"]), f": {row['came_of_it']}"], "")
    for row in report.get("tried", ())
  ]
  if report.get("reason"):
    rows.append(text(report["reason"]))
  return section("What was tried", [listed(rows)])


def _changed(report: Report) -> Markup:
  """What is different in the file and in the manifest."""
  changed, learned = report["changed"], report["learned_from"]
  return section(
    "What changed, and what it took",
    [
      facts(
        [
          (
            "bytes of the file that changed",
            f"{changed['bytes']:,} of {report['model_bytes']:,}",
          ),
          (
            "weights, biases that changed",
            f"{changed['weights']} of {changed['all_weights']}, "
            f"{changed['biases']} of {changed['all_biases']}",
          ),
          ("cutoff", _move(report, "cutoff")),
          (
            "sliding window",
            f"{report['window']} steps of "
            f"{1000 * report['step_seconds']:.0f} ms",
          ),
          ("learned from", learned["told"]),
          ("front end", _frontend(report)),
          ("engine", report["runtime"]),
          ("seconds", f"{report['seconds']:.1f}"),
          (
            "to undo it",
            "put the original file and manifest back; "
            "report.json has the changed bytes of before and after",
          ),
        ]
      )
    ],
  )


def _rule(report: Report) -> Markup:
  """When a word counts as heard."""
  return section(
    "How it was played",
    [
      facts(
        [
          ("cutoff", f"{report['cutoff']:g}"),
          (
            "sliding window",
            f"{report['window']} steps of "
            f"{1000 * report['step_seconds']:.0f} ms",
          ),
          ("front end", _frontend(report)),
          ("engine", report["runtime"]),
        ]
      )
    ],
  )


def _move(report: Report, name: str) -> str:
  before, after = report[f"{name}_before"], report[f"{name}_after"]
  if before == after:
    return f"{after:g}, as it was"
  mark = charts.UP if after > before else charts.DOWN
  return f"{before:g} → {after:g} {mark}"
