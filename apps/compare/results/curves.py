"""Draw accuracy over forward passes, as PNGs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.compare.grid import TRAINABLE, Cell
from apps.compare.results.pairing import grouped, name_of, place, shared
from apps.compare.results.rows import Curve, Row
from tflm_fg import plots

POINTS = 50
"""Passes at which curves of several seeds are averaged."""


def mean_curve(
  curves: Sequence[Curve],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
  """Passes, and the mean accuracy there, of runs of one length.

  Runs of their own lengths have no mean curve, but one of their ends: a point.
  """
  ends = [curve[-1] for curve in curves]
  if len({passes for passes, _ in ends}) > 1:
    passes, accuracy = np.mean(ends, axis=0)
    return np.array([passes]), np.array([accuracy])
  passes = np.linspace(0, ends[0][0], POINTS)
  values = [np.interp(passes, *np.array(c, float).T) for c in curves]
  return passes, np.mean(values, axis=0)


def by_method(rows: Sequence[Row]) -> bytes | None:
  """A panel for what trains, a line for each method at its own precision."""
  shown = [
    r
    for r in rows
    if r.cell.variant == "plain" and r.cell.precision == _own(r.cell)
  ]
  return _draw(shown, name_of)


def by_precision(rows: Sequence[Row]) -> bytes | None:
  """A line for each precision, of what was run at more than one."""
  plain = [
    r
    for r in rows
    if r.cell.variant == "plain"
    and r.cell.method not in ("backprop", "zero-shot")
  ]
  kinds = grouped(plain, _without_precision)
  several = [
    r
    for group in kinds.values()
    if len({r.cell.precision for r in group}) > 1
    for r in group
  ]
  return _draw(several, lambda c: f"{name_of(c)}, {c.precision}")


def by_variant(rows: Sequence[Row]) -> bytes | None:
  """A line for each enhancement, where there is any."""
  kinds = {
    (r.cell.method, r.cell.trainable) for r in rows if r.cell.variant != "plain"
  }
  shown = [
    r
    for r in rows
    if (r.cell.method, r.cell.trainable) in kinds
    and r.cell.precision == "16w8a"
  ]
  return _draw(shown, name_of)


def _own(cell: Cell) -> str:
  return "fp32" if cell.method == "backprop" else "16w8a"


def _without_precision(cell: Cell) -> object:
  return (cell.domain, cell.seed, cell.trainable, cell.method, cell.passes)


def _draw(rows: Sequence[Row], label: Callable[[Cell], str]) -> bytes | None:
  """A panel for each of what trains and how long; None where there is none."""
  panels = panels_of(rows, label)
  if not panels:
    return None
  names = list(
    dict.fromkeys(name for lines in panels.values() for name in lines)
  )
  styles = {name: _style(number) for number, name in enumerate(names)}
  figure, axes = plots.new_figure(len(panels))
  zero = [r for r in rows if r.cell.method == "zero-shot"]
  for (title, lines), ax in zip(panels.items(), axes):
    _panel(ax, title, lines, zero, styles)
  axes[0].set_ylabel("accuracy (%), mean over domains and seeds")
  shown = {line.get_label(): line for ax in axes for line in ax.get_lines()}
  figure.legend(
    shown.values(), shown, loc="outside right center", frameon=False, fontsize=8
  )
  return plots.to_png(figure)


def panels_of(
  rows: Sequence[Row], label: Callable[[Cell], str]
) -> dict[str, dict[object, list[Row]]]:
  """Title -> line -> its rows, of the places that all its lines share."""
  panels = {}
  for name in TRAINABLE:
    own = [r for r in rows if r.cell.trainable == name]
    for passes, part in grouped(own, lambda c: c.passes).items():
      by = grouped(part, label)
      lines = dict(zip(by, shared(by.values(), place)))
      if any(lines.values()):
        panels[f"{name}, {passes} passes"] = lines
  return panels


def _style(number: int) -> dict[str, str]:
  """Ten colours, then the same dashed."""
  return {
    "color": f"C{number % 10}",
    "linestyle": ("-", "--", "-.")[number // 10 % 3],
  }


def _panel(
  ax: Any,
  name: str,
  lines: dict[object, list[Row]],
  zero: Sequence[Row],
  styles: dict[object, dict[str, str]],
) -> None:
  """What trains the same way: a line a method, over the same runs."""
  there = {
    (r.cell.domain, r.cell.seed) for group in lines.values() for r in group
  }
  zero = [r for r in zero if (r.cell.domain, r.cell.seed) in there]
  if zero:
    level = np.mean([r.measured.accuracy_after for r in zero])
    ax.axhline(100 * level, color="0.6", linestyle=":", label="zero-shot")
  for line, group in lines.items():
    passes, accuracy = mean_curve([r.measured.curve for r in group])
    marker = "o" if len(passes) == 1 else None
    ax.plot(
      passes,
      100 * accuracy,
      label=line,
      linewidth=1.2,
      marker=marker,
      **styles[line],
    )
  ax.set_title(name)
  ax.set_xlabel("forward passes, or steps")
