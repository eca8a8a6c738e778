"""The measuring tool parts classes cleanly, goes on, and names what misses."""

from __future__ import annotations

import numpy as np
import pytest

from tools import coverage_cells, measure_coverage
from tools.coverage_cells import Ended
from tools.measure_coverage import Cell


@pytest.fixture
def folder(tmp_path):
  """Samples of which each pixel tells the sample's number."""
  y = np.arange(600) % 12
  numbers = np.arange(600)
  x = np.zeros((600, 49, 10, 1), np.int8)
  x[:, 0, 0, 0], x[:, 0, 1, 0] = numbers % 100, numbers // 100
  for end in ("", "_offset_A"):
    np.savez(tmp_path / f"clips{end}.npz", x=x, y=y)
  (tmp_path / "kws_ref_model.tflite").write_bytes(b"model")
  return tmp_path


def _numbers(part):
  return {int(x[0, 0, 0]) + 100 * int(x[0, 1, 0]) for x in part[0]}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_sample_is_scored_that_was_learned_from_or_given_as_old(
  folder, seed
):
  setting = coverage_cells.setting_of("tiny-A", seed, folder, folder)
  parts = coverage_cells.shown_of(setting, 4, 30, seed)
  scored = [parts.shown, parts.others, setting.old_test]
  for taken in (parts.train, setting.old):
    assert all(_numbers(taken).isdisjoint(_numbers(part)) for part in scored)
  shown = set(parts.train[1])
  assert len(shown) == 4 and set(parts.shown[1]) == shown
  assert set(parts.others[1]) == set(range(12)) - shown
  assert len(parts.train[1]) == 120 and len(setting.old[1]) == 60


def test_fewer_samples_and_classes_are_the_beginning_of_more(folder):
  setting = coverage_cells.setting_of("tiny", 0, folder, folder)
  few = coverage_cells.shown_of(setting, 2, 3, 0)
  many = coverage_cells.shown_of(setting, 8, 10, 0)
  assert _numbers(few.train) < _numbers(many.train)
  assert len(few.train[1]) == 6


def _ended(change, *estimated):
  return Ended(0.5, 0.9, 0.8, 0.8 + change, 0.9, 0.9, 10, 1.0, *estimated)


def test_a_row_that_loses_too_much_is_named_first():
  results = {
    Cell("tiny-A", "default", 2, 3, seed): _ended(change)
    for seed, change in enumerate((-0.05, 0.0))
  } | {Cell("tiny", "default", 2, 3, 0): _ended(-0.01)}
  first, *_ = text = measure_coverage.markdown(results).splitlines()
  assert first.startswith("- default: 1 of 2 rows lose more than 2 points")
  assert "1 of 3 runs; the worst run -5.0" in first
  assert "tiny-A, 2 classes, 3 samples: -2.5" in first
  assert text[-1].endswith("| 50.0 % | +40.0 ± 0.0 | 80.0 % | -2.5 ± 2.5 |")


def test_methods_that_ran_with_fewer_seeds_than_others_are_told():
  cells = [("default", 0), ("keras", 0), ("keras", 1)]
  results = {Cell("tiny", m, 2, 3, seed): _ended(0.0) for m, seed in cells}
  *_, row = measure_coverage.markdown(results).splitlines()
  assert row.startswith("| tiny | 2 | 3 | 1, 2 | 50.0 %")
  del results[Cell("tiny", "keras", 2, 3, 1)]
  *_, row = measure_coverage.markdown(results).splitlines()
  assert row.startswith("| tiny | 2 | 3 | 1 | 50.0 %")


def test_an_estimate_is_held_against_what_was_measured():
  results = {
    Cell("tiny", "default", 2, 3, 0): _ended(-0.05, -0.01),
    Cell("tiny", "default", 2, 3, 1): _ended(0.0, -0.02),
    Cell("tiny", "default", 2, 3, 2): _ended(0.0),
  }
  (line,) = measure_coverage.estimates(results)
  assert "+1.0 points" in line and "of 2 runs, -2.0 to +4.0" in line


def test_a_file_from_before_there_were_estimates_is_read(tmp_path):
  names = ",".join(Cell._fields + Ended._fields[:-1])
  row = "tiny,keras,1,3,0,1,1,.9,.3,.9,.3,0,1.5"
  (tmp_path / "cells.csv").write_text(f"{names}\n{row}\n")
  held = measure_coverage.read(tmp_path / "cells.csv")
  ended = held[Cell("tiny", "keras", 1, 3, 0)]
  assert ended.others_after == 0.3 and np.isnan(ended.estimated)


def test_cells_that_have_run_are_not_run_again(folder, monkeypatch, capsys):
  ran = []

  def method(setting, parts, seed):
    ran.append(seed)
    return _ended(0.0)

  monkeypatch.setattr(coverage_cells, "_one_thread", lambda: None)
  monkeypatch.setattr(measure_coverage, "METHODS", {"default": method})
  flags = ["measure_coverage", f"--out={folder / 'out'}", f"--data={folder}"]
  flags += ["--settings=tiny", "--classes=2,4", "--samples=3", "--seeds=2"]
  monkeypatch.setattr("sys.argv", flags)
  measure_coverage.main()
  cells = folder / "out" / "cells.csv"
  assert ran == [0, 0, 1, 1]
  # The last line is cut off in its middle, as by a power cut.
  cells.write_bytes(cells.read_bytes()[:-30])
  measure_coverage.main()
  assert ran == [0, 0, 1, 1, 1]
  measure_coverage.main()
  assert ran == [0, 0, 1, 1, 1]
  assert "| tiny | 4 | 3 | 2 |" in (folder / "out" / "table.md").read_text()


def test_an_unknown_name_is_refused_by_the_flag(monkeypatch, capsys):
  monkeypatch.setattr("sys.argv", ["m", "--out=o", "--settings=large"])
  with pytest.raises(SystemExit):
    measure_coverage.main()
  assert "'large' is unknown; choose of tiny" in capsys.readouterr().err
