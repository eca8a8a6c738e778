"""The benchmark's reference is backpropagation, and its table is whole."""

import csv

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra kws")

from apps import benchmark
from tests import models, programs


def loss(x, y, weights):
  logits = x @ weights
  logits = logits - logits.max(axis=1, keepdims=True)
  logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  return -logs[np.arange(len(y)), y].mean()


def test_descent_ends_where_the_gradient_is_small():
  random = np.random.default_rng(0)
  x = np.hstack([random.normal(0, 1, (200, 4)), np.ones((200, 1))])
  y = random.integers(0, 3, 200)  # no structure: the optimum is inside
  weights = benchmark.descend(x, y, np.zeros((5, 3)))
  best = loss(x, y, weights)
  for _ in range(50):
    nearby = weights + random.normal(0, 0.05, weights.shape)
    assert loss(x, y, nearby) > best - 1e-3


def test_descent_learns_what_can_be_separated():
  x, y = models.separable()
  x = np.hstack([x, np.ones((len(x), 1))])
  weights = benchmark.descend(x, y, np.zeros((x.shape[1], 4)))
  assert ((x @ weights).argmax(axis=1) == y).mean() > 0.95


def test_the_program_prints_a_row_a_data_set_and_writes_a_row_a_run(tmp_path):
  x, y = models.separable(clips=300)
  np.savez(tmp_path / "clips.npz", x=x, y=y)
  (tmp_path / "model.tflite").write_bytes(models.dense_model())
  flags = [
    "--model=model.tflite",
    "--data=clips.npz",
    "--train_clips=200",
    "--test_clips=100",
    "--seeds=0,1",
    "--steps=600",
    "--out=rows.csv",
  ]
  done = programs.run(tmp_path, "apps.benchmark", *flags)
  assert done.returncode == 0, done.stderr
  table = done.stdout.splitlines()
  assert [line.split("|")[1].strip() for line in table] == [
    "data",
    "---",
    "clips",
    "mean",
  ]
  rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
  assert [row["seed"] for row in rows] == ["0", "1"]
  for row in rows:
    assert float(row["forward"]) > float(row["before"])
    assert float(row["backpropagation"]) >= float(row["forward"]) - 0.05


def test_a_data_set_that_is_too_small_is_refused(tmp_path):
  np.savez(tmp_path / "few.npz", x=np.zeros((9, 8)), y=np.zeros(9, int))
  done = programs.run(tmp_path, "apps.benchmark", "--data=few.npz")
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].endswith("need 500")
