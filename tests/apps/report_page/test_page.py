"""The page says what was adapted to what, and shows only what says something.

What a browser makes of it is looked at once, in one start of the browser.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import re

import numpy as np
import pytest

import tflm_fg
from apps.report_page import charts, sections
from apps.report_page.adaptation_page import adaptation_page, title_of
from apps.report_page.forgetting_section import forgetting_section
from apps.report_page.intervals import wilson
from apps.report_page.markup import element, table
from apps.report_page.sections import Row
from tests import browser, models


@functools.cache
def adapted(kind: str = "classes") -> tflm_fg.AdaptResult:
  """A short run; of some classes alone, without labels, or of the head."""
  x, y = models.separable(samples=64)
  method = tflm_fg.methods.SignSPSA(
    steps=20, validate_every=4, learning_rate_lsb=1.0
  )
  if kind == "some":
    kept = y < 2
    return tflm_fg.adapt(
      models.dense_model(), x[kept], y[kept], method=method, test=(x, y),
      old_data=(x, y),
    )  # fmt: skip
  y = None if kind == "no labels" else y
  return tflm_fg.adapt(models.dense_model(), x, y, method=method)


def page_of(result, **given):
  given = {"model": "m.tflite", "samples": "mine.npz", "when": "now", **given}
  return adaptation_page(result, **given)


def test_it_needs_no_other_file_and_no_script():
  page = page_of(adapted())
  assert not re.search(r"(src|href)\s*=", page)
  assert not re.search(r"https?://|url\(|@import|<script", page)


def test_texts_of_users_are_written_as_they_are():
  result = adapted()
  odd = "<script>alert(1)</script> & more"
  report = dataclasses.replace(result.report, notes=[odd])
  page = page_of(dataclasses.replace(result, report=report), samples=odd)
  assert "<script>" not in page
  assert html.escape(odd) in page


def test_the_title_says_what_was_adapted_to_what():
  assert title_of(adapted().report, "a/m.tflite", "b/mine.npz") == (
    "m.tflite, adapted to 64 samples of 4 classes (mine.npz)"
  )
  some = adapted("some")
  count = some.report.train_samples + some.report.validation_samples
  assert title_of(some.report, "m.tflite", "photos/") == (
    f"m.tflite, adapted to {count} samples of 2 of 4 classes (photos)"
  )
  bare = title_of(adapted("no labels").report, "m.tflite", "x.npy")
  assert bare == "m.tflite, adapted to 64 samples without labels (x.npy)"


def test_classes_without_samples_are_marked():
  page = page_of(adapted("some"))
  assert page.count(sections.ABSENT) == 4  # of test, and of old samples
  assert "2 of 4 classes had no samples to learn from: 2, 3." in page
  assert sections.ABSENT not in page_of(adapted())


def test_what_it_could_do_before_is_shown_or_said_to_be_unmeasured():
  page = page_of(adapted("some"))
  assert "measured on samples of before that were not trained on" in page
  assert "Not measured: no samples of before" in page_of(adapted())


def test_of_samples_of_before_only_classes_that_they_hold_are_shown():
  row = {"train_samples": 0, "accuracy_before": 0.9, "accuracy_after": 0.8}
  held = [
    row | {"class": n, "name": f"word{n}", "scored_samples": count}
    for n, count in enumerate((30, 10, 0))
  ]
  told = {
    "measured_on": "old_data", "scored_samples": 40, "classes": held,
    "accuracy_before": 0.9, "accuracy_after": 0.8,
  }  # fmt: skip
  drawn = forgetting_section(told)
  assert "word0" in drawn and "word1" in drawn and "word2" not in drawn


def test_an_estimate_is_called_that_and_has_no_interval():
  told = {
    "measured_on": "estimate", "how": "imagined inputs", "scored_samples": 70,
    "accuracy_before": 1.0, "accuracy_after": 0.9,
  }  # fmt: skip
  drawn = forgetting_section(told)
  assert "ESTIMATE" in drawn
  assert "100.0 % → 90.0 %" in drawn
  assert "70 imagined inputs" in drawn
  assert "track" not in drawn


def test_every_number_of_the_report_is_there():
  report = adapted().report
  page = page_of(adapted(), commands=[("Again:", "tflm-fg-adapt --x=1")])
  for share in (report.accuracy_before, report.accuracy_after):
    assert sections.with_interval(share, report.scored_samples) in page
  assert f"{report.forward_passes:,} with all tries" in page
  assert f"{report.needs['arena_bytes']:,}" in page
  assert "tflm-fg-adapt --x=1" in page
  for package, version in report.versions.items():
    assert f"{package} {version}" in page


def test_what_was_interrupted_or_left_alone_is_said_first():
  result = adapted()
  report = dataclasses.replace(result.report, interrupted=True, kept_step=0)
  page = page_of(dataclasses.replace(result, report=report))
  assert "It was interrupted" in page
  assert "the weights are as they came" in page


def test_without_classes_there_is_no_accuracy_and_no_table_of_classes():
  page = page_of(adapted("no labels"))
  assert "<b>" in page
  assert "Class by class" not in page
  assert "accuracy</span>" not in page


@pytest.mark.parametrize(
  ("right", "samples", "low", "high"),
  # Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
  [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)],
)
def test_intervals_are_those_of_the_literature(right, samples, low, high):
  assert wilson(right / samples, samples) == pytest.approx(
    (low, high), abs=1e-4
  )


def test_intervals_stay_between_none_and_all():
  for share in (0.0, 0.5, 1.0):
    low, high = wilson(share, 1)
    assert 0 <= low <= share <= high <= 1


def test_overlapping_intervals_are_called_that():
  assert "too few" in sections.overlap(0.5, 0.6, 10)
  assert "more than chance" in sections.overlap(0.5, 0.6, 10_000)


def test_a_curve_of_two_points_is_not_drawn():
  assert not charts.curves([("a", [0, 1], [1.0, 0.5])], "x", "y")
  assert charts.curves([("a", [0, 1, 2], [1.0, 0.5, 0.4])], "x", "y")
  assert not charts.curves([("a", [0, 1, 2], [np.nan] * 3)], "x", "y")


def test_a_rise_and_a_fall_have_marks_of_their_own():
  marks = [charts.change_of(0.5, after)[1] for after in (0.6, 0.4, 0.5)]
  assert len({*marks}) == 3
  assert all(mark in charts.KEY for mark in marks)
  for after, mark in zip((0.6, 0.4, 0.5), marks):
    assert mark in charts.track(0.5, after, 10)


@pytest.mark.parametrize(
  ("value", "end"), [(0.76, 0.8), (2.04, 4.0), (1.0, 1.0), (83, 100), (0, 0)]
)
def test_axes_end_at_round_numbers(value, end):
  assert charts.round_up(value) == pytest.approx(end)


def test_markup_stays_and_text_is_escaped():
  inner = element("b", "<&>")
  assert table((), [[inner, "<"]]) == (
    "<table><tr><td><b>&lt;&amp;&gt;</b></td><td>&lt;</td></tr></table>"
  )


def test_a_class_that_was_not_scored_says_so():
  rows = [Row("yes", 3, 2, 0.5, 1.0), Row("no", 0, 0, None, None)]
  drawn = sections.class_section("Classes", rows, "of 2")
  assert "not scored" in drawn
  assert not sections.class_section("Classes", rows[:1], "of 2")


def test_a_browser_shows_it_whole_on_a_phone_and_on_a_screen(tmp_path):
  name = "a_model_with_a_name_that_is_longer_than_a_phone_is_wide_by_far"
  page = page_of(
    adapted("some"),
    model=f"{name}.tflite",
    commands=[("Again:", f"tflm-fg-adapt --model={name}{name}.tflite")],
  )
  pages = [(page, 390), (page, 1200)]
  for look in browser.looked_at(tmp_path, pages):
    assert name in look["title"]
    assert look["needed"] <= look["width"], look
    assert look["outside"] == 0, look
    assert look["smallest"] >= 10, look
    assert look["tracks"] == 2 + 2 * 4, look
    assert look["graphs"] == 1, look
    assert look["scripts"] == look["loaded"] == 0, look
