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
  write_samples(folder, x, y, 24)
  return model, x[:24].astype(np.float32), y[:24].astype(np.int32)


def write_samples(folder, x, y, train):
  (folder / "data").mkdir()
  for name, part in (("train", slice(train)), ("test", slice(train, None))):
    x[part].astype("<f4").tofile(folder / f"data/{name}_x.bin")
    y[part].astype("<i4").tofile(folder / f"data/{name}_y.bin")


def remembered_and_trained(engine, x, y):
  """What get_weights gives, one output behind the other by name."""
  for one, label in zip(x, y):
    engine.get_signature_runner("remember")(x=one[None], y=label[None])
  engine.get_signature_runner("train")(
    steps=np.array([STEPS], np.int32), rate=np.array([RATE], np.float32)
  )
  held = engine.get_signature_runner("get_weights")()
  return b"".join(held[name].tobytes() for name in sorted(held))


def shuffled(count, epoch):
  """The order in which teachable.js shows samples."""
  return sorted(
    range(count), key=lambda i: (i + 7919 * epoch + 1) * 0x9E3779B1 % 2**32
  )


def test_node_adapts_the_input_as_python_does(tmp_path):
  """Samples are too soft, which an input prompt undoes."""
  site = node.site(tmp_path)
  marked = tflm_fg.mark_trainable(
    models.dense_model(),
    "prompt,head",
    graph_options=tflm_fg.GraphOptions(gain=True, common_gain=True),
  )
  model = to_signatures(marked, capacity=64, float_ends=True, batch_size=8).data
  (tmp_path / "T.tflite").write_bytes(model)
  x = np.random.default_rng(0).normal(0, 1.5, (60, 8)).astype(np.float32)
  infer = Interpreter(model_content=model).get_signature_runner("infer")
  y = [infer(x=one[None])["probabilities"].argmax() for one in x]
  x, y = np.float32(0.4) * x, np.array(y, np.int32)
  write_samples(tmp_path, x, y, len(y))
  given = tmp_path / "T.tflite", tmp_path / "data", tmp_path / "weights.bin"
  done = told(site / "node_run.mjs", "adapt", *given)
  engine = Interpreter(model_content=model)
  adapt, calls = engine.get_signature_runner("adapt_input"), 0
  changed = False
  for epoch in range(8):
    order = shuffled(len(y), epoch)
    for start in range(0, len(y), 8):
      taken = order[start : start + 8]
      batch, labels = np.zeros((8, 8), np.float32), np.full(8, -1, np.int32)
      batch[: len(taken)], labels[: len(taken)] = x[taken], y[taken]
      found = adapt(x=batch, y=labels, seed=np.array([calls], np.int32))
      changed |= bool(found["changed"][0])
      calls += 1
  assert done["changed"] is changed is True
  assert (tmp_path / "weights.bin").read_bytes() == remembered_and_trained(
    engine, x, y
  )


def told(*arguments):
  return json.loads(node.run(*arguments).splitlines()[-1])


def test_node_learns_the_bytes_that_python_learns_and_gives_them_back(tmp_path):
  site = node.site(tmp_path)
  model, x, y = sample_files(tmp_path)
  given = tmp_path / "T.tflite", tmp_path / "data", tmp_path / "weights.bin"
  first = told(site / "node_run.mjs", "train", *given)
  assert first["count"] == len(y)
  assert (tmp_path / "weights.bin").read_bytes() == remembered_and_trained(
    Interpreter(model_content=model), x, y
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
