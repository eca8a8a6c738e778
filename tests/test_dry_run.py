"""A dry run says what a run would try, and leaves no step out of the count."""

from __future__ import annotations

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg import dry_run, limits
from tflm_fg.callbacks import Callback
from tflm_fg.memory import working
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.types import TflmFgError


class Ran(Callback):
  """The parts of the work, in order."""

  def __init__(self):
    self.parts = []

  def on_phase_begin(self, logs):
    self.parts.append((logs["candidate"], logs["work"]))


SPSA = tflm_fg.methods.SignSPSA(
  steps=300, validate_every=300, learning_rate_lsb=1.0, epsilon_lsb=1.0
)


@pytest.mark.parametrize(
  "given",
  [{}, {"labels": "none"}, {"trainable": "head", "method": SPSA}],
  ids=["auto", "no labels", "head, forward"],
)
def test_it_names_what_a_run_does_and_counts_its_passes(given):
  x, y = models.separable(samples=20)
  found = dry_run.estimate(models.dense_model(), x, y, **given)
  ran = Ran()
  result = tflm_fg.adapt(models.dense_model(), x, y, **given, callbacks=[ran])
  assert [(part.candidate, part.work) for part in found.parts] == ran.parts
  passes = result.report.forward_passes
  assert found.forward_passes == pytest.approx(passes, rel=0.1)
  assert found.samples == 20
  assert found.seconds > 0
  steps = sum(part.steps for part in found.parts)
  assert steps >= result.report.steps


def test_a_long_run_is_cut_short_and_counted_up(monkeypatch):
  monkeypatch.setattr(dry_run, "FEW_SECONDS", 0.0)
  x, y = models.separable(samples=20)
  method = tflm_fg.methods.SignSPSA(
    steps=10**7, learning_rate_lsb=1.0, epsilon_lsb=1.0
  )
  found = dry_run.estimate(
    models.dense_model(), x, y, trainable="head", method=method
  )
  assert found.parts[0].steps == 10**7
  assert found.parts[0].seconds > 100
  assert found.forward_passes > 10**7


def test_of_many_samples_few_are_taken_and_every_class_stays():
  y = np.repeat([0, 1, 2], [4000, 1, 999])  # one sample between two spread
  taken, times = dry_run._some(np.zeros((5000, 2)), y)
  assert len(taken) <= dry_run.FEW_SAMPLES + 3
  assert times == pytest.approx(5000 / len(taken))
  assert set(y[taken]) == {0, 1, 2}
  share = np.mean(y[taken] == 0)
  assert share == pytest.approx(0.8, abs=0.02)


def test_few_samples_are_all_taken():
  taken, times = dry_run._some(np.zeros((30, 2)), None)
  assert len(taken) == 30
  assert times == 1


def test_what_adapt_refuses_is_refused():
  x, y = models.separable(samples=20)
  with pytest.raises(tflm_fg.TflmFgError, match="on_interrupt"):
    dry_run.estimate(models.dense_model(), x, y, on_interrupt="never")


def test_memory_that_all_samples_take_is_told(monkeypatch):
  monkeypatch.setattr(dry_run.limits, "resident", lambda: 50 << 20)
  x, y = models.separable(samples=20)
  found = dry_run.estimate(models.dense_model(), x, y, trainable="head")
  held = found.memory_bytes - (50 << 20)
  file = ModelFile.open(models.dense_model())
  assert held == working.adapting(file, 20)
  more = working.adapting(file, 1020)
  assert more - held == working.COPIES * 1000 * x[0].size


@pytest.mark.parametrize("run", [tflm_fg.adapt, dry_run.estimate])
def test_what_needs_more_memory_than_there_is_is_refused_first(
  run, monkeypatch
):
  monkeypatch.setattr(limits, "resident", lambda: 40 << 20)
  x, y = models.separable(samples=20)
  watched = Ran()
  given = {"callbacks": [watched]} if run is tflm_fg.adapt else {}
  with limits.at_most("64MB"), pytest.raises(TflmFgError) as told:
    run(models.dense_model(), x, y, trainable="head", **given)
  assert "model to 20 samples, which takes about 32 MB" in str(told.value)
  assert "24 MB of 64 MB are left; give fewer samples" in str(told.value)
  assert not watched.parts
