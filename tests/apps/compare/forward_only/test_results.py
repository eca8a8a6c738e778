"""Rows are read as they were written, and become one table."""

import dataclasses
import math

import pytest

from apps.compare.forward_only import Result, markdown, read_csv, to_csv
from tflm_fg.types import TflmFgError

ROWS = [
  row
  for seed in (0, 1)
  for row in (
    Result(
      data="mnist",
      seed=seed,
      method="pepita",
      error=0.07 + 0.01 * seed,
      error_int8=0.08,
      passes=100,
      seconds=2.5,
      forward_bytes=1_079_000,
      gradient_bytes=1_080_000,
      update_bytes=1_075_000,
    ),
    Result(
      data="mnist",
      seed=seed,
      method="pepita",
      shift="noise:3",
      error=0.2,
      error_own=0.15,
      error_int8=0.21,
      error_ours=0.1,
      passes=400,
      seconds=3.0,
      trainer_bytes=7000.0 + seed,
      added_bytes=0.0,
      chosen="rate 0.1",
    ),
  )
]


def test_rows_are_read_as_they_were_written(tmp_path):
  path = tmp_path / "rows.csv"
  path.write_bytes(to_csv(ROWS, "this"))
  read = read_csv(str(path))
  for one, two in zip(read, ROWS, strict=True):
    for key, value in dataclasses.asdict(two).items():
      found = getattr(one, key)
      assert found == value or (math.isnan(found) and math.isnan(value))


def test_a_damaged_row_is_refused_by_its_line(tmp_path):
  path = tmp_path / "rows.csv"
  text = to_csv(ROWS).decode().splitlines()
  text[2] = text[2].replace("0.15", "half")
  path.write_text("\n".join(text))
  with pytest.raises(TflmFgError, match="line 3 is no row of training"):
    read_csv(str(path))


def test_the_table_has_a_row_a_method_with_every_shift():
  text = markdown(ROWS)
  row = next(line for line in text.splitlines() if "pepita" in line)
  cells = [cell.strip() for cell in row.strip("|").split("|")]
  assert cells[:2] == ["pepita", "2"]
  assert cells[2].startswith("7.5 ± ")
  assert cells[3] == "8.0 ± 0.0"
  assert cells[4] == "1,079 / 1,080 / 1,075"
  assert cells[6] == "21.0 ± 0.0 → 10.0 ± 0.0 (15.0 ± 0.0)"
  assert cells[7:] == ["7.0", "400"]
  assert "0.50 / 4.01 / 8.00 MB" in text


def test_no_rows_are_no_table():
  assert markdown([]) == ""
