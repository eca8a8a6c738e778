"""How far engines are apart is measured for each file."""

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg.evaluation import engine_agreement
from tflm_fg.runtimes import agreement, installed, trial
from tflm_fg.runtimes.registry import open_session
from tflm_fg.runtimes.trial_process import Ran
from tflm_fg.tflite import unmarked, whole

X = models.int8_samples((6, 5, 2), 20)
OTHERS = [e for e in agreement.ENGINES if e in installed()]


def test_it_is_the_largest_distance_of_the_logits_of_sessions():
  model = models.conv_model()
  rows = {row["engine"]: row for row in engine_agreement(model, X)}
  assert list(rows) == OTHERS
  part = whole(model, unmarked(model))
  x = X[: agreement.MOST_SAMPLES]
  (want,) = open_session("litert-reference", part).run((x,))
  for engine in OTHERS:
    (got,) = open_session(engine, part).run((x,))
    apart = np.abs(got.astype(int) - want).max()
    assert rows[engine]["largest_difference"] == apart
    assert rows[engine]["samples"] == len(x)


@pytest.mark.parametrize("difference", [0, 3])
def test_a_difference_of_some_steps_is_found(monkeypatch, difference):
  own = trial.run

  def shifted(file, engine, inputs, first=None):
    ran = own(file, engine, inputs, first)
    if engine == "litert-xnnpack":
      ran.outputs[5][0][0, 1] -= np.int8(difference)
    return ran

  monkeypatch.setattr(trial, "run", shifted)
  rows = engine_agreement(models.conv_model(seed=3), X)
  row = next(row for row in rows if row["engine"] == "litert-xnnpack")
  assert row["largest_difference"] == difference


def test_an_engine_that_does_not_run_the_file_is_named_with_its_reason(
  monkeypatch,
):
  own = trial.run

  def refuse(file, engine, inputs, first=None):
    if engine == "litert":
      return Ran(None, "no kernel")
    return own(file, engine, inputs, first)

  monkeypatch.setattr(trial, "run", refuse)
  row = engine_agreement(models.conv_model(), X)[0]
  assert (row["engine"], row["refused"]) == ("litert", "no kernel")
  assert row["largest_difference"] is None


def test_a_large_model_is_compared_on_one_sample(monkeypatch):
  monkeypatch.setattr(agreement, "int8_work", lambda _: 10**9)
  assert engine_agreement(models.conv_model(), X)[0]["samples"] == 1


def test_reports_and_inspect_say_it():
  x, y = models.separable(60)
  model = models.dense_model()
  report = tflm_fg.adapt(model, x, y, trainable="head").report
  told = [
    report["engine_agreement"],
    tflm_fg.inspect(model)["engine_agreement"],
  ]
  for rows in told:
    assert [row["engine"] for row in rows] == OTHERS
    assert all(0 <= row["largest_difference"] < 9 for row in rows)
