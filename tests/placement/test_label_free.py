"""Without labels a file is changed where answers get surer and more varied."""

from __future__ import annotations

import functools
import math

import tflm_fg
from tests import models
from tests.placement.runs import chosen, clustered, clusters
from tflm_fg.losses.base import Entropies
from tflm_fg.methods import SPSA, Auto
from tflm_fg.placement import label_free
from tflm_fg.placement.fold_search import INPUT_STAGES
from tflm_fg.placement.label_free import (
  ENOUGH,
  GAINED,
  PULL,
  PULL_SAMPLES,
  VARIED,
  input_stages_of,
  no_gain,
  pull_of,
  spreads,
)
from tflm_fg.placement.request import Request
from tflm_fg.tflite.model_file import ModelFile

MOST = math.log(12)
START = Entropies(0.4, 2.0, 2.0, MOST)


def spread(x, y, seen):
  """The samples of some classes alone."""
  return x[y < seen]


@functools.cache
def of_few_classes():
  x = spread(*clusters(240, 1), 2)
  return tflm_fg.adapt(clustered(), x, test=clusters(300, 2))


def test_samples_of_two_classes_leave_the_file_as_it_is():
  result = of_few_classes()
  assert result.model == clustered()
  assert result.journal.records == ()
  assert chosen(result.report) == "nothing"
  assert result.report.accuracy_after == result.report.accuracy_before
  reasons = {d["candidate"]: d["reason"] for d in result.report["dropped"]}
  assert "samples of few classes" in reasons["head"]
  assert any("nothing to gain" in note for note in result.report["notes"])


def test_the_guard_keeps_two_classes_from_being_spread_over_all(monkeypatch):
  """Without it the model forgets: this is what it guards against."""
  monkeypatch.setattr(label_free, "no_gain", lambda *seen: "")
  monkeypatch.setattr(label_free, "spreads", lambda *seen: "")
  monkeypatch.setattr(label_free, "ENOUGH", 0.0)
  monkeypatch.setattr(label_free, "VARIED", 0.0)
  x = spread(*clusters(240, 1), 2)
  report = tflm_fg.adapt(clustered(), x, test=clusters(300, 2)).report
  assert report.accuracy_after < report.accuracy_before - 0.05


def test_passes_of_what_was_dropped_are_counted():
  report = of_few_classes().report
  steps = 80
  assert len(report["dropped"]) == 3
  assert report.forward_passes > 2 * 2 * steps


def stage(own, of_mean):
  return Entropies(own, of_mean, of_mean, MOST)


def test_an_input_stage_must_gain_information():
  little = stage(0.4, 2.0 + 0.9 * GAINED * MOST)
  enough = stage(0.4, 2.0 + 1.1 * GAINED * MOST)
  assert "tell" in no_gain(START, little, 0.0)
  assert no_gain(START, enough, 0.0) == ""
  assert "tell" in no_gain(enough, enough, 0.0)
  # Eleven numbers gain as much on 30 samples where there is nothing to find.
  assert "tell" in no_gain(START, enough, 11 / 30)


def test_an_input_stage_must_not_make_the_model_less_sure():
  assert "less sure" in spreads(START, stage(0.41, 2.4))
  assert spreads(START, stage(0.39, 2.4)) == ""


def test_an_input_stage_must_not_sharpen_answers_alone():
  """A gain makes any model surer: that is no sign of a shift."""
  assert "more varied" in spreads(START, stage(0.1, 2.01))


def test_the_fewer_and_the_less_varied_samples_are_the_more_a_head_is_pulled():
  def of(variety, samples):
    return pull_of(Entropies(0.1, 2.4, variety * MOST, MOST), samples)

  assert of(VARIED + 0.01, 300) == PULL_SAMPLES / 300
  assert of(VARIED + 0.01, 20) == PULL
  assert of(VARIED - 0.01, 300) == PULL
  assert of(ENOUGH + 0.01, 300) == PULL
  assert of(ENOUGH - 0.01, 300) is None


def test_a_head_is_trained_under_its_pull_and_replays():
  x, _ = clusters(120, 1, 0.9)
  result = tflm_fg.adapt(clustered(), x, test=clusters(300, 2, 0.9))
  head = result.journal.records[-1].phase.method
  assert head.pull == PULL_SAMPLES / 120
  assert tflm_fg.replay(result.journal, result.start) == result.marked_model


def test_input_stages_are_what_the_file_and_the_method_allow():
  def stages_of(data, method):
    return input_stages_of(ModelFile.open(data), Request(method=method))

  conv = models.conv_model()
  assert stages_of(conv, Auto()) == (list(INPUT_STAGES[:2]), [])
  assert stages_of(conv, SPSA()) == ([], [])
  stages, dropped = stages_of(models.conv_model(wide=True), Auto())
  assert stages == []
  assert [d.candidate for d in dropped] == ["prompt", "prompt+gain"]


def test_unshifted_samples_cost_little():
  x, _ = clusters(240, 3)
  report = tflm_fg.adapt(clustered(), x, test=clusters(600, 2)).report
  assert report.accuracy_after >= report.accuracy_before - 0.02
