"""In Node the file that trains itself gives the bytes that Python gets."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tflm_fg
from converters.to_signatures import to_signatures
from tests import models, node

TEACH = node.ROOT / "apps/samples/python/teach.py"

FORMS = {
  "head": tflm_fg.GraphOptions(),
  "prompt,head": tflm_fg.GraphOptions(gain=True, common_gain=True),
}


def sample_files(folder, trainable="head"):
  """A model with float ends, and samples with an offset a channel.

  An input prompt undoes that, so that `adapt_input` has something to learn.
  """
  marked = tflm_fg.mark_trainable(
    models.dense_model(), trainable, graph_options=FORMS[trainable]
  )
  model = to_signatures(
    marked, capacity=128, float_ends=True, batch_size=8
  ).data
  (folder / "T.tflite").write_bytes(model)
  x = np.random.default_rng(1).normal(0, 1.5, (110, 1, 8)).astype(np.float32)
  infer = Interpreter(model_content=model).get_signature_runner("infer")
  y = np.array([infer(x=one)["probabilities"].argmax() for one in x], "<i4")
  (folder / "data").mkdir()
  x += np.float32(2.5) * np.float32([-1, 1, 1, -1, 1, 1, -1, 1])
  for name, part in (("train", slice(90)), ("test", slice(90, None))):
    x[part].tofile(folder / f"data/{name}_x.bin")
    y[part].tofile(folder / f"data/{name}_y.bin")


def given(folder, weights):
  return folder / "T.tflite", folder / "data", folder / weights


def in_python(*arguments):
  done = subprocess.run(
    [sys.executable, TEACH, *arguments],
    capture_output=True,
    text=True,
    check=True,
  )
  return json.loads(done.stdout.splitlines()[-1])


def in_node(site, *arguments):
  return json.loads(node.run(site / "node_run.mjs", *arguments))


@pytest.mark.parametrize("trainable", FORMS)
def test_node_learns_what_python_learns_and_takes_it(tmp_path, trainable):
  """The same bytes; and what Python learned is there in another process."""
  site = node.site(tmp_path)
  sample_files(tmp_path, trainable)
  ours = in_node(site, "train", *given(tmp_path, "ours.bin"))
  theirs = in_python("train", *given(tmp_path, "theirs.bin"))
  learned = (tmp_path / "theirs.bin").read_bytes()
  assert (tmp_path / "ours.bin").read_bytes() == learned
  assert ours["changed"] == (trainable != "head")
  for name in ("before", "after", "count", "loss"):
    assert ours[name] == theirs[name]
  taken = in_node(site, "restore", *given(tmp_path, "theirs.bin"))
  assert (tmp_path / "theirs.bin").read_bytes() == learned
  assert (taken["before"], taken["after"]) == (ours["before"], ours["after"])


def test_weights_of_another_model_are_refused_in_one_line(tmp_path):
  site = node.site(tmp_path)
  sample_files(tmp_path)
  (tmp_path / "weights.bin").write_bytes(bytes(64))
  done = node.process(
    site / "node_run.mjs", "restore", *given(tmp_path, "weights.bin")
  )
  assert done.returncode == 1
  assert done.stdout == (
    "node_run: weights.bin holds no weights of this model\n"
  )
