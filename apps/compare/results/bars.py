"""Draw adaptations and timings, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from apps.compare.results.analysis_rows import (
  ADAPTATIONS,
  Adaptation,
  AnalysisRow,
  Timing,
)
from tflm_fg import plots


def draw(rows: Sequence[AnalysisRow]) -> bytes:
  """Accuracy bars, ratios of step to engine, and growth: what there is."""
  runs = [r for r in rows if isinstance(r, Adaptation)]
  timings = [r for r in rows if isinstance(r, Timing)]
  speed = [t for t in timings if t.what == "speed"]
  growth = [t for t in timings if t.what == "growth"]
  parts = [(_bars, runs), (_ratios, speed), (_growth, growth)]
  present = [(drawer, found) for drawer, found in parts if found]
  figure, axes = plots.new_figure(max(1, len(present)), width=8.0, height=5.0)
  for place, (drawer, found) in zip(axes, present):
    drawer(place, found)
  return plots.to_png(figure)


def _bars(axes: Any, runs: Sequence[Adaptation]) -> None:
  names = list(dict.fromkeys(run.data for run in runs))
  methods = [m for m in ADAPTATIONS if any(run.method == m for run in runs)]
  width = 0.85 / len(methods)
  for number, method in enumerate(methods):
    for place, name in enumerate(names):
      values = 100 * np.array(
        [r.accuracy for r in runs if (r.data, r.method) == (name, method)]
      )
      if not len(values):
        continue
      mean = values.mean()
      axes.bar(
        place + (number - (len(methods) - 1) / 2) * width,
        mean,
        width,
        yerr=[[mean - values.min()], [values.max() - mean]],
        color=f"C{number}",
        label=method if place == 0 else None,
      )
  axes.set_xticks(range(len(names)), names)
  axes.set(ylim=(0, 101), ylabel="test accuracy (%)", title="bars: all seeds")
  axes.legend(frameon=False, ncols=3, loc="lower center")


def _ratios(axes: Any, timings: Sequence[Timing]) -> None:
  names = [f"{t.case}, {t.batch} samples, m {t.directions}" for t in timings]
  axes.barh(names, [t.ratio for t in timings], color="C0")
  axes.axvline(1, color="0.5", linestyle=":")
  axes.invert_yaxis()
  axes.set(xlabel="seconds a step over seconds in the engine")


def _growth(axes: Any, timings: Sequence[Timing]) -> None:
  for case in dict.fromkeys(t.case for t in timings):
    own = [t for t in timings if t.case == case]
    counts = [{"samples": t.batch}.get(case, getattr(t, case, 0)) for t in own]
    axes.plot(counts, [t.step_us / 1e3 for t in own], "o-", label=case)
  axes.set(xscale="log", yscale="log", xlabel="count", ylabel="ms a step")
  axes.legend(frameon=False)
