"""Samples are shared out evenly; batches are addressed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflm_fg.training import data


@given(
  st.lists(st.integers(0, 4), min_size=1, max_size=200),
  st.floats(0, 0.99),
  st.integers(0, 99),
)
def test_holding_out_splits_every_class_and_loses_no_sample(
  labels, fraction, seed
):
  y = np.array(labels)
  train, kept = data.hold_out(y, fraction, seed)
  assert sorted([*train, *kept]) == list(range(len(y)))
  assert set(y[train]) == set(y)  # training never loses a class
  for label in set(labels):
    share = (y[kept] == label).sum()
    assert abs(share - fraction * (y == label).sum()) <= 1


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 9))
def test_an_epoch_of_batches_shows_every_sample_equally_often(
  samples, size, seed
):
  batches = data.Batches(samples, size, seed)
  drawn = np.concatenate([batches.at(step) for step in range(samples)])
  counts = np.bincount(drawn, minlength=samples)
  assert len(drawn) == samples * batches.size
  assert set(counts) == {batches.size}


def test_every_epoch_is_shuffled_anew():
  batches = data.Batches(30, 10, 0)
  epochs = [
    tuple(np.concatenate([batches.at(3 * epoch + i) for i in range(3)]))
    for epoch in range(70)
  ]
  assert len(set(epochs)) == 70
  assert all(sorted(epoch) == list(range(30)) for epoch in epochs)


def test_a_shuffle_that_is_kept_cannot_be_written_to():
  taken = data.Batches(10, 4, seed=1).at(0)
  with pytest.raises(ValueError, match="read-only"):
    taken += 1


def test_a_step_takes_the_same_samples_whenever_it_is_asked():
  one, two = data.Batches(30, 7, 3), data.Batches(30, 7, 3)
  late = two.at(50)
  for step in range(51):
    early = one.at(step)
  assert np.array_equal(early, late)
