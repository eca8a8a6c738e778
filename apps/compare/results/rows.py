"""Write rows of runs to a CSV and read them back: the CSV is all the state."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence

from apps.compare.cell_settings import settings_text
from apps.compare.grid import Cell
from tflm_fg import files
from tflm_fg.runtimes import versions
from tflm_fg.types import TflmFgError

Curve = tuple[tuple[int, float], ...]
"""Points of (forward passes, accuracy on the test samples)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
  """What a run gave.

  Attributes:
    accuracy_before: share of the test samples.
    accuracy_after: the same in the end.
    loss_before: cross-entropy of the test samples, nats.
    loss_after: the same in the end.
    forward_passes: that training took, without those that score the test
      samples; steps of backpropagation, without those that chose its rate.
    seconds: of training, without scoring.
    chosen: what was chosen on training samples.
    curve: accuracy over passes.
  """

  accuracy_before: float
  accuracy_after: float
  loss_before: float = math.nan
  loss_after: float = math.nan
  forward_passes: int = 0
  seconds: float = 0.0
  chosen: str = ""
  curve: Curve = ()


@dataclasses.dataclass(frozen=True)
class Row:
  """A cell with what it gave."""

  cell: Cell
  measured: Measured


_CELL = tuple(f.name for f in dataclasses.fields(Cell))
_MEASURED = tuple(f.name for f in dataclasses.fields(Measured))
COLUMNS = (*_CELL, "settings", "data", *_MEASURED, "versions")

Data = Callable[[str], str]
"""Domain -> what its samples and model are, "" where the name says it."""


def versions_text() -> str:
  """Versions of this project and the engines, in one line."""
  return "; ".join(f"{name} {number}" for name, number in versions().items())


def to_csv(
  rows: Mapping[Cell, Measured], cells: Sequence[Cell], data: Data
) -> bytes:
  """A row a finished cell, in the grid's order whichever finished first."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(COLUMNS)
  made_with = versions_text()
  for cell in cells:
    if cell in rows:
      own = [getattr(cell, name) for name in _CELL]
      found = [_text(getattr(rows[cell], name)) for name in _MEASURED]
      own += [settings_text(cell), data(cell.domain)]
      writer.writerow([*own, *found, made_with])
  return text.getvalue().encode()


def _text(value: object) -> object:
  if isinstance(value, tuple):
    return " ".join(f"{passes}:{accuracy!r}" for passes, accuracy in value)
  if isinstance(value, float):
    return "" if math.isnan(value) else f"{value!r}"
  return value


def read_csv(
  path: str, cells: Sequence[Cell], data: Data
) -> dict[Cell, Measured]:
  """Takes what an earlier run finished; nothing where there is no file.

  Raises:
    TflmFgError: in one line, if the file is not of this grid, data and version.
  """
  if not os.path.exists(path):
    return {}
  text = files.read_bytes(path, files.TEXT_TIMES).decode("utf-8", "replace")
  reader = csv.reader(io.StringIO(text))
  if tuple(next(reader, ())) != COLUMNS:
    raise TflmFgError(
      f"{path}: not a CSV of this tflm-fg-compare; choose another --out_dir"
    )
  wanted, found = set(cells), dict[Cell, Measured]()
  for number, values in enumerate(reader, 2):
    try:
      line = dict(zip(COLUMNS, values, strict=True))
      cell, measured = _cell(line), _measured(line)
    except (TypeError, ValueError):
      raise TflmFgError(
        f"{path}: line {number} is damaged; take it out, or choose another "
        "--out_dir"
      ) from None
    _require_same(path, number, line, cell, wanted, data)
    found[cell] = measured
  return found


def _require_same(
  path: str,
  number: int,
  line: dict[str, str],
  cell: Cell,
  wanted: set[Cell],
  data: Data,
) -> None:
  """Refuses a row that this command would not have made."""
  why = ""
  if line["versions"] != versions_text():
    why = f"was made with {line['versions']}, here is {versions_text()}"
  elif cell not in wanted:
    why = f"({cell.title}, {cell.passes} passes) is not in this grid"
  elif line["settings"] != settings_text(cell):
    why = f"({cell.title}) had other settings, {line['settings']}"
  elif line["data"] != data(cell.domain):
    why = (
      f"({cell.title}) was of other data, {line['data']}, here is "
      f"{data(cell.domain)}"
    )
  if why:
    raise TflmFgError(f"{path}: line {number} {why}; choose another --out_dir")


def _cell(line: dict[str, str]) -> Cell:
  fields = dataclasses.fields(Cell)
  return Cell(
    **{
      f.name: int(line[f.name]) if f.type == "int" else line[f.name]
      for f in fields
    }
  )


def _measured(line: dict[str, str]) -> Measured:
  found: dict[str, object] = {}
  for field in dataclasses.fields(Measured):
    text = line[field.name]
    if field.type == "Curve":
      points = (point.split(":") for point in text.split())
      found[field.name] = tuple((int(n), float(a)) for n, a in points)
    elif field.type == "int":
      found[field.name] = int(text)
    elif field.type == "float":
      found[field.name] = float(text or "nan")
    else:
      found[field.name] = text
  measured = Measured(**found)  # type: ignore[arg-type]
  _require_sense(measured)
  return measured


def _require_sense(measured: Measured) -> None:
  """Refuses numbers that no run can give."""
  ends = (measured.accuracy_before, measured.accuracy_after)
  shares = [*ends, *(accuracy for _, accuracy in measured.curve)]
  passes = [0, *(number for number, _ in measured.curve)]
  sound = (
    all(0 <= share <= 1 for share in shares)
    and passes == sorted(passes)
    and measured.forward_passes >= 0
    and 0 <= measured.seconds < math.inf
    and not math.isinf(measured.loss_before)
    and not math.isinf(measured.loss_after)
  )
  if not sound:
    raise ValueError
