"""Rows with their curves go in; accuracy over forward passes as PNGs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.compare.grid import Cell
from apps.compare.results import Curve, Row
from apps.compare.tables import grouped, name_of
from tflm_fg import plots

POINTS = 50
"""Passes at which curves of several seeds are averaged."""

PANELS = ("head", "wide-head", "prompt", "first-bias", "bias", "all")


def mean_curve(
  curves: Sequence[Curve],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
  """Passes, and the mean accuracy there, as far as the shortest goes."""
  passes = np.linspace(0, min(c[-1][0] for c in curves), POINTS)
  values = [np.interp(passes, *np.array(c, float).T) for c in curves]
  return passes, np.mean(values, axis=0)


def by_method(rows: Sequence[Row]) -> bytes | None:
  """A panel for what trains, a line for each method at its own precision."""
  shown = [
    r
    for r in rows
    if r.cell.variant == "plain" and r.cell.precision == _own(r.cell)
  ]
  return _drawn(shown, name_of)


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
  return _drawn(several, lambda c: f"{name_of(c)}, {c.precision}")


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
  return _drawn(shown, name_of)


def _own(cell: Cell) -> str:
  return "fp32" if cell.method == "backprop" else "16w8a"


def _without_precision(cell: Cell) -> object:
  return (cell.domain, cell.seed, cell.trainable, cell.method, cell.passes)


def _drawn(rows: Sequence[Row], label: Callable[[Cell], str]) -> bytes | None:
  """A panel for each of what trains; None where there is none."""
  there = {row.cell.trainable for row in rows}
  panels = [name for name in PANELS if name in there]
  if not panels:
    return None
  names = list(grouped(rows, label))
  looks = {name: _look(number) for number, name in enumerate(names)}
  figure, axes = plots.new_figure(len(panels))
  zero = [r for r in rows if r.cell.method == "zero-shot"]
  for name, ax in zip(panels, axes):
    own = [r for r in rows if r.cell.trainable == name]
    _panel(ax, name, grouped(own, label), zero, looks)
  axes[0].set_ylabel("accuracy (%), mean over domains and seeds")
  shown = {line.get_label(): line for ax in axes for line in ax.get_lines()}
  figure.legend(
    shown.values(), shown, loc="outside right center", frameon=False, fontsize=8
  )
  return plots.to_png(figure)


def _look(number: int) -> dict[str, str]:
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
  looks: dict[object, dict[str, str]],
) -> None:
  """What trains the same way: a line a method."""
  if zero:
    level = np.mean([r.measured.accuracy_after for r in zero])
    ax.axhline(100 * level, color="0.6", linestyle=":", label="zero-shot")
  for line, group in lines.items():
    passes, accuracy = mean_curve([r.measured.curve for r in group])
    ax.plot(passes, 100 * accuracy, label=line, linewidth=1.2, **looks[line])
  ax.set_title(name)
  ax.set_xlabel("forward passes, or steps")
