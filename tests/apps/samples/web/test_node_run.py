"""In Node the file that trains itself gives the bytes that Python gets."""

from __future__ import annotations

import json

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import tflm_fg
from converters.float_ends import with_float_ends
from converters.to_signatures import to_signatures
from tests import models, node

STEPS, RATE = 42, 0.2  # as node_run.mjs has them


def sample_files(folder):
  """A model with float ends and samples, as apps/samples/make_data.py does."""
  marked = tflm_fg.mark_trainable(models.dense_model())
  model = with_float_ends(to_signatures(marked, capacity=32).data)
  (folder / "T.tflite").write_bytes(model)
  x, y = models.separable(samples=48)
  (folder / "data").mkdir()
  for name, part in (("train", slice(0, 24)), ("test", slice(24, 48))):
    x[part].astype("<f4").tofile(folder / f"data/{name}_x.bin")
    y[part].astype("<i4").tofile(folder / f"data/{name}_y.bin")
  return model, x[:24].astype(np.float32), y[:24].astype(np.int32)


def trained_in_python(model, x, y):
  """What get_weights gives, one output behind the other by name."""
  engine = Interpreter(model_content=model)
  for one, label in zip(x, y):
    engine.get_signature_runner("remember")(x=one[None], y=label[None])
  engine.get_signature_runner("train")(
    steps=np.array([STEPS], np.int32), rate=np.array([RATE], np.float32)
  )
  held = engine.get_signature_runner("get_weights")()
  return b"".join(held[name].tobytes() for name in sorted(held))


def told(*arguments):
  return json.loads(node.run(*arguments).splitlines()[-1])


def test_node_learns_the_bytes_that_python_learns_and_gives_them_back(tmp_path):
  site = node.site(tmp_path)
  model, x, y = sample_files(tmp_path)
  given = tmp_path / "T.tflite", tmp_path / "data", tmp_path / "weights.bin"
  first = told(site / "node_run.mjs", "train", *given)
  assert first["count"] == len(y)
  assert (tmp_path / "weights.bin").read_bytes() == trained_in_python(
    model, x, y
  )
  second = told(site / "node_run.mjs", "restore", *given)
  assert second["before"] == first["before"]
  assert second["after"] == first["after"]


def test_weights_of_another_model_are_refused_in_one_line(tmp_path):
  site = node.site(tmp_path)
  sample_files(tmp_path)
  (tmp_path / "weights.bin").write_bytes(bytes(64))
  done = node.process(
    site / "node_run.mjs", "restore", tmp_path / "T.tflite",
    tmp_path / "data", tmp_path / "weights.bin",
  )  # fmt: skip
  assert done.returncode == 1
  assert done.stdout == "node_run: weights.bin holds no weights of this model\n"
