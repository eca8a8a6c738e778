"""The program writes a file that trains itself, or one line and nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests import models
from tests.converters.test_to_signatures import runners
from tests.programs import run


def exported(folder, model, *flags):
  (folder / "model.tflite").write_bytes(model)
  return run(
    folder,
    "apps.export",
    "--model=model.tflite",
    "--target=signatures",
    "--out=T.tflite",
    *flags,
  )


def test_it_prints_sizes_signatures_and_the_memory_that_training_takes(
  tmp_path,
):
  model = models.dense_model()
  done = exported(tmp_path, model, "--trainable=head", "--capacity=2000")
  assert done.returncode == 0, done.stderr
  size = (tmp_path / "T.tflite").stat().st_size
  assert done.stdout.splitlines()[:3] == [
    f"T.tflite: {size:,} bytes, {size - len(model):,} more than model.tflite",
    "training takes about 1 MB of memory; a lower --capacity takes less",
    "remember(x int8 [1, 8], y int32 [1]) -> count int32 [1]",
  ]
  run_of = runners((tmp_path / "T.tflite").read_bytes())
  x = np.zeros((1, 8), np.int8)
  assert run_of["remember"](x=x, y=np.int32([3]))["count"] == 1


def test_with_float_ends_no_other_types_cross(tmp_path):
  done = exported(tmp_path, models.dense_model(), "--io=float32")
  assert done.returncode == 0, done.stderr
  table = done.stdout.splitlines()[1:]
  assert any("x float32 [1, 8]" in line for line in table)
  assert not any("int8" in line for line in table)


@pytest.mark.parametrize(
  ("model", "flags", "status", "word"),
  [
    (models.dense_model(wide=True), ("--trainable=head",), 1, "int16"),
    (models.dense_model(), ("--capacity=3000",), 1, "8 to 2048"),
    (models.dense_model(), ("--capacity=2",), 2, "capacity"),
    (models.dense_model(), ("--io=int8",), 2, "io"),
    (models.dense_model(), ("--steps=5",), 1, "leave it out"),
    (models.dense_model(), ("--learned=w.bin",), 1, "--target=patch"),
    (models.dense_model(), ("--out=model.tflite",), 1, "--model"),
    (b"no model", (), 1, "model.tflite"),
  ],
)
def test_what_cannot_train_itself_is_one_line_and_leaves_nothing(
  model, flags, status, word, tmp_path
):
  done = exported(tmp_path, model, *flags)
  assert done.returncode == status
  assert word in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]
  assert (tmp_path / "model.tflite").read_bytes() == model
