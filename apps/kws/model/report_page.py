"""The page of an adapted spotter: the common page, with words and confusions.

`apps.report_page` makes it; here are the parts that only a spotter has.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from apps import cli, outputs
from apps.kws.model.adaptation import SpotterResult
from apps.kws.model.outcome import TITLES
from apps.kws.model.scores import WordScores
from apps.report_page import charts, sections
from apps.report_page.forgetting_section import forgetting_section
from apps.report_page.markup import (
  Markup,
  element,
  figure,
  joined,
  page,
  paragraph,
  section,
)
from apps.report_page.sections import Row

PAGE, NUMBERS = "index.html", "report.json"

MOST_CONFUSED = 24
"""Words up to which a table of confusions can be read."""


def paths(holder: Any) -> dict[str, str]:
  """The files of a flag's folder, for `files.require_outputs`."""
  return outputs.in_folder(holder, PAGE, NUMBERS)


def contents(
  folder: str | None, result: SpotterResult
) -> dict[str | None, bytes]:
  """The page, which needs no other file, and its numbers: path -> bytes.

  Args:
    folder: of both; None for none.
    result: what adapting gave.
  """
  if folder is None:
    return {}
  told = outputs.telling_of(result.report, result.spotter.model)
  result = dataclasses.replace(result, report=told)
  return {
    os.path.join(folder, PAGE): spotter_page(result).encode(
      errors="surrogateescape"
    ),
    os.path.join(folder, NUMBERS): cli.to_json(told),
  }


def print_path(folder: str | None) -> None:
  """Says where the page is."""
  if folder is not None:
    print(f"report: {os.path.join(folder, PAGE)}")


def spotter_page(
  result: SpotterResult, commands: Sequence[tuple[str, str]] = ()
) -> str:
  """One HTML page that needs no other file.

  Args:
    result: what adapting gave.
    commands: what repeats it: a sentence and a command each.
  """
  report = result.report
  part, (before, _) = next(iter(result.scores.items()))
  return page(
    _title(result),
    time.strftime("%Y-%m-%d %H:%M"),
    [
      *_lead(result),
      sections.notes_section(report),
      sections.class_section(
        "Word by word",
        word_rows(result),
        f"of {before.clips} clips ({TITLES[part]})",
        "clips",
      ),
      _confusions(result),
      _estimate(result),
      sections.tried_section(report),
      sections.curve_section(result.adapted.history, " (nats)"),
      sections.needs_section(report["needs"], report["engine_agreement"]),
      sections.cost_section(
        report,
        [
          ("clips", sum(report["clips"].values())),
          ("augmented copies", report["augmented_clips"]),
          ("old clips replayed", report["replay_clips"]),
          ("bytes of the replay set", f"{report['replay_bytes']:,}"),
          ("bytes of cached features", f"{report['feature_cache_bytes']:,}"),
        ],
      ),
      sections.again_section(
        report, commands or [("The command:", cli.command_line())]
      ),
    ],
  )


def _estimate(result: SpotterResult) -> Markup:
  """What is forgotten, where no clips of before were scored."""
  if result.scores.keys() & {"old", "replay"}:
    return Markup()
  return forgetting_section(result.report["forgetting"])


def _title(result: SpotterResult) -> str:
  """What was adapted to what."""
  counts = result.report["clips"]
  words = sum(1 for count in counts.values() if count)
  name = os.path.basename(result.report["model"])
  return f"{name}, adapted to {sum(counts.values())} clips of {words} words"


def _lead(result: SpotterResult) -> list[Markup]:
  """Accuracy on every part that was scored."""
  pieces = []
  if result.report["interrupted"]:
    told = "It was interrupted: this is what was best by then."
    pieces.append(paragraph(told, "note"))
  if change := sections.change_sentence(result.report):
    pieces.append(paragraph(change, "note"))
  shown = [
    sections.accuracy_card(
      f"{TITLES[name]} ({before.clips} clips)",
      before.accuracy,
      after.accuracy,
      before.clips,
    )
    for name, (before, after) in result.scores.items()
  ]
  before, after = next(iter(result.scores.values()))
  told = sections.overlap(before.accuracy, after.accuracy, before.clips)
  return [*pieces, sections.cards(shown), paragraph(told)]


def word_rows(result: SpotterResult) -> list[Row]:
  """A row a word that was learned or scored."""
  before, after = next(iter(result.scores.values()))
  classes = result.job.spotter.classes
  first, last = (
    {row["word"]: row for row in score.words(classes)}
    for score in (before, after)
  )
  counts = result.report["clips"]
  rows = []
  for name in classes:
    scored = name in last
    if not scored and not counts.get(name):
      continue
    rows.append(
      Row(
        name,
        counts.get(name, 0),
        last[name]["clips"] if scored else 0,
        first[name]["recall"] if scored else None,
        last[name]["recall"] if scored else None,
      )
    )
  return rows


def _confusions(result: SpotterResult) -> Markup:
  """What each word was heard as; nothing where no word was taken wrongly."""
  before, after = next(iter(result.scores.values()))
  used = _used(before, after)
  if not 1 < len(used) <= MOST_CONFUSED:
    return Markup()
  names = [result.job.spotter.classes[i] for i in used]
  drawn = []
  for score, title in ((before, "before"), (after, "after")):
    cells = score.confusion[np.ix_(used, used)].tolist()
    head = element("p", f"{title}: {100 * score.accuracy:.1f} %")
    drawn.append(element("div", joined([head, charts.confusion(cells, names)])))
  caption = (
    "What was said (rows) and what was heard (columns), in clips. Right "
    "answers have a frame; the darker, the larger the share of what was said."
  )
  pair = element("div", joined(drawn), "pair")
  return section("What was taken for what", [figure(pair, caption)])


def _used(*scores: WordScores) -> list[int]:
  total = sum(s.confusion for s in scores)
  return [i for i, row in enumerate(total) if row.sum() or total[:, i].sum()]
