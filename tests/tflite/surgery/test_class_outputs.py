"""Outputs can be added to a head; the old ones keep their logits' bits."""

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg.runtimes.registry import is_installed, open_session
from tflm_fg.tflite import model_file, training_metadata
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery import class_outputs
from tflm_fg.training.metrics import logits_of


def _logits(model: bytes, runtime: str = "litert") -> np.ndarray:
  session = open_session(runtime, whole(model, unmarked(model)))
  return logits_of(session, (models.int8_samples((8,), 20),))


ENGINES = [r for r in ("litert", "tflm") if is_installed(r)]


@pytest.mark.parametrize("runtime", ENGINES)
@pytest.mark.parametrize("count", [1, 7])
def test_old_logits_stay_and_new_ones_start_at_the_bottom(count, runtime):
  model = models.dense_model()
  before = _logits(model, runtime)
  after = _logits(class_outputs.add_rows(model, count), runtime)
  old = before.shape[1]
  assert after.shape == (len(before), old + count)
  assert np.array_equal(after[:, :old], before)
  assert (after[:, old:] == -128).all()


@pytest.mark.parametrize("runtime", ENGINES)
def test_new_logits_may_start_at_zero_and_old_ones_stay(runtime):
  model = models.dense_model(softmax=False)
  before = _logits(model, runtime)
  after = _logits(class_outputs.add_rows(model, 2, at_zero=True), runtime)
  assert np.array_equal(after[:, :-2], before)
  assert (after[:, -2:] == models.SIGNED).all()  # the logits' zero point


def test_the_new_rows_can_be_trained():
  plan = class_outputs.add_rows(models.dense_model(), 1)
  x, y = models.separable(samples=64)
  y = np.where(y == 0, grown_class(plan), y)
  settings = options(method="closed-form", steps=200)
  report = tflm_fg.adapt(plan, x, y, **settings).report
  assert report["loss_after"] < report["loss_before"]


def grown_class(model: bytes) -> int:
  return _logits(model).shape[1] - 1


def test_a_mark_is_taken_off_and_the_file_verifies():
  marked = tflm_fg.mark_trainable(models.dense_model()).data
  plan = class_outputs.add_rows(marked, 2)
  assert training_metadata.read_mark(plan) is None
  assert model_file.ModelFile.open(plan).is_aligned
  assert plan == class_outputs.add_rows(models.dense_model(), 2)


def test_a_model_without_a_dense_head_is_refused():
  net = models.Network(0, False, True)
  x = net.activation("x", (1, 6, 5, 2), 4.0)
  flow = net.softmax(net.mean(net.convolution(x, 4, "conv")))
  model = net.finish([x.index], [flow.index])
  refused(
    lambda: class_outputs.add_rows(model, 1, "m.tflite"),
    "m.tflite: no FULLY_CONNECTED to add outputs to",
  )


def test_what_fixes_the_count_of_outputs_is_refused():
  net = models.Network(0, False, True)
  x = net.activation("x", (1, 8), 4.0)
  first = net.dense(x, 4, "first", reach=8.0)
  last = net.dense(first, 4, "last", reach=8.0)
  model = model_file.read(net.finish([x.index], [last.index]))
  model.subgraphs[0].outputs = np.array([first.index], np.int32)
  refused(
    lambda: class_outputs.add_rows(model_file.pack(model), 1, "m.tflite"),
    "its output is not the last FULLY_CONNECTED's",
  )


def test_no_rows_and_float_weights_are_refused():
  refused(lambda: class_outputs.add_rows(models.dense_model(), 0), "1 or more")
  refused(
    lambda: class_outputs.add_rows(models.float_model(), 1), "float32 weights"
  )


@pytest.mark.parametrize("runtime", ENGINES)
@pytest.mark.parametrize("count", [2, 9])
def test_a_fresh_head_prefers_no_class(count, runtime):
  made = class_outputs.new_rows(models.dense_model(), count)
  logits = _logits(made, runtime)
  assert logits.shape[1] == count
  assert len(np.unique(logits)) == 1


def test_a_fresh_head_is_a_plain_file():
  made = class_outputs.new_rows(models.dense_model(), 3)
  assert training_metadata.read_mark(made) is None
  assert model_file.ModelFile.open(made).is_aligned


def test_a_fresh_head_can_be_trained_from_chance():
  x, y = models.separable(samples=64)
  made = class_outputs.new_rows(models.dense_model(), int(y.max()) + 1)
  settings = options(method="closed-form", steps=200)
  report = tflm_fg.adapt(made, x, y, **settings).report
  assert report["loss_after"] < 0.7 * report["loss_before"]


def test_a_fresh_head_of_one_output_is_refused():
  refused(
    lambda: class_outputs.new_rows(models.dense_model(), 1, name="m.tflite"),
    "m.tflite: a fresh head needs 2 or more outputs",
  )
