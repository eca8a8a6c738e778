"""Adapt to samples of some classes only, and see what the others lose.

  python tools/measure_coverage.py --out=FOLDER [--data=FOLDER] \
    [--settings=tiny,tiny-A,whisper] [--methods=default,replay,keras] \
    [--classes=1,2,4,8] [--samples=3,10,30] [--seeds=3]

Settings are `whisper`, the keyword spotter of this repository and a voice that
is new to it, and with --data `tiny`, `tiny-A`, `tiny-B` and `tiny-C`: MLPerf
Tiny's spotter as its samples are, and under three offsets. The folder is that
of tools/measure_shifts.py.

A cell is a setting, a method, a count of classes and of samples a class, and a
seed, which says which classes and which samples. FOLDER/cells.csv gets a line a
cell as soon as it has run; cells that it has are not run again. FOLDER/table.md
is made of it anew at the end, or with --only_table at once.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import os
import pathlib
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

# Before NumPy is loaded: one run takes one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tools import coverage_cells
from tools.coverage_cells import METHODS, SETTINGS, Ended

ALLOWED = 0.02
"""What the accuracy of classes without samples may lose."""


class Cell(NamedTuple):
  """What is run.

  Attributes:
    setting: one of `coverage_cells.SETTINGS`.
    method: a key of `coverage_cells.METHODS`.
    classes: how many are shown.
    samples: of each of them.
    seed: which classes, and which samples.
  """

  setting: str
  method: str
  classes: int
  samples: int
  seed: int


Results = dict[Cell, Ended]


def main() -> None:
  """Runs what is missing, and writes the table."""
  given = _flags()
  given.out.mkdir(parents=True, exist_ok=True)
  path = given.out / "cells.csv"
  results = read(path)
  for cell in [] if given.only_table else cells(given):
    if cell not in results:
      results[cell] = _run(cell, given)
      _add(path, cell, results[cell])
      print(_line(cell, results[cell]), flush=True)
  (given.out / "table.md").write_text(markdown(results))


def cells(given: argparse.Namespace) -> Iterable[Cell]:
  """All that is asked for; one seed as a whole comes before the next."""
  for seed, setting, classes, samples, method in itertools.product(
    range(given.seeds),
    given.settings,
    given.classes,
    given.samples,
    given.methods,
  ):
    yield Cell(setting, method, classes, samples, seed)


def read(path: pathlib.Path) -> Results:
  """The cells of a file; a line that was cut off is run again."""
  if not path.exists():
    return {}
  results = {}
  with path.open(newline="") as file:
    for row in csv.DictReader(file):
      # The estimate is the last, and older files have none.
      if any(row[n] in (None, "") for n in Cell._fields + Ended._fields[:-1]):
        continue
      own = (row[name] for name in ("classes", "samples", "seed"))
      cell = Cell(row["setting"], row["method"], *map(int, own))
      numbers = (float(row.get(name) or "nan") for name in Ended._fields)
      results[cell] = Ended(*numbers)
  return results


def markdown(results: Results) -> str:
  """What misses first, then a table of all settings.

  Changes are in points of accuracy: the mean over seeds and their standard
  deviation. Where the methods have run with unlike many seeds, a row says the
  count of each, in the order of the columns.
  """
  methods = sorted({cell.method for cell in results}, key=list(METHODS).index)
  columns = ["model and shift", "classes", "samples a class", "seeds"]
  for part in ("shown", "others"):
    columns.append(f"{part}, before")
    columns += [f"{part}, {method}" for method in methods]
  lines = [*misses(results), *estimates(results), "", _joined(columns)]
  lines.append("|" + "---|" * len(columns))
  for place in sorted({_place(cell) for cell in results}, key=_order):
    here = {cell: r for cell, r in results.items() if _place(cell) == place}
    own = {
      method: [r for cell, r in here.items() if cell.method == method]
      for method in methods
    }
    counts = [len(runs) for runs in own.values()]
    told = counts if len({*counts}) > 1 else counts[:1]
    row = [*map(str, place), ", ".join(map(str, told))]
    for part in ("shown", "others"):
      firsts = next(runs for runs in own.values() if runs)
      before = statistics.mean(getattr(r, f"{part}_before") for r in firsts)
      row.append(f"{100 * before:.1f} %")
      row += [_change(runs, part) for runs in own.values()]
    lines.append(_joined(row))
  return "\n".join(lines) + "\n"


def misses(results: Results) -> list[str]:
  """For each method how many cells lose more than ALLOWED, and which most."""
  lines = []
  for method in METHODS:
    places: dict[tuple[str, int, int], list[float]] = {}
    for cell, r in results.items():
      if cell.method == method:
        change = r.others_after - r.others_before
        places.setdefault(_place(cell), []).append(change)
    if not places:
      continue
    means = {place: statistics.mean(own) for place, own in places.items()}
    runs = [change for own in places.values() for change in own]
    bad = sorted(
      (mean, place) for place, mean in means.items() if mean < -ALLOWED
    )
    worst = min(runs)
    lines.append(
      f"- {method}: {len(bad)} of {len(means)} rows lose more than "
      f"{100 * ALLOWED:g} points of the others, "
      f"{sum(change < -ALLOWED for change in runs)} of {len(runs)} runs; the "
      f"worst run {100 * worst:+.1f}, the mean {100 * _mean(runs):+.1f}"
      + "".join(
        f"; {setting}, {classes} classes, {samples} samples: {100 * mean:+.1f}"
        for mean, (setting, classes, samples) in bad[:12]
      )
    )
  return lines


def estimates(results: Results) -> list[str]:
  """For each method how far its reports' estimates are from what is measured.

  A positive difference is an estimate that is too good.
  """
  lines = []
  for method in METHODS:
    apart = [
      100 * (r.estimated - (r.others_after - r.others_before))
      for cell, r in results.items()
      if cell.method == method and not math.isnan(r.estimated)
    ]
    if apart:
      lines.append(
        f"- {method}: the estimate of the change is {_mean(apart):+.1f} points "
        f"from the measured one on the mean of {len(apart)} runs, "
        f"{min(apart):+.1f} to {max(apart):+.1f}"
      )
  return lines


def _mean(values: Sequence[float]) -> float:
  return statistics.mean(values) if values else 0.0


def _place(cell: Cell) -> tuple[str, int, int]:
  return cell.setting, cell.classes, cell.samples


def _order(place: tuple[str, int, int]) -> tuple[int, int, int]:
  return SETTINGS.index(place[0]), *place[1:]


def _change(runs: Sequence[Ended], part: str) -> str:
  """The mean change of some runs, in points, and its spread."""
  if not runs:
    return ""
  changes = [
    100 * (getattr(r, f"{part}_after") - getattr(r, f"{part}_before"))
    for r in runs
  ]
  return f"{_mean(changes):+.1f} ± {statistics.pstdev(changes):.1f}"


def _joined(words: Iterable[str]) -> str:
  return "| " + " | ".join(words) + " |"


def _run(cell: Cell, given: argparse.Namespace) -> Ended:
  setting = coverage_cells.setting_of(
    cell.setting, cell.seed, given.data, given.out / "samples"
  )
  parts = coverage_cells.shown_of(
    setting, cell.classes, cell.samples, cell.seed
  )
  return METHODS[cell.method](setting, parts, cell.seed)


def _add(path: pathlib.Path, cell: Cell, ended: Ended) -> None:
  """Adds a line; the file's first says what the columns are."""
  held = path.read_bytes() if path.exists() else b""
  with path.open("a", newline="") as file:
    if held and not held.endswith(b"\n"):  # a line that was cut off
      file.write("\n")
    writer = csv.writer(file)
    if not held:
      writer.writerow(Cell._fields + Ended._fields)
    writer.writerow([*cell, *(f"{number:.5g}" for number in ended)])


def _line(cell: Cell, r: Ended) -> str:
  return (
    f"{' '.join(map(str, cell))}: shown {r.shown_before:.3f} -> "
    f"{r.shown_after:.3f}, others {r.others_before:.3f} -> "
    f"{r.others_after:.3f}, before {r.old_before:.3f} -> {r.old_after:.3f}, "
    f"{r.seconds:.1f} s"
  )


def _flags() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--settings", type=_among(SETTINGS), default=["whisper"])
  parser.add_argument("--methods", type=_among(METHODS), default=["default"])
  parser.add_argument("--classes", type=_numbers, default=[1, 2, 4, 8])
  parser.add_argument("--samples", type=_numbers, default=[3, 10, 30])
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--only_table", action="store_true")
  return parser.parse_args()


def _numbers(text: str) -> list[int]:
  return [int(word) for word in text.split(",")]


def _among(known: Iterable[str] | Mapping[str, object]):
  """Reads names with commas between them, each of which must be known."""

  def names(text: str) -> list[str]:
    for name in text.split(","):
      if name not in known:
        raise argparse.ArgumentTypeError(
          f"{name!r} is unknown; choose of {', '.join(known)}"
        )
    return text.split(",")

  return names


if __name__ == "__main__":
  main()
