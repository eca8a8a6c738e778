"""Programs print what a file needs, and write none that its target refuses."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from tests import models
from tests.apps.test_programs import Folder
from tests.tflite.test_outside import with_labels
from tflm_fg.runtimes import is_installed

needs_tflm = pytest.mark.skipif(not is_installed("tflm"), reason="needs tflm")


@pytest.fixture
def folder(tmp_path):
  made = Folder(tmp_path)
  made.write("model.tflite", with_labels(models.deep_model()))
  return made


def only_in_litert():
  """x [1, 8] -> dense, RELU_N1_TO_1 -> dense, 4 logits."""
  net = models.Network(0)
  x = net.activation("x", (1, 8), 4.0, models.FEATURES)
  flow = net.dense(x, 16, "hidden")
  bent = net.activation("bent", (1, 16), 4.0)
  net.operator("RELU_N1_TO_1", [flow.index], bent.index)
  flow = net.dense(bent, 4, "head", reach=8.0)
  return net.finish([x.index], [flow.index])


def test_adapt_and_convert_print_and_report_what_the_file_needs(folder):
  printed = folder.done(
    "adapt",
    *folder.adapt_flags(
      "--trainable=wide-head", "--method=closed-form", "--report=r.json"
    ),
  )
  needs = json.loads(folder.read("r.json"))["needs"]
  assert "AddConcatenation()" in printed
  rows = {row["name"]: row for row in needs["new_operators"]}
  assert rows["CONCATENATION"]["resolver"] == "AddConcatenation()"
  assert needs["model_bytes"] == len(folder.read("out.tflite"))
  printed = folder.done(
    "convert", "--model=model.tflite", "--trainable=prompt", "--out=m.tflite",
    "--report=c.json",
  )  # fmt: skip
  assert "ADD (version 2); in TFLM: AddAdd()" in printed
  report = json.loads(folder.read("c.json"))
  assert [row["name"] for row in report["needs"]["new_operators"]] == ["ADD"]
  for name in ("out.tflite", "m.tflite"):
    archive = zipfile.ZipFile(io.BytesIO(folder.read(name)))
    assert archive.read("labels.txt") == b"yes\nno\n"


@needs_tflm
def test_a_file_that_tflm_does_not_run_is_not_written_for_it(folder):
  folder.write("odd.tflite", only_in_litert())
  x, y = models.separable(samples=48)
  np.savez(folder.path / "odd.npz", x=x, y=y)
  flags = folder.adapt_flags(
    "--model=odd.tflite", "--train=odd.npz", "--target=tflm"
  )
  for program, given in (
    ("adapt", flags),
    ("convert", ["--model=odd.tflite", "--out=out.tflite", "--target=tflm"]),
  ):
    line = folder.refused(program, *given)
    assert "odd.tflite: not for --target=tflm" in line
    assert "RELU_N1_TO_1" in line
  printed = folder.done("convert", "--model=odd.tflite", "--out=out.tflite")
  assert "tflm does not run it" in printed


def test_with_the_same_operators_programs_add_none_and_refuse_by_name(folder):
  line = folder.refused(
    "convert", "--model=model.tflite", "--out=out.tflite", "--operators=same",
    "--trainable=wide-head",
  )  # fmt: skip
  assert "CONCATENATION version 2" in line and "--operators=same" in line
  printed = folder.done("adapt", *folder.adapt_flags("--operators=same"))
  assert "it needs no operator that it did not need before" in printed
