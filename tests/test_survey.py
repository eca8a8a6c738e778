"""The survey accepts what works, gives reasons, and finds what is wrong."""

import dataclasses
import os
import signal
import time

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg.tflite import ModelFile
from tflm_fg.types import TflmFgError
from tools import survey, survey_checks


def test_two_models_are_surveyed_and_not_again(tmp_path, monkeypatch):
  monkeypatch.setattr(survey_checks, "PLACEMENTS", ("head", "prompt"))
  files, work = tmp_path / "files", tmp_path / "work"
  files.mkdir()
  work.mkdir()
  (files / "dense.tflite").write_bytes(models.dense_model(softmax=False))
  (files / "again.tflite").write_bytes(models.dense_model(softmax=False))
  (files / "float.tflite").write_bytes(models.float_model())
  told = []
  paths = survey.paths_of(files)
  assert [path.name for path in paths] == ["again.tflite", "float.tflite"]
  rows = [survey.surveyed(path, work, 60, told.append) for path in paths]
  text = survey.table(rows)
  assert len(told) == 6
  one, two = text.splitlines()[2:4]
  assert one.startswith("| again.tflite | int8 [1, 8] to int8 [1, 4]; 2 oper")
  assert "FAILED" not in text and "BROKE" not in text
  assert two.endswith("| no | no | no |")
  assert "- float.tflite, inspect" in text and "float32" in text
  again = [survey.surveyed(path, work, 60, told.append) for path in paths]
  assert again == rows and len(told) == 6


def test_a_list_of_paths_will_do(tmp_path):
  (tmp_path / "m.tflite").write_bytes(models.dense_model())
  (tmp_path / "list.txt").write_text(f"{tmp_path / 'm.tflite'}\n\n")
  found = survey.paths_of(tmp_path / "list.txt")
  assert found == [tmp_path / "m.tflite"]


def _refuse():
  raise TflmFgError("no head")


def _break():
  raise KeyError("a bug")


ENDS = {
  "row": (lambda: {"kind": "x"}, {"kind": "x"}, "yes"),
  "refusal": (_refuse, {"refused": "no head"}, "no"),
  "fault": (_break, {"broke": "KeyError: 'a bug'"}, "BROKE"),
  "crash": (
    lambda: os.kill(os.getpid(), signal.SIGTERM),
    {"ended": "SIGTERM"},
    "SIGTERM",
  ),
  "hang": (lambda: time.sleep(30), {"ended": "out of time"}, "OUT OF TIME"),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_a_child_is_told(end, tmp_path):
  work, row, told = ENDS[end]
  seconds = 0.2 if end == "hang" else 20
  assert survey.in_child(work, tmp_path / "answer", seconds) == row
  assert survey.cell(row) == told


@pytest.fixture(scope="module")
def adapted():
  model = models.dense_model(softmax=False)
  task = survey_checks.made_up(ModelFile.open(model))
  x, y = task.part(0, 40)
  test = task.part(40, 64)
  result = tflm_fg.adapt(model, x, y, test=test, trainable="head")
  return model, task, test, result


def test_sound_results_pass_all_checks(adapted):
  model, task, test, result = adapted
  assert survey_checks._bytes_fault(model, result) == []
  assert survey_checks._start_fault(model, result, task.x[:8]) == []
  assert survey_checks._report_fault(result, test, task.loss) == []


def test_a_changed_byte_of_no_trained_tensor_is_found(adapted):
  model, _, _, result = adapted
  file = ModelFile.open(tflm_fg.strip(result.start))
  first, _ = file.span(1)  # the hidden layer's kernel
  marked = bytearray(result.marked_model)
  marked[len(marked) - len(file.data) + first] ^= 1
  wrong = dataclasses.replace(result, marked_model=bytes(marked))
  (line,) = survey_checks._bytes_fault(model, wrong)
  assert line == "1 bytes of no trained tensor changed"


def test_gains_in_scales_are_no_fault():
  model = models.conv_model()
  task = survey_checks.made_up(ModelFile.open(model))
  method = tflm_fg.methods.PerSample(steps=5)
  result = tflm_fg.adapt(
    model, *task.part(0, 40), trainable="gain", method=method
  )
  plain = tflm_fg.strip(result.start)
  assert plain != result.model
  assert survey_checks._bytes_fault(plain, result) == []


def test_other_outputs_before_training_are_found(adapted):
  _, task, _, result = adapted
  other = models.dense_model(softmax=False, seed=1)
  (line,) = survey_checks._start_fault(other, result, task.x[:8])
  assert line.startswith("before training outputs differ by")


def test_a_score_that_no_loop_gives_is_found(adapted):
  _, task, test, result = adapted
  report = dataclasses.replace(result.report, accuracy_after=0.123)
  wrong = dataclasses.replace(result, report=report)
  (line,) = survey_checks._report_fault(wrong, test, task.loss)
  assert line.startswith("the report says 0.123, a loop ")


@pytest.mark.parametrize(
  ("model", "loss"),
  [
    (models.regression_model(), "mse"),
    (models.regression_model(tail="logistic"), "cross-entropy"),
    (models.conv_model(), "cross-entropy"),
  ],
)
def test_targets_suit_the_output(model, loss):
  task = survey_checks.made_up(ModelFile.open(model))
  assert task.loss == loss
  assert len(task.x) == len(task.y) == 64
  assert np.array_equal(task.x, survey_checks.made_up(ModelFile.open(model)).x)


def test_a_head_behind_a_shape_of_its_own_is_tried_too(tmp_path):
  """The head reads [1, 5, 4, 2] as it is; auto must find a way to train it."""
  net = models.Network()
  x = net.activation("x", (1, 5, 4, 2), 4.0, models.FEATURES)
  weights = net._weights("head", (3, 40), 0, x, True)
  out = net.activation("head/out", (1, 3), 8.0)
  options = models.schema.FullyConnectedOptionsT()
  inputs = [x.index, *weights]
  net.operator("FULLY_CONNECTED", inputs, out.index, options, 4)
  path = tmp_path / "m.tflite"
  path.write_bytes(net.finish([x.index], [out.index]))
  row = survey_checks.one(str(path), "auto")
  assert row["failed"] == []
