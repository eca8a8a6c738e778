"""An adapted spotter says what it needs, and is held to its target."""

import contextlib
import io

import numpy as np
import pytest

from apps.kws.features.examples import Examples
from apps.kws.model import adaptation, enrolment, outcome
from apps.kws.model.shipped import shipped_model
from apps.kws.model.spotter import load
from tflm_fg.runtimes import is_installed, trial
from tflm_fg.runtimes.trial_process import Ran
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.types import TflmFgError

SPOTTER = load(None)
needs_tflm = pytest.mark.skipif(not is_installed("tflm"), reason="needs tflm")


def clips(spotter, count=24, classes=12):
  shape = (count, *spotter.input().shape[1:])
  x = np.random.default_rng(0).uniform(0, 3, shape).astype(np.float32)
  y = np.arange(count) % classes
  return Examples(x, y, np.arange(count), np.zeros(count))


def job(spotter=SPOTTER, **given):
  given = {"method": adaptation.method_of(None), **given}
  return adaptation.Job(spotter=spotter, train=clips(spotter), **given)


def refuse(monkeypatch, operator):
  own = trial.run

  def run(file, engine, inputs, first=None):
    if engine == "tflm" and operator in file.operator_names:
      return Ran(None, f"no {operator} here")
    return own(file, engine, inputs, first)

  monkeypatch.setattr(trial, "run", run)


def added(result):
  return [row["name"] for row in result.report["needs"]["new_operators"]]


def test_an_adapted_spotter_names_the_operators_of_its_wide_head():
  result = adaptation.adapt(job())
  assert "CONCATENATION" in added(result)
  needs = result.report["needs"]
  assert needs["model_bytes_before"] == len(shipped_model())
  assert result.report["model_bytes"] == needs["model_bytes"]
  said = io.StringIO()
  with contextlib.redirect_stdout(said):
    outcome.print_outcome(result)
  assert "AddConcatenation()" in said.getvalue()


def test_with_the_same_operators_it_is_the_head_that_learns():
  result = adaptation.adapt(job(operators="same"))
  assert added(result) == []
  assert result.report["trainable_parameters"] == 780


@needs_tflm
def test_a_wide_head_that_the_target_does_not_run_is_not_taken(monkeypatch):
  refuse(monkeypatch, "CONCATENATION")
  result = adaptation.adapt(job(target="tflm"))
  assert (
    "CONCATENATION" not in ModelFile.open(result.spotter.model).operator_names
  )


def enrolling():
  room = enrolment.make_room(SPOTTER, ["lamp"])
  return {
    "spotter": room.spotter,
    "came": SPOTTER,
    "layer": "head",
    "method": enrolment.method(3, 0.0, 0),
  }


def test_what_is_enrolled_is_measured_as_a_whole():
  needs = adaptation.adapt(job(**enrolling())).report["needs"]
  assert needs["new_operators"] == []
  assert needs["model_bytes_before"] == len(shipped_model())
  assert 64 < needs["model_bytes"] - needs["model_bytes_before"] < 1024


@needs_tflm
def test_what_is_enrolled_is_held_to_its_target(monkeypatch):
  refuse(monkeypatch, "DEPTHWISE_CONV_2D+")
  with pytest.raises(TflmFgError, match="--target=tflm: tflm refuses it"):
    adaptation.adapt(job(**enrolling(), target="tflm"))
