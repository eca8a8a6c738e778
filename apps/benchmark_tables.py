"""Rows of runs go in; a CSV and Markdown tables come out."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import sys
from collections.abc import Iterable, Sequence

import numpy as np

from apps.benchmark_accuracy import METHODS, Run
from apps.benchmark_timing import Timing
from tflm_fg import files
from tflm_fg.types import TflmFgError


def title(name: str) -> str:
  """A data set's name in tables: of a file, without folder and ending."""
  return os.path.splitext(os.path.basename(name))[0]


class Rows:
  """Rows so far, in a CSV from the first one on.

  Attributes:
    runs: of the section "accuracy".
    timings: of "speed" and "growth".
  """

  def __init__(self, path: str | None) -> None:
    self._path = path
    self.runs: list[Run] = []
    self.timings: list[Timing] = []

  def add(self, row: Run | Timing) -> None:
    """Takes a row, writes the CSV, and tells the user."""
    self._take(row)
    if self._path:
      files.write_atomically(self._path, self.to_csv())
    print(_progress(row), file=sys.stderr)

  def _take(self, row: Run | Timing) -> None:
    if isinstance(row, Run):
      self.runs.append(row)
    else:
      self.timings.append(row)

  def to_csv(self) -> bytes:
    """A row a run, empty where a number means nothing."""
    names = ["what"]
    for kind in (Run, Timing):
      names += [f.name for f in dataclasses.fields(kind) if f.name not in names]
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for row in [*self.runs, *self.timings]:
      known = {k: v for k, v in dataclasses.asdict(row).items() if v == v}
      writer.writerow({"what": "accuracy", **known})
    return text.getvalue().encode()

  def read(self, path: str) -> None:
    """Takes the rows of a CSV.

    Raises:
      TflmFgError: if this program did not write it.
    """
    text = files.read_bytes(path).decode("utf-8", "replace")
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
      kind = Run if row.get("what") == "accuracy" else Timing
      try:
        values = {f.name: _value(f, row) for f in dataclasses.fields(kind)}
      except (KeyError, TypeError, ValueError):
        raise TflmFgError(
          f"{path}: line {number} is no row of this benchmark"
        ) from None
      self._take(kind(**values))


def _value(field: dataclasses.Field, row: dict[str, str]) -> object:
  text = row[field.name]
  if field.type == "str":
    return text
  return int(text) if field.type == "int" else float(text or "nan")


def _progress(row: Run | Timing) -> str:
  if isinstance(row, Run):
    return f"{row.data} {row.seed} {row.method}: {100 * row.accuracy:.1f} %"
  return f"{row.what} {row.case}: {row.step_us:.0f} us"


def markdown(rows: Rows) -> str:
  """All tables."""
  parts = []
  if rows.runs:
    parts += [accuracies(rows.runs), costs(rows.runs), reaching(rows.runs)]
    parts += [engines(rows.runs)]
  for what in ("speed", "growth"):
    chosen = [t for t in rows.timings if t.what == what]
    if chosen:
      parts.append(timings(chosen))
  if speedups := [t for t in rows.timings if t.what == "speed"]:
    parts.append(ratios(speedups))
  return "\n\n".join(part for part in parts if part)


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
  """A Markdown table; empty where it has no rows."""
  lines = [_line(row) for row in body]
  return "\n".join([_line(header), "|---" * len(header) + "|", *lines]) * bool(
    lines
  )


def _line(cells: Sequence[str]) -> str:
  return f"| {' | '.join(cells)} |"


def _known(values: Iterable[float]) -> np.ndarray:
  return np.array([v for v in values if not math.isnan(v)])


def _percent(values: Iterable[float]) -> str:
  """Mean, with lowest and highest in brackets."""
  v = 100 * _known(values)
  if not len(v):
    return "-"
  if v.min() == v.max():
    return f"{v.mean():.1f}"
  return f"{v.mean():.1f} ({v.min():.1f} to {v.max():.1f})"


def _span(values: Iterable[float], form: str = ".0f") -> str:
  """Mean, and the largest where they differ."""
  v = _known(values)
  if not len(v):
    return "-"
  mean, most = format(v.mean(), form), format(v.max(), form)
  return mean if mean == most else f"{mean} (to {most})"


def _grouped(runs: Sequence[Run]) -> Iterable[tuple[str, list[Run]]]:
  names = list(dict.fromkeys(run.data for run in runs))
  for name in names:
    yield name, [run for run in runs if run.data == name]
  if len(names) > 1:
    yield "mean", list(runs)


def _methods(runs: Sequence[Run]) -> list[str]:
  return [m for m in METHODS if any(run.method == m for run in runs)]


def accuracies(runs: Sequence[Run]) -> str:
  """Test accuracy in percent: a row a data set, a column a method."""
  methods = _methods(runs)
  body = []
  for name, part in _grouped(runs):
    found = [[r.accuracy for r in part if r.method == m] for m in methods]
    most = max(map(len, found))
    body.append([name, *(_counted(values, most) for values in found)])
  return table(["data", *methods], body)


def _counted(values: Sequence[float], most: int) -> str:
  """Of fewer runs than others have, their number too: not to be compared."""
  few = f" [{len(values)} of {most}]" if 0 < len(values) < most else ""
  return _percent(values) + few


def costs(runs: Sequence[Run]) -> str:
  """Passes, seconds and accuracy on the source, where there are any."""
  body = []
  for name, part in _grouped(runs):
    for method in _methods(part):
      own = [r for r in part if r.method == method]
      cells = [
        _span(r.passes for r in own),
        _span((r.seconds for r in own), ".2f"),
        _span((r.cpu_seconds for r in own), ".2f"),
        _percent(r.source for r in own),
      ]
      if cells != ["-"] * 4:
        body.append([name, method, *cells])
  return table(
    ["data", "method", "passes", "seconds", "CPU seconds", "source, %"], body
  )


def reaching(runs: Sequence[Run]) -> str:
  """Passes and seconds to converged backpropagation minus a point."""
  body = []
  for name, part in _grouped(runs):
    for method in _methods(part):
      own = [r for r in part if r.method == method]
      own = [r for r in own if not math.isnan(r.seconds)]
      if not own:
        continue
      reached = [r for r in own if not math.isnan(r.reach_seconds)]
      body.append(
        [
          name,
          method,
          f"{len(reached)} of {len(own)}",
          _span(r.reach_passes for r in reached),
          _span((r.reach_seconds for r in reached), ".2f"),
        ]
      )
  return table(["data", "method", "reached", "passes", "seconds"], body)


def engines(runs: Sequence[Run]) -> str:
  """What adapting adds to the file, and how TFLM runs it."""
  body = []
  for name, part in _grouped(runs):
    for method in _methods(part):
      own = [r for r in part if r.method == method]
      if not len(_known(r.added_bytes for r in own)):
        continue
      equal = _known(r.tflm_equal for r in own)
      body.append(
        [
          name,
          method,
          ", ".join(sorted({r.chosen.replace(", ", " + ") for r in own})),
          _span(r.added_bytes for r in own),
          _span(r.trainer_bytes for r in own),
          _span(r.arena_before for r in own),
          _span(r.arena_after for r in own),
          f"{100 * equal.min():.1f}" if len(equal) else "-",
          f"{max(_known(r.tflm_lsb for r in own), default=math.nan):.0f}",
        ]
      )
  return table(
    [
      "data",
      "method",
      "trained",
      "added bytes",
      "trainer bytes",
      "arena before",
      "arena after",
      "TFLM equal, %",
      "LSB",
    ],
    body,
  )


def timings(rows: Sequence[Timing]) -> str:
  """A row a case."""
  body = [
    [
      t.case,
      str(t.weights),
      str(t.layers),
      str(t.batch),
      str(t.directions),
      f"{t.step_us:.0f}",
      f"{t.invoke_us:.0f}",
      # Side by side, their seconds in the engine overlap.
      f"{t.ratio:.2f} ({t.ratio_median:.2f})" if t.workers == 1 else "-",
    ]
    for t in rows
  ]
  return table(
    [
      "case",
      "weights",
      "layers",
      "clips",
      "directions",
      "step, us",
      "invoke, us",
      "step over invoke (median)",
    ],
    body,
  )


def ratios(rows: Sequence[Timing]) -> str:
  """In place over rebuilt, and one worker over two, of the shortest steps."""
  found = {(t.strategy, t.workers, t.directions): t for t in rows if t.pair}
  body = []
  for (strategy, workers, directions), timing in found.items():
    rivals = {
      "in place over rebuilt": ("rebuild", workers, directions),
      f"one worker over two, {strategy}": (strategy, 2, directions),
    }
    for name, key in rivals.items():
      first = "in-place" if "place over" in name else strategy
      if key not in found or strategy != first or workers == 2:
        continue
      ratio = timing.step_us / found[key].step_us
      body.append([name, str(directions), f"{ratio:.2f}"])
  return table(["of the whole model", "directions", "ratio"], body)
