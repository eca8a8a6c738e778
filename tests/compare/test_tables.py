"""The numbers in tables are those that a hand calculates."""

import math

import numpy as np
import pytest

from apps.compare import curves, tables
from apps.compare.grid import Cell
from apps.compare.intervals import interval, percent, t_975, verdict
from apps.compare.results import Measured, Row


def row(after, method="sign-m-spsa", seed=0, **fields):
  cell = Cell(
    **{
      "domain": "d",
      "seed": seed,
      "trainable": "head",
      "method": method,
      "passes": 10,
      "batch": 8,
      **fields,
    }
  )
  return Row(
    cell,
    Measured(
      accuracy_before=0.5,
      accuracy_after=after,
      forward_passes=10,
      curve=((0, 0.5), (10, after)),
    ),
  )


def test_an_interval_is_students():
  found = interval([1.0, 2.0, 3.0])  # s = 1, t(2) = 4.303
  assert found.mean == 2.0 and found.n == 3
  assert found.half == pytest.approx(4.303 / math.sqrt(3))


def test_one_number_has_no_interval_and_none_no_mean():
  assert math.isnan(interval([1.0]).half)
  assert percent(interval([0.5])) == "50.0" and percent(interval([])) == "-"


def test_students_t_is_scipys():
  stats = pytest.importorskip("scipy.stats")
  for freedom in (*range(1, 35), 50, 100, 1000):
    assert t_975(freedom) == pytest.approx(
      stats.t.ppf(0.975, freedom), abs=1e-3
    )


@pytest.mark.parametrize(
  ("values", "said"),
  [
    ([0.1, 0.11, 0.12], "helps"),
    ([-0.1, -0.11, -0.12], "harms"),
    ([0.1, -0.1, 0.0], "not shown"),
    ([0.1], "not shown"),  # one pair shows nothing
  ],
)
def test_a_verdict_needs_an_interval_without_zero(values, said):
  assert verdict(interval(values)) == said


def test_variants_are_paired_with_the_plain_run_of_the_same_seed():
  rows = [row(0.5, seed=0), row(0.7, seed=1), row(0.9, seed=2)]
  rows += [row(0.6, seed=0, variant="m=3"), row(0.82, seed=1, variant="m=3")]
  # differences 0.10 and 0.12: mean 0.11, s = 0.01414, t(1) = 12.706
  text = tables.against(rows)
  half = 12.706 * 1.41421356 / math.sqrt(2)
  assert f"| 2 | 60.0 ± 127.1 | 71.0 ± 139.8 | +11.0 ± {half:.1f} |" in text
  assert "not shown" in text


def test_precisions_are_paired_and_the_grids_mean_is_judged():
  rows = [row(0.80, seed=s) for s in (0, 1)]
  rows += [row(0.81, seed=s, precision="fp32") for s in (0, 1)]
  rows += [row(0.60, seed=s, precision="8w8a") for s in (0, 1)]
  text = tables.precision(rows)
  assert "| +1.0 ± 0.0 | -20.0 ± 0.0 | - |" in text
  assert "within 1.5 points" in text and "mean of 2 pairs" in text
  worse = [row(0.78, seed=0), row(0.81, seed=0, precision="fp32")]
  assert "not within 1.5 points" in tables.precision(worse)


def test_settings_within_two_points_of_backpropagation_are_counted():
  rows = [row(0.5, "zero-shot", trainable="nothing", passes=0)]
  for trainable, rival, own in (
    ("head", 0.90, 0.89),  # near enough
    ("all", 0.95, 0.90),  # not
    ("bias", 0.80, 0.90),  # beyond
  ):
    rows += [row(rival, "backprop", trainable=trainable, precision="fp32")]
    rows += [row(own, trainable=trainable)]
  rows += [row(0.94, "auto", trainable="auto", passes=99)]
  text = tables.backprop(rows)
  near = "within 2 points of backpropagation, or above it, in"
  assert f"sign-m-spsa: {near} 2 of 3 settings" in text
  assert f"auto: {near} 3 of 3 settings" in text
  assert "| d | all | 50.0 | 95.0 | -5.0 | -1.0 |" in text


def test_means_are_over_seeds_alone():
  text = tables.means([row(0.4, seed=0), row(0.6, seed=1), row(0.9, passes=20)])
  assert "| 2 | 50.0 ± 0.0 | 50.0 ± 127.1 |" in text
  assert "| 1 | 50.0 | 90.0 |" in text


def test_nothing_gives_no_tables():
  assert tables.markdown([]) == ""


def test_curves_of_different_looks_are_averaged_where_all_have_been():
  passes, values = curves.mean_curve(
    [((0, 0.0), (10, 1.0)), ((0, 0.0), (20, 1.0))]
  )
  assert passes[-1] == 10
  assert values[-1] == pytest.approx(0.75)
  assert np.all(np.diff(values) > 0)


def test_what_was_not_run_is_not_drawn():
  rows = [row(0.8), row(0.9, precision="fp32"), row(0.7, variant="m=3")]
  for draw in (curves.by_method, curves.by_precision, curves.by_variant):
    assert draw(rows).startswith(b"\x89PNG")
  assert curves.by_precision(rows[:1]) is None
  assert curves.by_variant(rows[:1]) is None
  assert curves.by_method([]) is None
