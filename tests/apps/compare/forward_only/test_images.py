"""Parts share no sample, and data that do not do are refused by name."""

import json

import numpy as np
import pytest

from apps.compare.data import idx
from apps.compare.forward_only import images
from tflm_fg.types import TflmFgError
from tools import mnist_idx


def write(folder, counts, side=28, classes=10):
  """Pictures of the MNIST family, each pixel row telling its number."""
  for name, count in zip(("train", "t10k"), counts):
    numbers = np.arange(count)
    x = np.zeros((count, side, side), np.uint8)
    x[:, 0, 0], x[:, 0, 1] = numbers % 256, numbers // 256
    x[:, 1, 0] = name == "t10k"
    y = (numbers % classes).astype(np.uint8)
    for kind, array in (("images-idx3", x), ("labels-idx1", y)):
      path = folder / f"{name}-{kind}-ubyte"
      path.write_bytes(mnist_idx.idx(array))


def marks(x):
  return {tuple(map(int, np.rint(row[:2, :2].ravel() * 255))) for row in x}


def test_the_three_parts_share_no_sample(tmp_path):
  write(tmp_path, (600, 100))
  split = images.split_of(f"idx:{tmp_path}", 400, 50, seed=1)
  parts = [marks(x) for x, _ in split]
  assert [len(part) for part in parts] == [400, 200, 50]
  assert len(set.union(*parts)) == 650
  again = images.split_of(f"idx:{tmp_path}", 400, 50, seed=1)
  np.testing.assert_array_equal(split.train[0], again.train[0])
  other = images.split_of(f"idx:{tmp_path}", 400, 50, seed=2)
  assert marks(other.train[0]) != parts[0]


def test_of_few_data_a_quarter_is_left_to_adapt_to(tmp_path):
  write(tmp_path, (400, 100))
  split = images.split_of(f"idx:{tmp_path}", 6000, 2000, seed=0)
  assert [len(y) for _, y in split] == [300, 100, 100]


def test_data_that_leave_a_class_without_samples_are_refused(tmp_path):
  write(tmp_path, (16, 10))
  with pytest.raises(TflmFgError, match="not one of every class"):
    images.split_of(f"idx:{tmp_path}", 12, 10, seed=0)


def test_pictures_of_another_size_are_refused(tmp_path):
  write(tmp_path, (40, 10), side=8)
  with pytest.raises(TflmFgError, match=r"images \[8, 8, 1\]"):
    images.split_of(f"idx:{tmp_path}", 12, 10, seed=0)


@pytest.mark.parametrize("name", ["cifar10:/data", "idx:", "voices"])
def test_other_data_are_refused_by_name(name):
  with pytest.raises(TflmFgError, match="choose digits"):
    images.require_known(name)


def test_digits_of_scikit_learn_are_resized():
  split = images.split_of("digits", 1000, 2000, seed=0)
  assert split.train[0].shape == (975, 28, 28, 1)
  assert len(split.pool[1]) == 325
  assert len(split.test[1]) == 497
  assert 0 <= split.train[0].min() < split.train[0].max() <= 1


def test_a_few_of_every_class_are_taken():
  y = np.arange(50) % 10
  x, found = images.few((np.arange(50.0), y), 3, seed=0)
  assert (np.bincount(found) == 3).all()
  assert len(set(x)) == 30


def test_names_are_short_in_tables():
  assert images.title("idx:/a/b/fashion-mnist/") == "fashion-mnist"
  assert images.title("digits") == "digits"


def test_digits_of_a_package_become_files_of_the_mnist_family(
  tmp_path, monkeypatch
):
  source, target = tmp_path / "digits", tmp_path / "out"
  source.mkdir()
  for digit in range(10):
    shares = np.full((3, 784), digit / 10)
    text = json.dumps({"data": [*shares.ravel().tolist(), 0.5]})
    (source / f"{digit}.json").write_text(text)
  monkeypatch.setattr(mnist_idx, "TRAIN", 20)
  monkeypatch.setattr("sys.argv", ["mnist_idx.py", str(source), str(target)])
  assert mnist_idx.main() == 0
  for split, count in (("train", 20), ("test", 10)):
    x, y = idx.read(str(target), split)
    assert x.shape == (count, 28, 28, 1)
    np.testing.assert_array_equal(x[:, 9, 9, 0], np.rint(25.5 * y))
  monkeypatch.setattr("sys.argv", ["mnist_idx.py"])
  assert mnist_idx.main() == 2
