"""What loses samples of before is trained more gently, or taken back."""

from __future__ import annotations

import functools

import pytest

import tflm_fg
from tests import models
from tests.options import options
from tflm_fg import methods
from tflm_fg.outcome import guard
from tflm_fg.placement import Request
from tflm_fg.training import CLASSIFY

X, Y = (part[:120] for part in models.separable())
OLD = models.separable(seed=1)
EXACT = options(method="closed-form", steps=40)


@functools.cache
def known():
  """A model that knows its four classes."""
  return tflm_fg.adapt(
    models.dense_model(), X, Y, trainable="head", **EXACT
  ).model


def turned(share):
  """Samples of which a share has another class than the model knows."""
  y = Y.copy()
  y[: round(share * len(y))] = (y[: round(share * len(y))] + 1) % 4
  return X, y


def adapt(share, **given):
  return tflm_fg.adapt(known(), *turned(share), old_data=OLD, **given)


def told(before, after, samples, on="old_data"):
  return {
    "measured_on": on,
    "accuracy_before": before,
    "accuracy_after": after,
    "scored_samples": samples,
  }


@pytest.mark.parametrize(
  ("row", "is_lost"),
  [
    (told(0.9, 0.879, 1000), True),
    (told(0.9, 0.88, 1000), False),
    (told(1.0, 0.9, 10), False),  # one sample
    (told(1.0, 0.8, 10), True),
    (told(0.9, 1.0, 100), False),
    (told(0.9, 0.1, 100, "estimate"), False),
    (told(None, None, 100), False),
    (None, False),
  ],
)
def test_two_points_and_more_than_a_sample_are_lost(row, is_lost):
  assert bool(guard.lost(row)) == is_lost


def test_a_named_method_that_loses_old_data_leaves_the_file_as_it_was():
  with pytest.warns(UserWarning, match="the file is left as it was"):
    result = adapt(1.0, trainable="head", **EXACT)
  assert result.model == known()
  report = result.report
  before, after = (
    report.forgetting[f"accuracy_{when}"] for when in ("before", "after")
  )
  assert before == after > 0.9
  assert any("give samples of before as replay" in n for n in report.notes)
  (gone,) = [d for d in report.dropped if "old_data" in d["reason"]]
  assert gone["candidate"] == "head"
  assert tflm_fg.replay(result.journal, known()) == result.marked_model


def test_a_head_ends_in_the_gentlest_way_that_is_needed():
  held = adapt(1.0, trainable="head")
  gone = [d for d in held.report.dropped if "old_data" in d["reason"]]
  assert [d["candidate"] for d in gone] == [
    "head", "head with a pull of 0.3", "head with a pull of 1",
  ]  # fmt: skip
  assert not guard.lost(held.report.forgetting)
  assert held.report.settings["method"] == "auto"  # as the user asked
  # What was given up has cost passes too.
  loose = adapt(1.0, trainable="head", absent_classes="ignore").report
  assert guard.lost(loose.forgetting)
  assert held.report.forward_passes > 3 * loose.forward_passes
  assert tflm_fg.replay(held.journal, known()) == held.marked_model


def test_ways_are_ever_more_gentle_and_a_named_method_has_one():
  def of(is_marked=False, **given):
    request = Request(**given)
    ways = guard.ways("auto", CLASSIFY, request, is_marked)
    return [guard.title_of(*way) for way in ways]

  pulled = [f"head with a pull of {p:g}" for p in sorted(guard.PULLS)]
  assert of(method=methods.Auto()) == ["auto", *pulled]
  assert of(method=methods.SignSPSA()) == ["auto"]
  assert of(is_marked=True, method=methods.Auto()) == ["auto"]


def test_the_first_way_that_loses_little_is_the_last_to_run():
  losses = {"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0}
  ways = [(name, Request(method=methods.Auto())) for name in losses]
  ran, gone = guard.held(
    ways,
    lambda what, asked: what,
    lambda what: told(0.9, 0.9 - losses[what], 100),
  )
  assert ran == "c"
  assert [(name, of) for name, _, of in gone] == [("a", "a"), ("b", "b")]


def test_old_data_that_are_kept_change_no_byte():
  plain = tflm_fg.adapt(known(), X, Y, trainable="head")
  assert adapt(0.0, trainable="head").model == plain.model
