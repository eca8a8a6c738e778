"""Find the rows of a grid that can be compared with each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from apps.compare.grid import Cell
from apps.compare.results.intervals import Interval, interval
from apps.compare.results.rows import Row

T = TypeVar("T")


def grouped(
  rows: Iterable[Row], key: Callable[[Cell], object]
) -> dict[object, list[Row]]:
  """Rows with the same key together, in the order they first come."""
  found: dict[object, list[Row]] = {}
  for row in rows:
    found.setdefault(key(row.cell), []).append(row)
  return found


def after(rows: Iterable[Row]) -> Interval:
  """Accuracy in the end."""
  return interval(row.measured.accuracy_after for row in rows)


def name_of(cell: Cell) -> str:
  """Method and variant, for people."""
  return cell.method + f", {cell.variant}" * (cell.variant != "plain")


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

NONE = interval(())
"""What was not run."""


def gain(found: Iterable[tuple[Row, Row]]) -> Interval:
  """Accuracy of the first over the second of each pair."""
  return interval(map(difference, found))


def difference(pair: tuple[Row, Row]) -> float:
  """Accuracy of the first over the second."""
  own, other = (row.measured.accuracy_after for row in pair)
  return own - other


def over_domains(
  found: Iterable[T], domain: Callable[[T], str], value: Callable[[T], float]
) -> Interval:
  """The interval over the domains' means.

  Runs of one domain share its samples, whatever trains and whatever the seed,
  so that together they count as one.
  """
  by: dict[str, list[float]] = {}
  for one in found:
    by.setdefault(domain(one), []).append(value(one))
  return interval(sum(own) / len(own) for own in by.values())


def gain_over_domains(found: Iterable[tuple[Row, Row]]) -> Interval:
  """Accuracy of the first over the second of each pair, over domains."""
  return over_domains(found, lambda pair: pair[0].cell.domain, difference)


def after_over_domains(rows: Iterable[Row]) -> Interval:
  """Accuracy in the end, over domains."""
  return over_domains(
    rows, lambda r: r.cell.domain, lambda r: r.measured.accuracy_after
  )


def shared(
  lines: Iterable[Sequence[Row]], key: Callable[[Cell], object]
) -> list[list[Row]]:
  """Each line's rows whose key every line has: means are over one set."""
  given = [list(line) for line in lines]
  if not given:
    return []
  keys = [{key(row.cell) for row in line} for line in given]
  common = set.intersection(*keys)
  return [[r for r in line if key(r.cell) in common] for line in given]


def place(cell: Cell) -> object:
  """What runs must share to be compared: samples, and how long."""
  return cell.domain, cell.seed, cell.passes, cell.batch
