"""Write results of training from scratch to a CSV, and read them back."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable

from apps.compare.results.analysis_rows import MADE_WITH
from tflm_fg import files
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
  """One training from scratch, or one shift behind it; nan for no number.

  Attributes:
    data: the data's name.
    seed: of samples and training.
    method: a name in the registry.
    shift: "" for training from scratch.
    error: share of test samples that the network misses in floats, before it
      is adapted to a shift.
    error_own: the same after the method itself went on, in floats.
    error_int8: the same of the quantized file, before it is adapted.
    error_ours: the same after `tflm_fg.adapt`.
    passes: forward passes of a batch, of training or of adapting by us.
    seconds: of them.
    forward_bytes: of training, as `memory` counts them.
    gradient_bytes: likewise.
    update_bytes: likewise.
    trainer_bytes: beyond inference, of adapting by us.
    added_bytes: by which the file grew.
    chosen: how the method itself went on.
  """

  data: str
  seed: int
  method: str
  shift: str = ""
  error: float = math.nan
  error_own: float = math.nan
  error_int8: float = math.nan
  error_ours: float = math.nan
  passes: float = math.nan
  seconds: float = math.nan
  forward_bytes: float = math.nan
  gradient_bytes: float = math.nan
  update_bytes: float = math.nan
  trainer_bytes: float = math.nan
  added_bytes: float = math.nan
  chosen: str = ""


def to_csv(rows: Iterable[Result], made_with: str = "") -> bytes:
  """A row each, empty where a number means nothing."""
  names = [field.name for field in dataclasses.fields(Result)]
  text = io.StringIO()
  writer = csv.DictWriter(text, [*names, MADE_WITH], lineterminator="\n")
  writer.writeheader()
  for row in rows:
    known = {k: v for k, v in dataclasses.asdict(row).items() if v == v}
    writer.writerow({**known, MADE_WITH: made_with})
  return text.getvalue().encode()


def read_csv(path: str) -> list[Result]:
  """Takes the rows of a CSV.

  Raises:
    TflmFgError: if this program did not write it.
  """
  text = files.read_bytes(path, files.TEXT_TIMES).decode("utf-8", "replace")
  rows = []
  for number, line in enumerate(csv.DictReader(io.StringIO(text)), 2):
    try:
      rows.append(Result(**{f.name: _value(f, line) for f in _FIELDS}))
    except (KeyError, TypeError, ValueError):
      raise TflmFgError(
        f"{path}: line {number} is no row of training from scratch; choose "
        "another --out_dir"
      ) from None
  return rows


_FIELDS = dataclasses.fields(Result)


def _value(field: dataclasses.Field[object], line: dict[str, str]) -> object:
  text = line[field.name]
  if field.type == "str":
    return text
  return int(text) if field.type == "int" else float(text or "nan")
