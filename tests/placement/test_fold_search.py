"""Candidates are compared by folds of all samples, and the best is trained."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.placement.runs import SHIFT, crossed, source
from tflm_fg import journal, methods
from tflm_fg.placement import head_folds
from tflm_fg.placement.candidates import best_candidate
from tflm_fg.placement.checked_samples import CheckedSamples
from tflm_fg.placement.fold_search import (
  INPUT_STAGES,
  WIDENED,
  try_by_folds,
)
from tflm_fg.placement.head_folds import PULLS, HeadFolds
from tflm_fg.placement.request import Request
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.surgery import class_outputs
from tflm_fg.training.auto import Auto
from tflm_fg.training.metrics import logits_of
from tflm_fg.training.objective import Objective
from tflm_fg.types import NotApplicable


def searched(shift=SHIFT, samples=90):
  """The candidates of a search."""
  file = ModelFile.open(source())
  request = Request(method=Auto(), runtime_options=RuntimeOptions(workers=1))
  checked = CheckedSamples.of(
    file, *crossed(samples, 1, shift), request.objective
  )
  data = checked.training_data(request.method, 0.25)
  found, _ = try_by_folds(file, data, request)
  return [one.candidate for one in found]


@functools.cache
def cured():
  return tflm_fg.adapt(
    source(), *crossed(120, 1, SHIFT), test=crossed(400, 2, SHIFT), workers=1
  )


def chosen(report):
  (candidate,) = (c for c in report.candidates if c["chosen"])
  return candidate["trainable"]


def test_an_offset_is_cured_by_a_prompt_with_a_direction_for_every_sample():
  report = cured().report
  assert report.accuracy_before < 0.8
  assert report.accuracy_after > 0.95
  assert chosen(report).startswith("prompt")
  assert report.method.startswith("per-sample")


def test_its_journal_makes_the_same_bytes_again_without_an_engine():
  result = cured()
  again = journal.parse(result.journal.to_bytes())
  assert tflm_fg.replay(again, source()) == result.marked_model


def test_a_file_that_fits_already_is_left_as_it_is_or_hardly_worse():
  result = tflm_fg.adapt(
    source(), *crossed(120, 1), test=crossed(400, 2), workers=1
  )
  assert result.report.accuracy_after >= result.report.accuracy_before - 0.01


def test_the_lowest_sure_loss_is_chosen_and_the_untouched_file_takes_part():
  candidates = searched()
  losses = {c.title: c.loss for c in candidates}
  assert "nothing" in losses
  assert best_candidate(candidates).loss == min(losses.values())


@functools.cache
def grown():
  """The search on a file that can take a wide head."""
  result = tflm_fg.adapt(models.deep_model(), *models.separable(90), workers=1)
  return result.report


def test_a_wide_head_is_tried_behind_the_best_input_stages_alone():
  losses = {}
  for c in grown().candidates:
    name = re.sub(r" with \d bits? of room$", "", c["trainable"])
    losses[name] = min(c["loss"], losses.get(name, c["loss"]))
  wide = {n.removesuffix("wide-head") for n in losses if "wide-head" in n}
  stages = {}
  for name, loss in losses.items():
    if "wide-head" not in name and name != "nothing":
      stage = name.removesuffix("head")
      stage = stage if stage.endswith(", ") or not stage else f"{stage}, "
      stages[stage] = min(loss, stages.get(stage, loss))
  assert set(sorted(stages, key=stages.get)[:WIDENED]) == wide
  assert len(stages) == 1 + len(INPUT_STAGES)


def test_every_sample_is_kept_aside_once():
  candidates = searched(samples=91)
  assert all(c.losses.shape == (91,) for c in candidates)
  assert all(0 <= c.accuracy <= 1 for c in candidates)


def test_heads_over_folds_take_no_passes_of_an_engine():
  opened = folds()
  before = opened.graph.forward_passes
  opened.best()
  opened.untouched()
  assert opened.graph.forward_passes == before


def folds(objective=None, data=None):
  file = ModelFile.open(source())
  request = Request(method=Auto(), objective=objective or Objective())
  checked = CheckedSamples.of(
    file, *(data or crossed(90, 1)), request.objective
  )
  training_data = checked.training_data(request.method, 0.25)
  return HeadFolds.open(file, "head", GraphOptions(), training_data, request)


def test_a_head_fitted_without_an_engine_answers_as_one_fitted_in_it():
  x, y = crossed(120, 1, SHIFT)
  result = tflm_fg.adapt(
    source(),
    x,
    y,
    trainable="head",
    method=methods.ClosedForm(pull=0.1, validation_fraction=0),
    exact_prefix=True,
    runtime="litert-reference",
  )
  opened = folds(data=(x, y))
  params = opened.fitted(np.arange(len(x)), 0.1)
  weights = opened._layout.weights(params)
  held = [w.astype(int) for w in weights]
  opened.graph.suffix.load(weights)
  own = logits_of(opened.graph.suffix, opened.samples.inputs).argmax(axis=1)
  accuracy = (own == y).mean()
  assert abs(accuracy - result.report.accuracy_after) < 0.05
  assert held[0].any()


def test_the_pull_with_the_lowest_loss_is_taken():
  opened = folds(data=crossed(60, 1, SHIFT))
  alone = {pull: opened.best([pull]).loss for pull in PULLS}
  best = opened.best()
  assert best.loss == min(alone.values()) == alone[best.pull]


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_real_targets_are_compared_too(loss):
  x, y = models.curve(90)
  report = tflm_fg.adapt(
    models.regression_model(), x, y, loss=loss, workers=1
  ).report
  assert report.mae_after < report.mae_before
  assert chosen(report)


def test_a_head_that_only_an_engine_computes_is_left_to_the_phases(
  monkeypatch,
):
  def refused(*others):
    raise NotApplicable("only an engine can compute it")

  monkeypatch.setattr(head_folds, "dense_layer", refused)
  report = tflm_fg.adapt(source(), *crossed(90, 1, SHIFT), workers=1).report
  assert report.accuracy_after > report.accuracy_before
  assert chosen(report)


def test_what_a_file_does_not_take_is_named_with_the_reason():
  x = models.int8_samples((6, 5, 2), 60, dtype="int16")
  report = tflm_fg.adapt(
    models.conv_model(wide=True), x, np.arange(60) % 3, workers=1
  ).report
  dropped = {d["candidate"]: d["reason"] for d in report.dropped}
  assert set(dropped) == {"prompt", "prompt+gain", "wide-head"}


def test_one_seed_gives_the_same_bytes_and_another_others():
  x, y = crossed(60, 1, SHIFT)

  def adapted(seed):
    method = methods.Auto(seed=seed)
    return tflm_fg.adapt(source(), x, y, method=method, workers=1).marked_model

  assert adapted(1) == adapted(1)


def test_a_file_that_takes_no_prompt_has_its_first_biases_tried():
  x = models.int8_samples((6, 5, 2), 60, dtype="int16")
  report = tflm_fg.adapt(
    models.conv_model(wide=True), x, np.arange(60) % 3, workers=1
  ).report
  tried = {c["trainable"] for c in report.candidates}
  assert {"first-bias", "first-bias, head"} <= tried
  names = {c["trainable"] for c in cured().report.candidates}
  assert not any("first-bias" in name for name in names)


def test_a_setting_that_prompts_do_not_take_has_first_biases_tried_too():
  report = tflm_fg.adapt(
    source(),
    *crossed(60, 1, SHIFT),
    method=methods.Auto(num_directions=2, steps=4),
    workers=1,
  ).report
  assert any("first-bias" in c["trainable"] for c in report.candidates)


def test_no_input_stage_is_tried_in_front_of_a_head_of_zeros():
  fresh = class_outputs.new_rows(models.dense_model(), 4)
  x, y = models.separable(samples=60)
  report = tflm_fg.adapt(fresh, x, y).report
  assert [d["candidate"] for d in report["dropped"][:2]] == [
    "prompt",
    "prompt+gain",
  ]
  assert "head of zeros" in report["dropped"][0]["reason"]
  assert {c["trainable"] for c in report["candidates"]} >= {"nothing", "head"}
  assert report["accuracy_after"] > report["accuracy_before"]
