"""Data that does not fit is refused in one line; batches are addressed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflm_fg.training import data
from tflm_fg.types import TensorSpec, TflmFgError

INT8 = TensorSpec((1, 2, 3), "int8", 0.5, 10)


def test_floats_land_on_the_models_grid():
  x = np.array([[[0.0, 0.5, 1.0], [-0.5, 58.6, -69.4]]])
  got = data.model_input(x, INT8)
  assert got.dtype == np.int8
  assert got.tolist() == [[[10, 11, 12], [9, 127, -128]]]


def test_integers_of_the_inputs_dtype_pass_untouched():
  x = np.arange(6, dtype=np.int8).reshape(1, 2, 3)
  assert data.model_input(x, INT8) is x


def test_float_models_take_floats():
  x = np.ones((2, 2, 3))
  got = data.model_input(x, TensorSpec((1, 2, 3), "float32", 0.0, 0))
  assert got.dtype == np.float32


@pytest.mark.parametrize(
  ("x", "message"),
  [
    (np.zeros((0, 2, 3), np.float32), "no samples"),
    (np.float32(3), "no samples"),
    (
      np.zeros((4, 3, 2), np.float32),
      r"shape \[3, 2\], the model takes \[2, 3\]",
    ),
    (np.full((1, 2, 3), np.nan), "NaN or infinity"),
    (np.full((1, 2, 3), np.inf), "NaN or infinity"),
    (np.zeros((1, 2, 3), np.int32), "dtype int32, the model takes int8"),
    (np.zeros((1, 2, 3), np.uint8), "dtype uint8"),
  ],
)
def test_samples_that_do_not_fit_are_refused(x, message):
  with pytest.raises(TflmFgError, match=message):
    data.model_input(x, INT8)


def test_floats_in_other_units_are_warned_of():
  with pytest.warns(UserWarning, match="are they in the units"):
    data.model_input(np.full((2, 2, 3), 1e3), INT8)


def test_labels_that_are_words_are_refused_by_name(tmp_path):
  path = str(tmp_path / "words.npz")
  np.savez(path, x=np.ones((2, 3)), y=np.array(["yes", "no"]))
  with pytest.raises(TflmFgError, match="'y' holds <U3; need numbers"):
    data.load_npz(path)


@pytest.mark.parametrize(
  ("y", "message"),
  [
    (np.zeros(3, np.int64), "need one class for each of 4 samples"),
    (np.zeros((4, 1), np.int64), "need one class for each"),
    (np.zeros(4), "need integer class indices"),
    (np.array([0, 1, 2, 3]), "classes 0 to 3, the model has 0 to 2"),
    (np.array([0, -1, 2, 2]), "classes -1 to 2"),
  ],
)
def test_classes_that_do_not_fit_are_refused(y, message):
  with pytest.raises(TflmFgError, match=message):
    data.class_labels(y, 4, 3)


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


def test_npz_of_objects_or_without_x_is_refused(tmp_path):
  path = str(tmp_path / "bad.npz")
  np.savez(path, x=np.array([{}], dtype=object), y=np.zeros(1))
  with pytest.raises(
    TflmFgError, match=r"not a readable \.npz of plain arrays"
  ):
    data.load_npz(path)
  np.savez(path, z=np.zeros(3))
  with pytest.raises(TflmFgError, match="holds no array 'x', only z"):
    data.load_npz(path)
  with pytest.raises(TflmFgError, match="no such file"):
    data.load_npz(str(tmp_path / "missing.npz"))


def test_npz_round_trip(tmp_path):
  path = str(tmp_path / "good.npz")
  names = np.array(["yes", "no"])  # what else is in the file is left alone
  np.savez(path, x=np.ones((2, 3)), y=np.array([0, 1]), names=names)
  samples = data.load_npz(path)
  assert samples.x.shape == (2, 3)
  assert samples.y.tolist() == [0, 1]
