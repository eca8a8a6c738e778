"""The trainer in C ends with Python's masters, bit for bit.

Both run the same sessions here, so that only the trainers are compared;
check.c compares them with the forward pass in C too.
"""

import ctypes
import functools

import numpy as np
import pytest

from tests import models
from tests.micro import trainers
from tflm_fg import mark_trainable, micro
from tflm_fg.methods import ClosedForm, PerSample, SignSPSA
from tflm_fg.samples.inputs import model_input
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.inputs import spec_of
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.training.objective import BINARY, NOTHING, Task

pytestmark = pytest.mark.skipif(
  trainers.COMPILER is None, reason="no C compiler"
)

X, Y = models.separable()
EXACT = {"learning_rate_lsb": 18.0, "steps": 8, "validate_every": 8}
SIGNS = {"learning_rate_lsb": 2.0, "epsilon_lsb": 4.0, "steps": 12}
SIGNS |= {"batch_size": 16, "validate_every": 4}
UNLABELLED = Task(targets=NOTHING)
BINARY_TASK = Task(targets=BINARY, loss="binary-cross-entropy")
BINARY_UNLABELLED = Task(targets=NOTHING, loss="binary-cross-entropy")


@functools.cache
def marked(kind, trainable, common_gain=False):
  builders = {
    "dense": models.dense_model,
    "per-tensor": functools.partial(models.dense_model, per_channel=False),
    "conv": models.conv_model,
    "sigmoids": functools.partial(models.regression_model, 4, tail="logistic"),
  }
  options = GraphOptions(gain=common_gain, common_gain=common_gain)
  found = mark_trainable(builders[kind](), trainable, graph_options=options)
  return ModelFile.of(found.data), found.mark


def inputs(file, x):
  return model_input(x, spec_of(file))


def equal(
  kind,
  trainable,
  method,
  task=None,
  kept=20,
  runtime="litert-reference",
  gain=False,
  y=None,
):
  """Runs a phase in both; 0 masters differ, and neither does what is told."""
  file = marked(kind, trainable, gain)
  x, classes = (X, Y) if kind != "conv" else pictures()
  given = {} if task is None else {"task": task}
  case = trainers.case_of(
    file,
    method,
    inputs(file[0], x),
    classes if y is None else y,
    kept,
    runtime=runtime,
    **given,
  )
  device = trainers.Device(case)
  assert device.train() == trainers.OK
  wanted = trainers.python_result(case)
  wrong, of = trainers.different(device.masters(), wanted.masters)
  assert (wrong, of > 0) == (0, True)
  told = device.progress()
  assert told.kept_step == wanted.record.kept_step
  if kept:
    assert told.kept_before == wanted.before.total
    assert told.kept_after == wanted.after.total
    if task in (None, BINARY_TASK):
      assert told.correct_after == wanted.after.correct
  else:
    start = trainers.masters_of(*file)
    assert trainers.different(device.masters(), start)[0]
  return device, wanted


def pictures():
  x = np.random.default_rng(0).normal(0, 1.5, (60, 6, 5, 2)).astype("f4")
  return x, np.arange(60) % 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("trainable", ["head", "head/kernel", "head/bias"])
@pytest.mark.parametrize("kind", ["dense", "per-tensor", "conv"])
def test_a_head_in_the_closed_form(kind, trainable, seed):
  equal(kind, trainable, ClosedForm(**EXACT, seed=seed))


@pytest.mark.parametrize(
  "settings",
  [
    {"pull": 0.1},
    {"pull": 10.0, "momentum": 0.0},
    {"batch_size": 16, "validate_every": 3},
    {"batch_size": 7, "validate_every": 2, "pull": 0.03},
    {"decay": "constant", "momentum": 0.95},
    {"optimizer": "sign", "learning_rate_lsb": 1.0},
    {"logit_gain": 4.0},
    {"learning_rate_lsb": 60000.0},
  ],
)
def test_every_setting_of_the_closed_form(settings):
  equal("dense", "head", ClosedForm(**EXACT | settings))


@pytest.mark.parametrize("runtime", ["litert-reference", "tflm"])
@pytest.mark.parametrize("trainable", ["head", "bias", "all", "prompt"])
def test_signs_of_any_tensors(trainable, runtime):
  kind = "conv" if trainable == "prompt" else "dense"
  equal(kind, trainable, SignSPSA(**SIGNS), runtime=runtime)


@pytest.mark.parametrize(
  "settings",
  [
    {"num_directions": 3},
    {"num_directions": 3, "momentum": 0.9},
    {"num_directions": 64, "steps": 2},
    {"momentum": 0.9, "optimizer": "sign", "learning_rate_lsb": 0.5},
    {"batch_size": 4096},
    {"batch_size": 1, "seed": 2**64 - 1},
    {"epsilon_lsb": 1.5, "decay": "constant"},
    {"validation_fraction": 0.0, "steps": 5, "validate_every": 5},
  ],
)
def test_every_setting_of_signs(settings):
  equal("dense", "all", SignSPSA(**SIGNS | settings))


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("batch_size", [8, 64])
def test_a_direction_for_every_sample(gain, batch_size):
  method = PerSample(steps=6, batch_size=batch_size, seed=3)
  equal("conv", "prompt", method, gain=gain, kept=0)


@pytest.mark.parametrize("optimizer", ["sign", "sgd"])
def test_a_direction_for_every_sample_without_momentum(optimizer):
  method = PerSample(steps=6, optimizer=optimizer, momentum=0.0, scan=False)
  equal("conv", "prompt", method, gain=True, kept=0)


@pytest.mark.parametrize("method", [ClosedForm(**EXACT), SignSPSA(**SIGNS)])
def test_information_maximisation(method):
  equal("dense", "head", method, UNLABELLED)


def test_information_maximisation_with_a_direction_for_every_sample():
  method = PerSample(steps=6, seed=1)
  for kept in (0, 20):
    equal("conv", "prompt", method, UNLABELLED, gain=True, kept=kept)


def labels_of_outputs():
  return np.stack([Y % 2, (Y // 2) % 2, Y == 1, Y == 3], axis=1).astype("i8")


@pytest.mark.parametrize("method", [ClosedForm(**EXACT), SignSPSA(**SIGNS)])
@pytest.mark.parametrize("task", [BINARY_TASK, BINARY_UNLABELLED])
def test_outputs_that_stand_alone(method, task):
  equal("sigmoids", "head", method, task, y=labels_of_outputs())


def test_a_wide_head():
  equal("conv", "wide-head", ClosedForm(**EXACT | {"steps": 3}))


def test_a_phase_that_grows_worse_is_undone():
  wrong = Y.copy()
  wrong[:-20] = (wrong[:-20] + 1) % 4
  device, _ = equal("dense", "head", ClosedForm(**EXACT), y=wrong)
  assert device.progress().kept_step == 0


def test_a_head_of_64_features_trains_32_samples_in_four_kilobytes():
  found = mark_trainable("apps/kws/ds_cnn.tflite", "head")
  file = ModelFile.of(found.data)
  blob = micro.make_blob(file, found.mark, ClosedForm(pull=0.1))
  kernel = found.mark.trainable[0]
  assert kernel.shape[-1] == 64
  words, size = trainers.as_words(blob), ctypes.c_uint32()
  status = trainers.library().fg_required_bytes(
    ctypes.c_void_p(words.ctypes.data),
    ctypes.c_uint32(len(blob)),
    ctypes.c_uint32(32),
    ctypes.byref(size),
  )
  assert status == trainers.OK
  assert size.value <= 4096
