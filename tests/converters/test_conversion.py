"""A conversion runs in a child: its ends are results or one clear line."""

import json

import numpy as np
import pytest

from converters import comparison, conversion, conversion_child, float_file
from tests import models
from tflm_fg.tflite import ModelFile
from tflm_fg.types import TflmFgError

SAMPLES = np.random.default_rng(0).normal(0, 1, (30, 8)).astype("f4")

BEGIN = """
import json, os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
request = json.loads((folder / "request.json").read_text())
def note(**answer): (folder / "answer.json").write_text(json.dumps(answer))
def crash(number): os.kill(os.getpid(), number)
print("noise of TensorFlow")
print("stage: quantizing", flush=True)
"""


@pytest.fixture
def child(monkeypatch):
  """Puts a few lines in the child's place; gives the lines that were told."""
  told = []

  def convert(lines, samples=SAMPLES):
    monkeypatch.setattr(conversion, "CHILD", BEGIN + lines)
    return conversion.convert("m.keras", samples, "int8", told.append)

  convert.told = told
  return convert


def test_the_child_gets_the_samples_and_gives_a_file_and_a_comparison(child):
  made = child("""
import numpy as np
assert request == {"path": "m.keras", "activations": "int8", "unroll": False}
note(comparison={"samples": len(np.load(folder / "samples.npy")),
  "same_answer": 0.5, "mean_difference": 0.25, "output_step": 0.125})
(folder / "model.tflite").write_bytes(b"TFL3")
""")
  assert made.data == b"TFL3"
  assert child.told == ["quantizing"]
  assert made.comparison.line() == (
    "on 30 calibration samples the integer file differs from the float model "
    "by 0.25 on average (2.0 output steps); its largest output is the same in "
    "50.0%"
  )


def test_what_the_child_refuses_is_said_in_its_words(child):
  with pytest.raises(TflmFgError, match=r"^m.keras: no samples$"):
    child("note(error='m.keras: no samples')")


def test_a_crash_names_the_signal_the_stage_and_a_cure(child):
  with pytest.raises(TflmFgError) as refused:
    child("crash(signal.SIGSEGV)")
  line = str(refused.value)
  assert "m.keras" in line and "SIGSEGV" in line and "quantizing" in line
  assert "unroll=True" in line and "\n" not in line


def test_a_child_that_the_system_killed_points_to_memory(child):
  with pytest.raises(TflmFgError, match=r"SIGKILL.*enough memory"):
    child("crash(signal.SIGKILL)")


def test_a_child_that_ends_without_a_file_gives_its_last_words(child):
  with pytest.raises(TflmFgError, match=r"exit status 3.*the last words"):
    child("print('the last words', file=sys.stderr); sys.exit(3)")


def test_recurrent_layers_are_tried_again_unrolled(child):
  made = child("""
if not request["unroll"]:
  note(recurrent={"lstm": 16})
  crash(signal.SIGSEGV)
(folder / "model.tflite").write_bytes(b"TFL3")
note()
""")
  assert made.data == b"TFL3"
  assert [line for line in child.told if "lstm unrolled" in line]


def test_a_crash_of_unrolled_layers_is_final(child):
  with pytest.raises(TflmFgError, match="also with its recurrent layers"):
    child("note(recurrent={'lstm': 16} if not request['unroll'] else {})\n"
          "crash(signal.SIGSEGV)")  # fmt: skip


def test_too_many_steps_are_not_unrolled(child):
  with pytest.raises(TflmFgError, match="lstm has more than 256 steps"):
    child("note(recurrent={'lstm': 257}); crash(signal.SIGSEGV)")


@pytest.mark.tensorflow
def test_an_unrolled_lstm_converts_and_answers_as_its_float_model(tmp_path):
  import keras

  keras.utils.set_random_seed(0)
  layers = [keras.Input((3, 4)), keras.layers.LSTM(5), keras.layers.Dense(3)]
  keras.Sequential(layers).save(tmp_path / "m.keras")
  x = np.random.default_rng(0).normal(0, 1, (20, 3, 4)).astype("f4")
  answer = {}
  request = {
    "path": str(tmp_path / "m.keras"),
    "activations": "int8",
    "unroll": True,
  }
  data = conversion_child._from_model(request, x, answer, tmp_path)
  assert float_file.kind_of(ModelFile.open(data)) == "integer"
  assert answer["comparison"]["same_answer"] >= 0.9
  request["unroll"] = False
  with pytest.raises(TflmFgError, match="--calibration"):
    conversion_child._from_model(request, None, answer, tmp_path)


@pytest.mark.tensorflow
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_a_float_tflite_becomes_an_integer_one(tmp_path, activations):
  (tmp_path / "f.tflite").write_bytes(models.float_model())
  answer = {}
  request = {"path": str(tmp_path / "f.tflite"), "activations": activations}
  x = SAMPLES[:, :4]
  data = conversion_child._from_file(request, x, answer, tmp_path)
  file = ModelFile.open(data)
  assert float_file.kind_of(file) == "integer"
  ends = (*file.subgraph.inputs, *file.subgraph.outputs)
  assert {file.subgraph.tensors[i].dtype for i in ends} == {activations}
  found = comparison.Comparison(**answer["comparison"])
  assert found.mean_difference < 2 * found.output_step
  with pytest.raises(TflmFgError, match="samples of shape"):
    conversion_child._from_file(request, SAMPLES, answer, tmp_path)


def test_kinds_of_files_are_told_apart_and_each_has_its_cure():
  kinds = {
    "float": models.float_model(),
    "dynamic-range": models.float_model("int8"),
    "integer": models.dense_model(),
  }
  for kind, data in kinds.items():
    assert float_file.kind_of(ModelFile.open(data)) == kind
  assert "add --calibration" in float_file.cure("m", "float")
  assert "it was made from" in float_file.cure("m", "dynamic-range")


def test_equal_models_do_not_differ_and_others_do():
  data = models.dense_model()
  run = comparison.file_outputs(data)

  def same(sample):
    return [value for value, _ in run(sample)]

  equal = comparison.compare(same, data, SAMPLES)
  assert (equal.same_answer, equal.mean_difference) == (1.0, 0.0)
  assert equal.samples == 30 and equal.output_step == pytest.approx(1 / 256)

  def other(sample):
    return [value[:, ::-1] for value in same(sample)]

  assert comparison.compare(other, data, SAMPLES).same_answer < 0.5
  assert comparison.compare(lambda x: [np.zeros(9)], data, SAMPLES) is None


def test_the_answer_of_a_child_is_json_that_a_crash_leaves_behind(tmp_path):
  conversion_child._note(tmp_path, {"recurrent": {"lstm": 3}})
  found = json.loads((tmp_path / "answer.json").read_text())
  assert found == {"recurrent": {"lstm": 3}}
