"""The numbers in tables are those that a hand calculates."""

import math

import numpy as np
import pytest

from apps.compare.grid import Cell
from apps.compare.results import backprop_tables, curves, pairing, tables
from apps.compare.results.intervals import interval, percent, verdict
from apps.compare.results.rows import Measured, Row


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
  found = interval([1.0, 2.0, 3.0])  # s = 1, t(2) = 4.302653
  assert found.mean == 2.0 and found.n == 3
  assert found.half == pytest.approx(4.302653 / math.sqrt(3))


def test_one_number_has_no_interval_and_none_no_mean():
  assert math.isnan(interval([1.0]).half)
  assert percent(interval([0.5])) == "50.0" and percent(interval([])) == "-"


@pytest.mark.parametrize(
  ("count", "t"), [(2, 12.706), (5, 2.776), (31, 2.042), (101, 1.984)]
)
def test_intervals_are_of_students_t_as_in_printed_tables(count, t):
  values = [1.0, -1.0] * (count // 2) + [0.0] * (count % 2)
  found = interval(values)
  spread = np.std(values, ddof=1) / math.sqrt(count)
  assert found.half == pytest.approx(t * spread, rel=1e-3)


@pytest.mark.parametrize(
  ("values", "said"),
  [
    ([0.1, 0.11, 0.12], "helps"),
    ([-0.1, -0.11, -0.12], "harms"),
    ([0.1, -0.1, 0.0], "not shown"),
    ([0.1, 0.1], "too few domains"),  # whatever their interval
    ([0.1], "too few domains"),
  ],
)
def test_a_verdict_needs_an_interval_without_zero(values, said):
  assert verdict(interval(values)) == said


def test_variants_are_paired_with_the_plain_run_of_the_same_seed():
  rows = [row(0.5, seed=0), row(0.7, seed=1), row(0.9, seed=2)]
  rows += [row(0.6, seed=0, variant="m=3"), row(0.82, seed=1, variant="m=3")]
  # differences 0.10 and 0.12, of one domain
  text = tables.against(rows)
  assert "| 2 | 1 | 60.0 | 71.0 | +11.0 | too few domains |" in text


def in_domains(after, **fields):
  """Rows of two seeds in each of three domains, so much apart."""
  return [
    row(value + 0.01 * seed, domain=domain, seed=seed, **fields)
    for domain, value in zip("abc", after)
    for seed in (0, 1)
  ]


def test_the_runs_of_a_domain_count_as_one():
  """Six pairs would give a verdict where three domains show nothing."""
  rows = in_domains((0.5, 0.5, 0.5))
  rows += in_domains((0.51, 0.52, 0.55), variant="m=3")
  # domains' means 0.01, 0.02, 0.05: s = 0.02082, t(2) = 4.302653
  pairs = pairing.pairs(rows[6:], rows[:6], "variant")
  assert verdict(pairing.gain(pairs)) == "helps"
  half = 4.303 * 2.08167 / math.sqrt(3)
  text = tables.against(rows)
  assert f"| 6 | 3 | 50.5 ± 0.0 | 53.2 ± 5.2 | +2.7 ± {half:.1f} |" in text
  assert "| not shown |" in text and "helps" not in text


def test_a_true_zero_is_called_one_time_in_twenty():
  """However many seeds and places each domain's own luck is copied to."""
  random = np.random.default_rng(0)
  called = 0
  for _ in range(400):
    luck = dict(zip("abc", random.normal(0, 0.02, 3)))
    rows = [
      row(0.5 + shift + random.normal(0, 0.002), domain=d, seed=s, variant=v)
      for d in luck
      for s in range(3)
      for v, shift in (("plain", 0.0), ("m=3", luck[d]))
    ]
    called += "too few" not in (text := tables.against(rows)) and (
      "| helps |" in text or "| harms |" in text
    )
  assert called < 0.08 * 400


def test_precisions_are_paired_and_the_grids_mean_is_judged():
  rows = in_domains((0.80, 0.80, 0.80))
  rows += in_domains((0.81, 0.81, 0.81), precision="fp32")
  rows += in_domains((0.60, 0.60, 0.60), precision="8w8a")
  text = tables.precision(rows)
  assert "| +1.0 ± 0.0 | -20.0 ± 0.0 | - |" in text
  assert "within 1.5 points" in text and "over 3 domains" in text
  worse = in_domains((0.78, 0.78, 0.78))
  worse += in_domains((0.81, 0.81, 0.81), precision="fp32")
  assert "not within 1.5 points" in tables.precision(worse)


def test_kernels_of_16_bits_have_a_table_that_takes_no_row_from_another():
  rows = in_domains((0.80, 0.80, 0.80))
  rows += in_domains((0.81, 0.81, 0.81), precision="fp32")
  known = tables.precision(rows)
  rows += in_domains((0.9, 0.9, 0.9), precision="weights-int8x2", passes=99)
  rows += in_domains((0.8, 0.8, 0.8), passes=99)
  assert tables.precision(rows) == known
  text = tables.precision(rows, tables.KERNELS)
  assert "| 3 | 80.5 ± 0.0 | - | 90.5 ± 0.0 | - | +10.0 ± 0.0 |" in text


def test_statistic_matching_is_paired_with_the_file_as_it_is():
  rows = in_domains((0.5, 0.5, 0.5), method="zero-shot", trainable="nothing")
  rows += in_domains(
    (0.6, 0.6, 0.6), method="statistics", trainable="inner-bias"
  )
  text = tables.unlabelled(rows)
  assert "| a | inner-bias | 2 | 10 | 50.5 ± 6.4 | 60.5 ± 6.4 | +10.0" in text
  assert "- inner-bias: +10.0 ± 0.0 points over 3 domains: helps" in text


def test_few_domains_give_no_verdict_on_precision():
  rows = [row(0.80), row(0.81, precision="fp32")]
  text = tables.precision(rows)
  assert "over 1 domain: no verdict" in text and "within" not in text


def test_a_rows_columns_are_over_the_runs_that_all_of_them_share():
  """An easy domain of 16w8a alone would lift its mean, and no other's."""
  rows = in_domains((0.6, 0.6, 0.6))
  rows += in_domains((0.6, 0.6, 0.6), precision="fp32")
  known = tables.precision(rows)
  rows += [row(0.99, domain="easy"), row(0.99, domain="a", passes=99)]
  assert tables.precision(rows) == known
  assert "| 3 | 60.5 ± 0.0 | 60.5 ± 0.0 |" in known


def test_a_row_against_backpropagation_is_over_the_seeds_that_all_share():
  rows = [row(0.9, "backprop", precision="fp32", seed=s) for s in (0, 1)]
  rows += [row(0.8, seed=0), row(0.7, "spsa", seed=0), row(0.1, seed=1)]
  text = backprop_tables.backprop(rows)
  assert "| d | head | 10 | 1 | - | 90.0 | -10.0 | -20.0 |" in text


def test_settings_within_two_points_of_backpropagation_are_counted():
  rows = [row(0.5, "zero-shot", trainable="nothing", passes=0)]
  for trainable, other, own in (
    ("head", 0.90, 0.89),  # near enough
    ("all", 0.95, 0.90),  # not
    ("bias", 0.80, 0.90),  # beyond
  ):
    rows += [row(other, "backprop", trainable=trainable, precision="fp32")]
    rows += [row(own, trainable=trainable)]
  text = backprop_tables.backprop(rows)
  near = "within 2 points of backpropagation, or above it, in"
  assert f"sign-m-spsa: {near} 2 of 3 settings" in text
  assert "| d | all | 10 | 1 | 50.0 | 95.0 | -5.0 |" in text


def test_auto_counts_once_a_domain_against_the_best_backpropagation():
  rows = [
    row(after, "backprop", trainable=trainable, precision="fp32")
    for trainable, after in (("head", 0.90), ("all", 0.95), ("bias", 0.80))
  ]
  rows += [row(0.92, "auto", trainable="auto", passes=99)]
  rows += [row(0.89, "closed-form", trainable="head")]
  text = backprop_tables.backprop(rows)
  near = "within 2 points of backpropagation, or above it, in"
  assert f"auto: {near} 0 of 1 rows" in text
  assert f"closed-form: {near} 1 of 1 rows" in text
  assert "| d | auto | 92.0 | 10 | all | 95.0 | 10 | -3.0 |" in text
  assert "| d | closed-form, head | 89.0 | 10 | head | 90.0 | 10 |" in text
  assert "auto, points" not in text


def test_means_are_over_seeds_alone():
  text = tables.means([row(0.4, seed=0), row(0.6, seed=1), row(0.9, passes=20)])
  assert "| 2 | 50.0 ± 0.0 | 50.0 ± 127.1 |" in text
  assert "| 1 | 50.0 | 90.0 |" in text


def test_no_rows_give_no_tables():
  assert tables.markdown([]) == ""


def test_curves_scored_at_different_passes_are_averaged_between_them():
  passes, values = curves.mean_curve(
    [((0, 0.0), (20, 1.0)), ((0, 0.0), (10, 1.0), (20, 1.0))]
  )
  assert passes[-1] == 20
  assert values[-1] == pytest.approx(1.0)
  assert np.interp(10, passes, values) == pytest.approx(0.75, abs=0.01)


def test_curves_of_different_lengths_are_not_joined():
  """Cut to the shortest they would end where none of them did."""
  passes, values = curves.mean_curve(
    [((0, 0.0), (10, 0.6)), ((0, 0.0), (30, 1.0))]
  )
  assert passes.tolist() == [20] and values == pytest.approx([0.8])


def test_a_panels_lines_are_over_the_same_runs():
  rows = [row(0.8, domain=d) for d in "ab"] + [row(0.7, "spsa", domain="a")]
  rows += [row(0.9, passes=99)]
  panels = curves.panels_of(rows, pairing.name_of)
  shown = {
    title: {name: [r.cell.domain for r in own] for name, own in lines.items()}
    for title, lines in panels.items()
  }
  assert shown == {
    "head, 10 passes": {"sign-m-spsa": ["a"], "spsa": ["a"]},
    "head, 99 passes": {"sign-m-spsa": ["d"]},
  }


def test_what_was_not_run_is_not_drawn():
  rows = [row(0.8), row(0.9, precision="fp32"), row(0.7, variant="m=3")]
  for draw in (curves.by_method, curves.by_precision, curves.by_variant):
    assert draw(rows).startswith(b"\x89PNG")
  assert curves.by_precision(rows[:1]) is None
  assert curves.by_variant(rows[:1]) is None
  assert curves.by_method([]) is None
