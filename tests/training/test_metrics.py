"""Scores count every sample once, whatever the batches."""

import numpy as np
import pytest

from tests import models
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.split_graph import whole
from tflm_fg.training.metrics import (
  AT_ONCE,
  BATCH,
  batch_of,
  logits_of,
  run_all,
  score,
)


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 17])
def test_batches_of_any_size_give_every_samples_logits(samples):
  data = models.dense_model()
  session = open_session("litert", whole(data, unmarked(data)))
  x = models.int8_samples((8,), samples)
  (together,) = run_all(session, (x,), batch=8)
  alone = np.concatenate([logits_of(session, (row[None],)) for row in x])
  assert np.array_equal(together, alone)


@pytest.mark.parametrize(
  ("samples", "each", "batch"),
  [(9, 100, BATCH), (300, AT_ONCE // 75, 75), (4, 2 * AT_ONCE, 1)],
)
def test_large_samples_are_run_a_few_at_a_time(samples, each, batch):
  x = np.broadcast_to(np.zeros(1, np.int8), (samples, each))
  assert batch_of((x,)) == batch


def test_a_score_counts_right_samples_and_the_classes_answered():
  logits = np.array([[9, 1, 0], [9, 1, 0], [0, 5, 1]], np.int8)
  found = score(logits, np.array([0, 1, 1]), CrossEntropy(0.1))
  assert (found.correct, found.answers, found.samples) == (2, 2, 3)
  assert found.accuracy == pytest.approx(2 / 3)
