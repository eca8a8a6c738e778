"""Models that keep state in variables are adapted; each sample starts anew."""

import numpy as np

import tflm_fg
from tests import models
from tests.refusals import MODEL, adapt, edited, refused
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.tensors import activation_bytes

RECURRENT = models.recurrent_model()


def sequences(samples=60):
  random = np.random.default_rng(0)
  y = np.arange(samples) % 3
  x = random.normal(0, 1.3, (samples, 5, 8))
  x[:, :, :3] += np.eye(3)[y][:, None]
  return x.astype(np.float32), y


def test_a_recurrent_model_learns_and_replays():
  x, y = sequences()
  result = tflm_fg.adapt(RECURRENT, x, y, trainable="head", test=(x, y))
  report = result.report
  assert report.accuracy_after > report.accuracy_before
  replayed = tflm_fg.replay(result.journal, result.start, "m")
  assert replayed == result.marked_model
  after = tflm_fg.evaluate(result.model, x[::-1], y[::-1])["accuracy"]
  assert after == report.accuracy_after


def test_what_stands_before_the_state_can_train():
  x, y = sequences()
  method = tflm_fg.methods.PerSample(steps=4)
  given = {"trainable": "prompt", "method": method}
  assert tflm_fg.adapt(RECURRENT, x, y, **given).model


def test_variables_count_as_alive_all_the_time():
  file = ModelFile.open(RECURRENT)
  without = tuple(t for t in file.subgraph.tensors if not t.is_variable)
  kept = sum(t.num_bytes for t in file.subgraph.tensors if t.is_variable)
  assert len(without) == len(file.subgraph.tensors) - 2
  assert kept == 4 + 2 * 4
  assert activation_bytes(file) >= kept + 5 * 4 + 5 * 8


def test_resource_variables_are_refused_by_name():
  def edit(model):
    code = model.operatorCodes[0]
    code.builtinCode = models.schema.BuiltinOperator.VAR_HANDLE
    code.deprecatedBuiltinCode = 127

  assert adapt(MODEL).model
  refused(lambda: adapt(edited(edit)), "resource variables (VAR_HANDLE)")
