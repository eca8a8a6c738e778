"""Without samples of before, what is forgotten is estimated, and said so."""

from __future__ import annotations

import functools

import pytest

import tflm_fg
from apps.printed_report import print_report
from tests import models
from tests.options import options
from tflm_fg.tflite.surgery import class_outputs

X, Y = models.separable()
TEST = models.separable(seed=1)
SOME = Y != 1
EXACT = options(method="closed-form", steps=40)


@functools.cache
def known():
  """A model that knows its four classes."""
  return tflm_fg.adapt(
    models.dense_model(), X, Y, trainable="head", **EXACT
  ).model


@functools.cache
def adapted(absent):
  return tflm_fg.adapt(
    known(), X[SOME], Y[SOME], test=TEST, trainable="head",
    absent_classes=absent, **EXACT,
  ).report  # fmt: skip


def test_an_estimate_tells_a_class_that_was_lost_from_one_that_was_kept():
  for absent in ("keep", "ignore"):
    report = adapted(absent)
    told = report.forgetting
    assert told["measured_on"] == "estimate"
    lost = told["accuracy_before"] - told["accuracy_after"]
    row = report.classes[1]
    really = row["accuracy_before"] - row["accuracy_after"]
    assert (lost > 0.2) == (really > 0.2) == (absent == "ignore")


def test_an_estimate_is_of_the_classes_without_samples_alone():
  told = adapted("ignore").forgetting
  scored = {r["class"] for r in told["classes"] if r["scored_samples"]}
  assert scored == {1}
  assert told["scored_samples"] == told["classes"][1]["scored_samples"] > 50


def test_an_estimate_is_called_one_where_it_is_printed(capsys):
  print_report(adapted("ignore"))
  said = capsys.readouterr().out
  assert "ESTIMATE of what is forgotten, from imagined inputs" in said
  assert "samples of before" not in said


def test_samples_of_before_are_measured_and_nothing_is_estimated():
  told = tflm_fg.adapt(
    known(), X[SOME], Y[SOME], trainable="head", old_data=TEST, **EXACT
  ).report.forgetting
  assert told["measured_on"] == "old_data"


def test_one_seed_gives_the_same_estimate():
  assert adapted("ignore").forgetting == (
    adapted.__wrapped__("ignore").forgetting
  )


@pytest.mark.parametrize("kind", ["whole", "reals", "no labels", "new head"])
def test_nothing_is_estimated_where_nothing_can_be(kind):
  model, data, more = known(), (X[SOME], Y[SOME]), {"trainable": "head"}
  if kind == "whole":
    data = X, Y
  elif kind == "reals":
    model, data = models.regression_model(), models.curve()
    more = {"loss": "mse"}
  elif kind == "no labels":
    data, more = (X,), {}
  elif kind == "new head":
    model = class_outputs.new_rows(models.dense_model(), 4)
  report = tflm_fg.adapt(model, *data, **{**options(steps=5), **more}).report
  assert report.forgetting is None
