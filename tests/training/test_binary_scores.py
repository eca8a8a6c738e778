"""Precision, recall and AUC are what they are called, and never nan."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflm_fg.training.binary_scores import binary_scores


def scores(logits, labels, **given):
  logits = np.atleast_2d(np.array(logits, np.int8)).reshape(len(labels), -1)
  labels = np.array(labels, np.int64).reshape(logits.shape)
  return binary_scores(logits, labels, 0.1, 10, **given)


def test_figures_of_one_output():
  got = scores([30, 20, 11, 10, 0, -9], [1, 0, 1, 1, 0, 0])
  assert got["accuracy"] == pytest.approx(4 / 6)
  assert got["precision"] == pytest.approx(2 / 3)
  assert got["recall"] == pytest.approx(2 / 3)
  assert got["auc"] == pytest.approx(7 / 9)
  assert (got["positives"], got["undefined"]) == (3, [])


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2))
def test_auc_counts_the_pairs_in_order(rows):
  logits, labels = zip(*rows)
  got = scores(logits, labels)
  ones = [z for z, y in rows if y]
  zeros = [z for z, y in rows if not y]
  pairs = [(a > b) + 0.5 * (a == b) for a in ones for b in zeros]
  if pairs:
    assert got["auc"] == pytest.approx(sum(pairs) / len(pairs))
  else:
    assert got["auc"] is None


def test_what_is_undefined_is_said_and_is_no_nan():
  got = scores([0, 0, 3], [0, 0, 0])
  assert got["precision"] is got["recall"] is got["auc"] is None
  assert got["undefined"] == [
    "precision: no sample was answered with 1",
    "recall: no sample is 1",
    "auc: all samples are 0",
  ]
  assert "NaN" not in json.dumps(got, allow_nan=False)
  assert scores([0, 30], [1, 1])["undefined"] == ["auc: all samples are 1"]


def test_several_outputs_have_a_table_each_and_means_of_what_is_defined():
  got = scores([[30, 0], [0, 0]], [[1, 0], [0, 0]])
  first, second = got["per_label"]
  assert (first["auc"], second["auc"]) == (1.0, None)
  assert got["auc"] == 1.0
  assert got["accuracy"] == 1.0
  assert "recall of output 1: no sample is 1" in got["undefined"]


def test_a_threshold_moves_answers_and_not_the_auc():
  logits, labels = [30, 20, 11, 10, 0, -9], [1, 0, 1, 1, 0, 0]
  low, high = (scores(logits, labels, threshold=t) for t in (-0.5, 1.5))
  assert low["recall"] == 1.0
  assert (high["recall"], high["precision"]) == (pytest.approx(1 / 3), 1.0)
  assert low["auc"] == high["auc"]
