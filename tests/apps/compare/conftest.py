"""A cell on a tiny model with samples of its own."""

import numpy as np
import pytest

from apps.compare.data.registry import UserData
from apps.compare.grid import Cell
from tests import models


@pytest.fixture
def user_data(tmp_path):
  x, y = models.separable(samples=120)
  np.savez(tmp_path / "clips.npz", x=x, y=y)
  (tmp_path / "model.tflite").write_bytes(models.dense_model())
  return UserData(
    model=str(tmp_path / "model.tflite"), train_samples=80, test_samples=40
  )


@pytest.fixture
def cell(tmp_path, user_data):
  return Cell(
    domain=str(tmp_path / "clips.npz"),
    seed=0,
    trainable="all",
    method="sign-m-spsa",
    passes=120,
    batch=16,
  )
