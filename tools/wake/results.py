"""Results of runs: a line of JSON each, and tables of all."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

Result = dict[str, Any]
"""What `runs.measured` gives."""

RECALLS = ("own", "siblings", "originals")
FALSE = ("negatives", "noise", "ordinary", "own_negatives")


def read(path: pathlib.Path) -> dict[str, Result]:
  """Results by their jobs' names; none where there is no file."""
  if not path.exists():
    return {}
  lines = map(json.loads, path.read_text().splitlines())
  return {result["job"]: result for result in lines}


def line(result: Result) -> str:
  """One run for a terminal."""
  shown = [
    f"{name} {result['before'][name]:.2f} to {result['after'][name]:.2f}"
    for name in RECALLS
  ]
  shown += [
    f"{name} {result['before'][name][0]} to {result['after'][name][0]} "
    f"in {result['after'][name][1]:.2f} h"
    for name in FALSE
  ]
  refused = f"; REFUSED: {result['refused']}" if result["refused"] else ""
  return (
    f"{result['job']}: {'; '.join(shown)}; cutoff {result['cutoff'][1]}; "
    f"{result['seconds']:.1f} s{refused}"
  )


def table(results: Sequence[Result]) -> str:
  """Tables in Markdown: by model, by kind of voice, by count of recordings."""
  parts = []
  for title, key in (
    ("model", lambda r: r["model"]),
    ("voice", lambda r: r["kind"]),
    ("recordings", lambda r: str(r["count"])),
    ("draw", lambda r: str(r["draw"])),
  ):
    chosen = [r for r in results if title == "recordings" or r["count"] == 10]
    parts.append(_grouped(title, key, chosen))
  parts.append(_settings([r for r in results if r["count"] == 10]))
  return "\n\n".join(part for part in parts if part)


def _grouped(
  title: str, key: Callable[[Result], str], results: Iterable[Result]
) -> str:
  groups: dict[str, list[Result]] = {}
  for result in results:
    groups.setdefault(key(result), []).append(result)
  if not groups:
    return ""
  if len(groups) > 1 and title != "recordings":
    groups["all"] = [r for group in groups.values() for r in group]
  rows = [
    f"| {title} | runs | own voice | siblings | original voices | false accepts"
    " an hour | ordinary speech | own voice says other things | refused |",
    "|---|---|---|---|---|---|---|---|---|",
  ]
  for name, group in groups.items():
    cells = [_change(group, _recall(part), "{:.2f}") for part in RECALLS]
    cells += [
      _change(group, _an_hour(*parts), "{:.1f}")
      for parts in (("negatives", "noise"), ("ordinary",), ("own_negatives",))
    ]
    refused = sum(bool(r["refused"]) for r in group)
    rows.append(f"| {name} | {len(group)} | {' | '.join(cells)} | {refused} |")
  return "\n".join(rows)


def _settings(results: Sequence[Result]) -> str:
  """A row a voice: means over its draws, with the range of its own recall."""
  groups: dict[str, list[Result]] = {}
  for result in results:
    groups.setdefault(result["job"].rsplit("/", 2)[0], []).append(result)
  rows = [
    "| voice | own voice | range | siblings | false accepts an hour | ordinary "
    "speech | bytes changed | cutoff |",
    "|---|---|---|---|---|---|---|---|",
  ]
  for name, group in groups.items():
    own = [r["after"]["own"] for r in group]
    sizes, cutoffs = (
      sorted({read(r) for r in group})
      for read in (lambda r: r["bytes"], lambda r: r["cutoff"][1])
    )
    rows.append(
      f"| {name} | {_change(group, _recall('own'), '{:.2f}')} | "
      f"{min(own):.2f} to {max(own):.2f} | "
      f"{_change(group, _recall('siblings'), '{:.2f}')} | "
      f"{_change(group, _an_hour('negatives', 'noise'), '{:.1f}')} | "
      f"{_change(group, _an_hour('ordinary'), '{:.1f}')} | "
      f"{', '.join(map(str, sizes))} | {', '.join(map(str, cutoffs))} |"
    )
  return "\n".join(rows) if groups else ""


def _recall(part: str) -> Callable[[Result], float]:
  return lambda scores: float(scores[part])


def _an_hour(*parts: str) -> Callable[[Result], float]:
  def read(scores: Result) -> float:
    events, hours = np.sum([scores[part] for part in parts], 0)
    return float(events / hours)

  return read


def _change(
  group: Sequence[Result], read_: Callable[[Result], float], form: str
) -> str:
  """The mean before and after."""
  before, after = (
    form.format(float(np.mean([read_(r[when]) for r in group])))
    for when in ("before", "after")
  )
  return f"{before} to {after}"
