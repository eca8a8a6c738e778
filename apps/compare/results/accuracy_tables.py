"""Make Markdown tables of what adapting gave, what it cost, and of TFLM."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from apps.compare.results.analysis_rows import ADAPTATIONS, Adaptation
from apps.compare.results.markdown import table


def markdown(runs: Sequence[Adaptation]) -> str:
  """All tables that the runs have something for."""
  parts = [accuracies(runs), costs(runs), reaching(runs), engines(runs)]
  return "\n\n".join(part for part in parts if part)


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


def _grouped(
  runs: Sequence[Adaptation],
) -> Iterable[tuple[str, list[Adaptation]]]:
  names = list(dict.fromkeys(run.data for run in runs))
  for name in names:
    yield name, [run for run in runs if run.data == name]
  if len(names) > 1:
    yield "mean", list(runs)


def _methods(runs: Sequence[Adaptation]) -> list[str]:
  return [m for m in ADAPTATIONS if any(run.method == m for run in runs)]


def accuracies(runs: Sequence[Adaptation]) -> str:
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


def costs(runs: Sequence[Adaptation]) -> str:
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


def reaching(runs: Sequence[Adaptation]) -> str:
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


def engines(runs: Sequence[Adaptation]) -> str:
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
