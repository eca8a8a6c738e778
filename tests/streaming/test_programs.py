"""What the other commands say of a model with state, and real files."""

import functools
import importlib.util
import pathlib

import numpy as np
import pytest

import tflm_fg
from tests import models, programs
from tests.refusals import refused
from tests.stream_models import STEP, stream_model
from tflm_fg.runtimes.registry import is_installed
from tflm_fg.streaming import StreamModel
from tflm_fg.tflite import model_file

MODEL = stream_model(initial=40)
X = np.zeros((8, *STEP), np.int8)
Y = np.arange(8) % 2


def test_inspecting_describes_the_state_and_says_what_adapts_it():
  report = tflm_fg.inspect(MODEL)
  assert report["state"] == [
    {
      "name": name,
      "kind": "resource variable",
      "shape": list(shape),
      "dtype": "int8",
      "bytes": int(np.prod(shape)),
      "starts_at_zero_point": False,
    }
    for name, shape in (("rows", (1, 3, 1, 4)), ("features", (1, 1, 1, 6)))
  ]
  (note,) = report["notes"]
  assert "tflm-fg-wake" in note
  assert report["tensors"] == []
  kernel, bias = report["last_layer"]
  assert (kernel["role"], kernel["shape"]) == ("kernel", [1, 12])
  assert (bias["role"], bias["bytes"]) == ("bias", 4)


def test_inspecting_says_why_a_last_layer_cannot_train():
  model = model_file.read(MODEL)
  for op in model.subgraphs[0].operators:
    if model_file.op_name(model, op) == "FULLY_CONNECTED":
      op.builtinOptions.fusedActivationFunction = 1
  report = tflm_fg.inspect(model_file.pack(model))
  assert report["last_layer"] == []
  assert "has a ReLU behind it" in report["notes"][1]


def test_the_program_prints_the_state(tmp_path):
  (tmp_path / "m.tflite").write_bytes(MODEL)
  given = ("--model=m.tflite", "--report=r.json")
  done = programs.run(tmp_path, "apps.inspect_model", *given)
  assert done.returncode == 0
  assert "state, kept from step to step, 18 bytes:" in done.stdout
  assert "rows (resource variable, starts from other numbers)" in done.stdout
  assert "FULLY_CONNECTED: kernel 1x12 int8, 12 bytes" in done.stdout
  assert "tflm-fg-wake" in done.stdout
  assert (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
  "call",
  [
    lambda: tflm_fg.adapt(MODEL, X, Y),
    lambda: tflm_fg.evaluate(MODEL, X, Y),
    lambda: tflm_fg.mark_trainable(MODEL),
  ],
  ids=["adapt", "evaluate", "convert"],
)
def test_what_takes_samples_refuses_it_and_names_the_program(call):
  refused(call, "resource variables (CALL_ONCE, VAR_HANDLE", "tflm-fg-wake")


def test_state_that_every_sample_resets_is_described_and_trains():
  report = tflm_fg.inspect(models.recurrent_model())
  assert {row["kind"] for row in report["state"]} == {"variable tensor"}
  assert report["tensors"]


WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
NOISE = np.random.default_rng(0).integers(-128, 128, (60, 3, 40), np.int8)


@functools.cache
def wake_word(word, runtime):
  """A published model, opened."""
  if not importlib.util.find_spec("pymicro_wakeword"):
    pytest.skip("pymicro-wakeword is not installed")
  if not is_installed(runtime):
    pytest.skip(f"{runtime} is not installed")
  package = importlib.util.find_spec("pymicro_wakeword").origin
  path = pathlib.Path(package).parent / "models" / f"{word}.tflite"
  return StreamModel.open(path, runtime)


@pytest.mark.parametrize("runtime", ["litert", "tflm"])
@pytest.mark.parametrize("word", WORDS)
def test_real_wake_words_give_the_same_bytes_in_every_way(word, runtime):
  model = wake_word(word, runtime)
  assert len(model.state) == 6
  assert model.step_shape == (3, 40)
  read = model.head_inputs(NOISE)
  bias = middle(model.head, read)
  near = StreamModel.open(model.with_head(None, bias), runtime)
  wanted = near.run(NOISE)
  assert len(np.unique(wanted)) > 9
  outside = StreamModel.open(near.file, runtime, state="external")
  assert np.array_equal(outside.run(NOISE), wanted)
  assert np.array_equal(model.head_outputs(read, None, bias), wanted)


@pytest.mark.parametrize("word", WORDS)
def test_reference_kernels_read_the_very_numbers_that_tflm_reads(word):
  """So what is trained on them is trained for a microcontroller."""
  one, other = (
    wake_word(word, runtime).head_inputs(NOISE)
    for runtime in ("litert-reference", "tflm")
  )
  assert np.array_equal(one, other)


def middle(head, read):
  """The bias with which noise, which is no word, gets middling answers."""
  sums = (read.astype(np.int64) - head.input_zero_point) @ head.weights[0]
  return -np.median(sums, keepdims=True).astype(np.int32)
