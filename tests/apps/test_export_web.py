"""A model for a page has ends of floats, and LiteRT.js runs it in Node."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tflm_fg
from tests import models, node
from tests.programs import run
from tflm_fg.tflite import read_mark

MODELS = {
  "int8": models.dense_model,
  "int16": lambda: models.dense_model(wide=True),
  "uint8": lambda: models.uint8_model(models.dense_model(per_channel=False)),
  "marked": lambda: tflm_fg.mark_trainable(models.dense_model()).data,
}


def exported(folder, kind, *flags):
  (folder / f"{kind}.tflite").write_bytes(MODELS[kind]())
  return run(
    folder,
    "apps.export",
    f"--model={kind}.tflite",
    "--target=web",
    f"--out={kind}_page.tflite",
    *flags,
  )


def test_what_is_printed_names_sizes_and_ends(tmp_path):
  done = exported(tmp_path, "int8")
  assert done.returncode == 0, done.stderr
  made = (tmp_path / "int8_page.tflite").stat().st_size
  assert done.stdout.splitlines() == [
    f"int8_page.tflite: {made:,} bytes, "
    f"{made - len(MODELS['int8']()):,} more than int8.tflite",
    "(x float32 [1, 8]) -> softmax float32 [1, 4]",
  ]


def test_a_mark_is_taken_off_since_its_ends_are_no_more(tmp_path):
  assert exported(tmp_path, "marked").returncode == 0
  assert read_mark((tmp_path / "marked_page.tflite").read_bytes()) is None


def test_the_model_itself_is_not_overwritten(tmp_path):
  done = exported(tmp_path, "int8", "--out=int8.tflite")
  assert done.returncode == 1
  assert len(done.stderr.splitlines()) == 1
  assert (tmp_path / "int8.tflite").read_bytes() == MODELS["int8"]()


def test_litert_js_runs_all_of_them_and_refuses_int8(tmp_path):
  """In one start of Node, within a step of the output of each."""
  site = node.site(tmp_path)
  x = np.linspace(-4, 3.9, 8 * 8, dtype=np.float32).reshape(8, 1, 8)
  x.tofile(tmp_path / "x.bin")
  for kind in MODELS:
    assert exported(tmp_path, kind).returncode == 0
  said = json.loads(
    node.run(site / "load_run.mjs", tmp_path / "x.bin",
             *(tmp_path / f"{k}.tflite" for k in ("int8", "int16")),
             *(tmp_path / f"{k}_page.tflite" for k in MODELS))
  )  # fmt: skip
  assert "INT8 is not supported" in said[0]
  assert "INT16 is not supported" in said[1]
  for kind, found in zip(MODELS, said[2:]):
    engine = Interpreter(str(tmp_path / f"{kind}_page.tflite"))
    engine.allocate_tensors()
    takes, gives = engine.get_input_details()[0], engine.get_output_details()[0]
    for one, numbers in zip(x, found):
      engine.set_tensor(takes["index"], one)
      engine.invoke()
      wanted = engine.get_tensor(gives["index"])[0]
      np.testing.assert_allclose(numbers, wanted, atol=1 / 256 + 1e-6)


@pytest.mark.parametrize("flag", ["--model=absent.tflite", "--model=x.bin"])
def test_what_is_no_model_is_refused_in_one_line(tmp_path, flag):
  (tmp_path / "x.bin").write_bytes(b"no model at all")
  done = exported(tmp_path, "int8", flag)
  assert done.returncode == 1
  assert len(done.stderr.splitlines()) == 1
  assert not (tmp_path / "int8_page.tflite").exists()
