"""Rows of a grid go in; Markdown tables of means and intervals come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from apps.benchmark_tables import table
from apps.compare import domains
from apps.compare.grid import PLAIN, PRECISIONS, Cell
from apps.compare.intervals import Interval, interval, percent, verdict
from apps.compare.results import Row

PRECISION_POINTS, BACKPROP_POINTS = 1.5, 2.0
"""How near 16w8a shall come to fp32, and forward gradients to backprop."""


def markdown(rows: Sequence[Row]) -> str:
  """All tables that the rows have something for, the findings first."""
  parts = [
    _titled("Against backpropagation", backprop(rows)),
    _titled("Precision", precision(rows)),
    _titled("Each enhancement alone against the plain method", against(rows)),
    _titled("All runs, means over seeds", means(rows)),
  ]
  return "\n\n".join(part for part in parts if part)


def _titled(title: str, text: str) -> str:
  return f"## {title}\n\n{text}" if text else ""


def grouped(
  rows: Iterable[Row], key: Callable[[Cell], object]
) -> dict[object, list[Row]]:
  """Rows with the same key together, in the order they first come."""
  found: dict[object, list[Row]] = {}
  for row in rows:
    found.setdefault(key(row.cell), []).append(row)
  return found


def _after(rows: Iterable[Row]) -> Interval:
  return interval(row.measured.accuracy_after for row in rows)


def name_of(cell: Cell) -> str:
  """Method and variant, for people."""
  return cell.method + f", {cell.variant}" * (cell.variant != "plain")


def means(rows: Sequence[Row]) -> str:
  """A row a cell without its seed."""
  body = []
  groups = grouped(rows, lambda c: dataclasses.replace(c, seed=0))
  for group in groups.values():
    cell, found = group[0].cell, [row.measured for row in group]
    body.append(
      [
        domains.title(cell.domain),
        cell.trainable,
        name_of(cell),
        cell.precision,
        str(len(group)),
        percent(interval(m.accuracy_before for m in found)),
        percent(_after(group)),
        f"{interval(m.loss_after for m in found).mean:.3f}",
        f"{interval(m.forward_passes for m in found).mean:.0f}",
        f"{interval(m.seconds for m in found).mean:.1f}",
      ]
    )
  header = "domain,trains,method,precision,seeds,before %,after %,loss,passes"
  return table([*header.split(","), "seconds"], body)


def pairs(
  rows: Iterable[Row], others: Iterable[Row], *free: str
) -> list[tuple[Row, Row]]:
  """Rows with their partners, whose cells differ in the free fields alone."""
  none = {name: getattr(_NOWHERE, name) for name in free}
  known = {dataclasses.replace(r.cell, **none): r for r in others}
  keys = ((dataclasses.replace(r.cell, **none), r) for r in rows)
  return [(row, known[key]) for key, row in keys if key in known]


_NOWHERE = Cell(
  domain="", seed=0, trainable="", method="", variant="", precision="",
  passes=0, batch=0,
)  # fmt: skip


def gain(found: Iterable[tuple[Row, Row]]) -> Interval:
  """Accuracy of the first over the second of each pair."""
  return interval(
    a.measured.accuracy_after - b.measured.accuracy_after for a, b in found
  )


def against(rows: Sequence[Row]) -> str:
  """Every variant and other method against the plain one, paired."""
  plain = [
    r for r in rows if r.cell.method == PLAIN and r.cell.variant == "plain"
  ]
  body = []
  for name, group in grouped(rows, name_of).items():
    found = pairs(group, plain, "method", "variant")
    found = [pair for pair in found if pair[0].cell != pair[1].cell]
    if not found or group[0].cell.method == "backprop":
      continue
    difference = gain(found)
    body.append(
      [
        str(name),
        str(difference.n),
        percent(_after(b for _, b in found)),
        percent(_after(a for a, _ in found)),
        percent(difference, "+"),
        verdict(difference),
      ]
    )
  text = table(
    ["method", "pairs", "plain %", "its own %", "difference", "verdict"], body
  )
  note = (
    "Paired over domain, seed, precision and what trains; a verdict is given "
    "where the 95 % interval of the difference leaves out zero."
  )
  return f"{text}\n\n{note}" if text else ""


def precision(rows: Sequence[Row]) -> str:
  """Precisions side by side, with paired differences."""
  forward = [
    r for r in rows if r.cell.variant == "plain" and r.cell.method != "backprop"
  ]
  by = {p: [r for r in forward if r.cell.precision == p] for p in PRECISIONS}
  body, reference = [], by["16w8a"]
  others = [p for p in PRECISIONS if p != "16w8a"]
  groups = grouped(
    [r for p in others for r in by[p]], lambda c: (c.trainable, c.method)
  )
  for trainable, method in groups:  # type: ignore[misc]
    own = {
      p: [
        r
        for r in by[p]
        if (r.cell.trainable, r.cell.method) == (trainable, method)
      ]
      for p in PRECISIONS
    }
    gaps = (gain(pairs(own[p], reference, "precision")) for p in others)
    body.append(
      [
        str(trainable),
        str(method),
        *(percent(_after(own[p])) for p in PRECISIONS),
        *(percent(gap, "+") for gap in gaps),
      ]
    )
  header = ["trains", "method", *(f"{p} %" for p in PRECISIONS)]
  text = table([*header, *(f"{p} over 16w8a" for p in others)], body)
  overall = gain(pairs(reference, by["fp32"], "precision"))
  if not text or not overall.n:
    return text
  near = abs(100 * overall.mean) <= PRECISION_POINTS
  return (
    f"{text}\n\n16w8a is {percent(overall, '+')} points from fp32 at equal "
    f"passes, mean of {overall.n} pairs over the grid: "
    f"{'within' if near else 'not within'} {PRECISION_POINTS} points."
  )


def backprop(rows: Sequence[Row]) -> str:
  """Each setting with backpropagation's accuracy and each method's gap."""
  rivals = [r for r in rows if r.cell.method == "backprop"]
  plain = [
    r
    for r in rows
    if r.cell.variant == "plain"
    and r.cell.precision == "16w8a"
    and r.cell.method != "zero-shot"
  ]
  names = list(grouped(plain, name_of)) if rivals else []
  start = grouped(
    [r for r in rows if r.cell.method == "zero-shot"], lambda c: c.domain
  )
  gaps: dict[object, list[float]] = {name: [] for name in names}
  body = []
  settings = grouped(rivals, lambda c: (c.domain, c.trainable))
  for (domain, trainable), own in settings.items():  # type: ignore[misc]
    cells = []
    for name in names:
      here = [
        r
        for r in plain
        if name_of(r.cell) == name
        and r.cell.domain == domain
        and r.cell.trainable in (trainable, "auto")
      ]
      found = pairs(here, own, "method", "precision", "trainable", "passes")
      gap = gain(found)
      gaps[name] += [gap.mean] * (gap.n > 0)
      cells.append(f"{percent(gap, '+')}")
    body.append(
      [
        domains.title(domain),
        trainable,
        percent(_after(start.get(domain, []))),
        percent(_after(own)),
        *cells,
      ]
    )
  header = ["domain", "trains", "zero-shot %", "backprop %"]
  text = table([*header, *(f"{name}, points" for name in names)], body)
  return "\n\n".join([text, _counts(gaps)]) if text else ""


def _counts(gaps: dict[object, list[float]]) -> str:
  """In how many settings each method comes near enough, or beyond."""
  lines = [
    f"- {name}: within {BACKPROP_POINTS:g} points of backpropagation, or above "
    f"it, in {sum(100 * g >= -BACKPROP_POINTS for g in found)} of {len(found)} "
    "settings"
    for name, found in gaps.items()
    if found
  ]
  return "\n".join(lines)
