"""Make Markdown tables of timed steps."""

from __future__ import annotations

from collections.abc import Sequence

from apps.compare.results.analysis_rows import Timing
from apps.compare.results.markdown import table


def markdown(rows: Sequence[Timing]) -> str:
  """A table of each kind of timing, and the ratios of those of speed."""
  parts = []
  for what in ("speed", "growth"):
    if chosen := [t for t in rows if t.what == what]:
      parts.append(timings(chosen))
  parts.append(ratios([t for t in rows if t.what == "speed"]))
  return "\n\n".join(part for part in parts if part)


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
      "samples",
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
    others = {
      "in place over rebuilt": ("rebuild", workers, directions),
      f"one worker over two, {strategy}": (strategy, 2, directions),
    }
    for name, key in others.items():
      first = "in-place" if "place over" in name else strategy
      if key not in found or strategy != first or workers == 2:
        continue
      ratio = timing.step_us / found[key].step_us
      body.append([name, str(directions), f"{ratio:.2f}"])
  return table(["of the whole model", "directions", "ratio"], body)
