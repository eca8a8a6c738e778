"""Archives of arrays are read by the usual names, or refused by name."""

import numpy as np
import pytest

from tflm_fg.samples import load_npz
from tflm_fg.samples.npz import load_npy
from tflm_fg.types import TflmFgError


def test_labels_that_are_words_are_refused_by_name(tmp_path):
  path = str(tmp_path / "words.npz")
  np.savez(path, x=np.ones((2, 3)), y=np.array(["yes", "no"]))
  with pytest.raises(TflmFgError, match="'y' holds <U3; need numbers"):
    load_npz(path)


def test_npz_of_objects_or_without_x_is_refused(tmp_path):
  path = str(tmp_path / "bad.npz")
  np.savez(path, x=np.array([{}], dtype=object), y=np.zeros(1))
  with pytest.raises(
    TflmFgError, match=r"not a readable \.npz of plain arrays"
  ):
    load_npz(path)
  np.savez(path, z=np.zeros(3))
  with pytest.raises(TflmFgError, match="holds no array 'x', only z"):
    load_npz(path)
  with pytest.raises(TflmFgError, match="no such file"):
    load_npz(str(tmp_path / "missing.npz"))


def test_npz_round_trip(tmp_path):
  path = str(tmp_path / "good.npz")
  names = np.array(["yes", "no"])  # what else is in the file is left alone
  np.savez(path, x=np.ones((2, 3)), y=np.array([0, 1]), names=names)
  samples = load_npz(path)
  assert samples.x.shape == (2, 3)
  assert samples.y.tolist() == [0, 1]


X, Y = np.arange(6.0).reshape(2, 3), np.array([0, 1])


def saved(tmp_path, **arrays):
  np.savez(tmp_path / "a.npz", **arrays)
  return str(tmp_path / "a.npz")


@pytest.mark.parametrize(
  "names",
  [
    ("x_train", "y_train"),
    ("X_train", "y_train"),
    ("train_images", "train_labels"),
    ("images", "labels"),
    ("X", "y"),
    ("data", "target"),
    ("features", "label"),
  ],
)
def test_usual_names_of_arrays_are_taken(names, tmp_path):
  found = load_npz(saved(tmp_path, **dict(zip(names, (X, Y)))))
  assert np.array_equal(found.x, X)
  assert np.array_equal(found.y, Y)


def test_a_file_of_both_parts_gives_each(tmp_path):
  path = saved(tmp_path, x_train=X, y_train=Y, x_test=X + 9, y_test=1 - Y)
  assert np.array_equal(load_npz(path).x, X)
  test = load_npz(path, part="test")
  assert np.array_equal(test.x, X + 9)
  assert np.array_equal(test.y, 1 - Y)


def test_x_itself_is_taken_whatever_stands_beside_it(tmp_path):
  path = saved(tmp_path, x=X, y=Y, data=X + 1, X=X + 2, labels=1 - Y)
  found = load_npz(path)
  assert np.array_equal(found.x, X)
  assert np.array_equal(found.y, Y)


def test_names_in_doubt_or_of_the_other_part_are_refused(tmp_path):
  with pytest.raises(TflmFgError, match="holds data, images, and it is not"):
    load_npz(saved(tmp_path, data=X, images=X, y=Y))
  with pytest.raises(TflmFgError, match="no array 'x_test', only x_train"):
    load_npz(saved(tmp_path, x_train=X, y_train=Y), part="test")
  with pytest.raises(TflmFgError, match="no array 'y_train', only x_train"):
    load_npz(saved(tmp_path, x_train=X))


def test_a_pair_of_npy_files_is_read(tmp_path):
  x, y = str(tmp_path / "x.npy"), str(tmp_path / "y.npy")
  np.save(x, X), np.save(y, Y)
  found = load_npy(f"{x},{y}")
  assert np.array_equal(found.x, X) and np.array_equal(found.y, Y)
  assert load_npy(x, labels=False).y is None
  with pytest.raises(TflmFgError, match=r"samples alone; .*x.npy,labels.npy"):
    load_npy(x)
  with pytest.raises(TflmFgError, match=r"none.npy: no such file"):
    load_npy(f"{x},{tmp_path / 'none.npy'}")
  (tmp_path / "bad.npy").write_bytes(b"hello")
  with pytest.raises(TflmFgError, match=r"bad.npy: not a readable .npy"):
    load_npy(str(tmp_path / "bad.npy"), labels=False)
  np.save(tmp_path / "words.npy", np.array(["yes", "no"]))
  with pytest.raises(TflmFgError, match=r"words.npy holds <U3; need numbers"):
    load_npy(f"{x},{tmp_path / 'words.npy'}")
