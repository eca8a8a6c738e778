"""A stream's model is opened, cut and written; what it cannot do, it says."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest

from tests import models
from tests.refusals import refused
from tests.stream_models import STEP, stream_model
from tflm_fg.runtimes.registry import is_installed
from tflm_fg.streaming import StreamModel, changed_bytes
from tflm_fg.streaming.runner import MOST_TOGETHER
from tflm_fg.tflite import model_file
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.types import NotApplicable

MODEL = stream_model()
X = models.int8_samples(STEP, 30)
SPOTTER = pathlib.Path("apps/kws/ds_cnn.tflite")


def opened(data=MODEL, runtime="litert", **given):
  return StreamModel.open(data, runtime, **given)


def edited(change, data=MODEL):
  model = model_file.read(data)
  change(model)
  return model_file.pack(model)


def test_a_model_says_what_a_step_and_an_answer_are():
  model = opened()
  assert model.step_shape == STEP
  assert (model.input_dtype, model.input_zero_point) == ("int8", models.SIGNED)
  assert model.input_scale == pytest.approx(4 / 127)
  assert (model.output_dtype, model.output_zero_point) == ("uint8", 0)
  assert model.output_scale == 1 / 256
  assert model.num_outputs == 1
  assert [state.name for state in model.state] == ["rows", "features"]
  assert model.notes == ()


def test_a_path_bytes_and_an_opened_file_are_the_same(tmp_path):
  path = tmp_path / "m.tflite"
  path.write_bytes(MODEL)
  wanted = opened().run(X)
  for given in (path, os.fspath(path), ModelFile.open(MODEL)):
    assert np.array_equal(opened(given).run(X), wanted)


def test_many_steps_without_state_are_run_in_batches_of_any_size():
  model = opened(models.dense_model())
  x = models.int8_samples(model.step_shape, 2 * MOST_TOGETHER + 3)
  whole = model.run(x)
  assert np.array_equal(model.run(x[-5:]), whole[-5:])
  assert np.array_equal(model.head_outputs(model.head_inputs(x)), whole)


def test_steps_may_have_their_batch_axis():
  model = opened()
  assert np.array_equal(model.run(X[:, None]), model.run(X))


def test_an_empty_stream_gives_no_answers():
  model = opened()
  assert model.run(X[:0]).shape == (0, 1)
  assert model.head_inputs(X[:0]).shape == (0, 12)
  assert model.head_outputs(model.head_inputs(X[:0])).shape == (0, 1)


@pytest.mark.parametrize(
  "x", [X.astype(np.float32), X[:, :1], X[0], np.int8(3)], ids=str
)
def test_steps_of_another_form_are_refused(x):
  refused(lambda: opened().run(x), "need int8 [T, 2, 4]")


@pytest.mark.parametrize("x", [np.float32(X[0]), X[0, :1], X], ids=str)
def test_a_stepper_refuses_what_a_run_refuses(x):
  refused(lambda: opened().stepper().step(x), "need int8 [T, 2, 4]")


@pytest.mark.parametrize("runtime", ["litert", "tflm"])
def test_constants_behind_the_flatbuffer_run_and_are_written_there(runtime):
  if not is_installed(runtime):
    pytest.skip(f"{runtime} is not installed")
  data = models.outside(MODEL, least=12)
  model = opened(data, runtime)
  assert np.array_equal(model.run(X), opened(MODEL, runtime).run(X))
  after = model.with_head(-model.head.weights)
  assert len(changed_bytes(data, after)) >= 9
  written = opened(after, runtime).run(X)
  read = model.head_inputs(X)
  assert np.array_equal(written, model.head_outputs(read, -model.head.weights))


def test_the_head_gives_the_integers_of_the_last_layer():
  """Its sums and scales give the logits that the engine gives."""
  model = opened(stream_model(outputs=3, bends=""), "litert-reference")
  head, read = model.head, model.head_inputs(X).astype(np.int64)
  sums = head.bias + (read - head.input_zero_point) @ head.weights.T
  units = np.array(head.bias_scales) / head.logit_scale
  assert np.allclose(
    head.bias_scales, head.input_scale * np.array(head.weight_scales)
  )
  logits = np.clip(sums * units + head.logit_zero_point, -128, 127)
  assert np.abs(logits - model.run(X)).max() <= 0.501
  assert (head.num_outputs, head.num_features) == (3, 12)


@pytest.mark.parametrize(
  ("data", "activation", "grid"),
  [
    (MODEL, "LOGISTIC", (1 / 256, 0, "uint8")),
    (
      stream_model(outputs=2, bends="SOFTMAX"),
      "SOFTMAX",
      (1 / 256, 0, "uint8"),
    ),
    (stream_model(signed=True), "LOGISTIC", (1 / 256, -128, "int8")),
  ],
)
def test_the_head_says_what_stands_behind_it(data, activation, grid):
  head = opened(data).head
  assert head.activation == activation
  assert (head.output_scale, head.output_zero_point, head.output_dtype) == grid


def test_a_new_head_changes_the_bytes_of_its_constants_alone():
  model = opened()
  head, file = model.head, model.file
  bias = head.bias + 1
  after = model.with_head(-head.weights, bias)
  changed = changed_bytes(MODEL, after)
  kernel, added = (t.index for t in model._cut.trainable)
  own = {
    place
    for index in (kernel, added)
    for place in range(file.span(index)[0], sum(file.span(index)))
  }
  assert set(changed.tolist()) <= own
  assert len(changed) >= 12
  assert model.with_head() == MODEL
  again = opened(after).head
  assert np.array_equal(again.weights, -head.weights)
  assert np.array_equal(again.bias, bias)


def test_changed_bytes_want_two_files_of_one_layout():
  assert changed_bytes(MODEL, MODEL).size == 0
  refused(lambda: changed_bytes(MODEL, MODEL + b"x"), "layout")


@pytest.mark.parametrize(
  ("weights", "bias", "words"),
  [
    (np.zeros((1, 11), np.int8), None, ("weights", "[1, 12]")),
    (np.zeros((1, 12)), None, ("weights", "need integers")),
    (np.full((1, 12), 128), None, ("weights", "128", "int8 holds")),
    (None, np.array([1 << 31]), ("bias", "int32 holds")),
    (None, np.zeros(2, np.int32), ("bias", "[1]")),
  ],
)
def test_a_head_that_does_not_fit_is_refused(weights, bias, words):
  model = opened()
  refused(lambda: model.with_head(weights, bias), *words)
  read = model.head_inputs(X)
  refused(lambda: model.head_outputs(read, weights, bias), *words)


def test_head_inputs_of_another_form_are_refused():
  model = opened()
  for x in (np.zeros((3, 11), np.int8), np.zeros((3, 12)), np.int8(1)):
    refused(lambda x=x: model.head_outputs(x), "need int8 [T, 12]")


def shared_bias(model):
  """The last layer's bias and another constant in one buffer."""
  graph = model.subgraphs[0]
  (head,) = (t for t in graph.tensors if t.name == b"head/bias")
  twin = models.copy.deepcopy(head)
  twin.name = b"twin"
  model.subgraphs[-1].tensors.append(twin)


def test_a_shared_constant_is_copied_before_it_is_written():
  data = edited(shared_bias)
  model = opened(data)
  assert len(model.notes) == 1
  assert "head/bias" in model.notes[0]
  assert "a buffer of its own" in model.notes[0]
  assert np.array_equal(model.run(X), opened().run(X))
  held = model.file.unpack()
  after = model_file.read(model.with_head(None, model.head.bias + 77))
  (twin,) = (t for t in after.subgraphs[-1].tensors if t.name == b"twin")
  kept = after.buffers[twin.buffer].data
  assert bytes(kept) == opened().head.bias.tobytes()
  assert len(held.buffers) > len(model_file.read(data).buffers)


def no_bias(model):
  for op in model.subgraphs[0].operators:
    if model_file.op_name(model, op) == "FULLY_CONNECTED":
      op.inputs = np.array([*op.inputs[:2], -1], np.int32)


def test_a_dropped_bias_is_put_back():
  model = opened(edited(no_bias))
  assert model.head.bias.tolist() == [0]
  assert any("a bias of zeros put back" in note for note in model.notes)
  moved = opened(model.with_head(None, model.head.bias + 5000))
  assert not np.array_equal(moved.run(X), model.run(X))
  assert np.array_equal(moved.head_inputs(X), model.head_inputs(X))


def test_a_state_that_the_last_layer_makes_is_no_frozen_part():
  """The sum is written to a variable too, so a new head would change it."""

  def circle(model):
    assign = model.subgraphs[0].operators[-1]
    graph = model.subgraphs[0]
    head = next(
      op
      for op in graph.operators
      if model_file.op_name(model, op) == "FULLY_CONNECTED"
    )
    assign.inputs = np.array([assign.inputs[0], head.outputs[0]], np.int32)

  model = opened(edited(circle), "litert", state="variables")
  with pytest.raises(NotApplicable, match="state depends on the last layer"):
    model.head  # noqa: B018


def float_head():
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  flow = net.tensor("floats", (1, 8), "float32")
  net.operator("DEQUANTIZE", [x.index], flow, None, 2)
  kernel = net.tensor("kernel", (2, 8), "float32", data=np.ones((2, 8)))
  out = net.tensor("out", (1, 2), "float32")
  options = models.schema.FullyConnectedOptionsT()
  net.operator("FULLY_CONNECTED", [flow, kernel, -1], out, options, 1)
  return net.finish([x.index], [out])


def relu_head():
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  return net.finish([x.index], [net.dense(x, 3, "head", relu=True).index])


@pytest.mark.parametrize(
  ("data", "words"),
  [
    (float_head(), "float32 weights"),
    (relu_head(), "has a ReLU behind it"),
    (models.dense_model(wide=True), "reads int16"),
    (
      models.uint8_model(models.dense_model(per_channel=False)),
      "tflm-fg-convert rewrites the file",
    ),
    (models.shaped_head_model("pooled"), "over several positions"),
  ],
  ids=["float", "relu", "int16", "uint8", "positions"],
)
def test_a_model_without_a_head_that_trains_still_runs(data, words):
  model = opened(data)
  x = np.zeros((3, *model.step_shape), model.input_dtype)
  assert model.run(x).shape[0] == 3
  with pytest.raises(NotApplicable, match=words):
    model.head_inputs(x)


@pytest.mark.parametrize("runtime", ["litert", "litert-xnnpack"])
def test_windows_of_the_shipped_spotter_run_as_steps(runtime):
  model = opened(SPOTTER, runtime)
  assert model.state == ()
  assert model.step_shape == (49, 40, 1)
  x = models.int8_samples(model.step_shape, 5)
  read = model.head_inputs(x)
  assert read.shape == (5, 64)
  assert np.array_equal(model.head_outputs(read), model.run(x))
  assert np.array_equal(model.stepper().step(x[3]), model.run(x)[3])


def test_unknown_and_missing_choices_are_refused_by_name():
  refused(lambda: opened(runtime="none"), "runtime 'none'", "litert")
  refused(lambda: opened(state="none"), "state 'none'", "external")
  refused(lambda: opened(input="none"), "input 'none'")
  refused(lambda: opened(output=7), "output '7'")
  refused(lambda: opened(b"no model"), "model: ", ".tflite")


def test_a_file_that_sets_nothing_is_run_with_its_state_outside():
  """LiteRT does not read a variable that nobody has set."""
  refused(lambda: opened(stream_model("unset"), state="variables"), "litert")
  assert len(opened(stream_model("unset")).run(X)) == len(X)


def test_an_opened_model_cannot_be_changed_through_its_head():
  head = opened().head
  with pytest.raises(dataclasses.FrozenInstanceError):
    head.activation = "SOFTMAX"
