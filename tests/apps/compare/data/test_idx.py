"""IDX files as the MNIST family has them: what is read, what is refused."""

import gzip

import numpy as np
import pytest

from apps.compare.data import corruptions, idx, pictures, readers, registry
from tests import models
from tests.refusals import refused

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5), np.uint8)
CLASSES = np.array([2, 0, 1, 1, 0, 2], np.uint8)


def _packed(array: np.ndarray, kind: int = 8) -> bytes:
  header = bytes([0, 0, kind, array.ndim])
  return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def _write(root, prefix="t10k", x=IMAGES, y=CLASSES, ending=""):
  for name, content in (
    (f"{prefix}-images-idx3-ubyte", _packed(x)),
    (f"{prefix}-labels-idx1-ubyte", _packed(y)),
  ):
    held = gzip.compress(content) if ending else content
    (root / f"{name}{ending}").write_bytes(held)
  return str(root)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_give_their_images_and_classes(tmp_path, ending):
  root = _write(tmp_path, ending=ending)
  x, y, names, groups = readers.read(f"idx:{root}")
  assert np.array_equal(np.rint(x[..., 0] * 255), IMAGES)
  assert y.tolist() == CLASSES.tolist()
  assert (names, groups) == (("0", "1", "2"), None)
  _write(tmp_path, "train", IMAGES[:4], CLASSES[:4])
  for split, count in (("train", 4), ("test", 6), ("all", 10)):
    assert len(readers.read(f"idx:{root}:{split}").y) == count


def test_a_named_corruption_spoils_the_images(tmp_path):
  root = _write(tmp_path)
  x = readers.read(f"idx:{root}:test:contrast:3").x
  plain = IMAGES[..., None]
  assert np.array_equal(
    np.rint(x * 255), corruptions.corrupt(plain, "contrast", 3)
  )
  refused(lambda: readers.read(f"idx:{root}:test:fog:3"), "'fog' is unknown")
  refused(lambda: readers.read(f"idx:{root}:test:noise:9"), "severity=9")


def test_numbers_of_several_bytes_are_big_endian(tmp_path):
  numbers = np.array([[1, -2], [300, 4]], ">i4")
  (tmp_path / "n").write_bytes(_packed(numbers, kind=0x0C))
  found = idx.array(str(tmp_path / "n"))
  assert found.dtype == np.int32
  assert found.tolist() == numbers.tolist()


GOOD = _packed(IMAGES)
SHORT_GZIP = gzip.compress(GOOD)[:-9]


@pytest.mark.parametrize(
  ("content", "words"),
  [
    (b"", ("not an IDX file",)),
    (b"\x89PNG", ("not an IDX file", "89 50 4e 47")),
    (b"\0\0\x07\x03", ("not an IDX file",)),
    (GOOD[:10], ("10 bytes", "3 axes")),
    (GOOD[:-1], ("119 bytes", "[6, 4, 5]", "120", "again")),
    (GOOD + b"\0", ("121 bytes",)),
    (bytes([0, 0, 8, 0]), ("0 axes",)),
    (SHORT_GZIP, ("damaged gzip",)),
    (_packed(IMAGES[0]), ("[4, 5]", "need uint8 [N, H, W]")),
    (_packed(IMAGES.view(np.int8), kind=9), ("int8", "need uint8")),
    (_packed(IMAGES[:0]), ("[0, 4, 5]",)),
  ],
)
def test_a_damaged_or_foreign_file_is_refused_by_name(tmp_path, content, words):
  root = _write(tmp_path)
  (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
  said = refused(lambda: idx.read(root), "t10k-images-idx3-ubyte", *words)
  assert "\n" not in said


def test_a_header_that_announces_too_much_allocates_nothing(tmp_path):
  root = _write(tmp_path)
  huge = bytes([0, 0, 8, 3]) + b"\xff" * 12
  (tmp_path / "t10k-images-idx3-ubyte").write_bytes(huge)
  refused(lambda: idx.read(root), "0 bytes behind a header")


def test_classes_that_do_not_fit_the_images_are_refused(tmp_path):
  root = _write(tmp_path, y=CLASSES[:5])
  refused(lambda: idx.read(root), "labels-idx1", "[5]", "need uint8 [6]")


def test_a_missing_folder_or_part_names_what_is_there_to_do(tmp_path):
  refused(lambda: idx.read("/nowhere"), "/nowhere", "dataset-fashion-mnist")
  root = _write(tmp_path)
  refused(lambda: idx.read(root, "all"), "train-images-idx3-ubyte", ":test")


def test_parts_of_two_sizes_are_not_mixed(tmp_path):
  root = _write(tmp_path)
  _write(tmp_path, "train", IMAGES[:, :3])
  refused(lambda: idx.read(root, "all"), "[3, 5]", "[4, 5]")


def test_pictures_take_the_size_and_the_channels_of_the_model():
  x = np.linspace(0, 1, 2, dtype=np.float32).reshape(1, 1, 2, 1)
  x = np.repeat(x, 2, axis=1)
  found = pictures.fitted(x, (4, 4, 3))
  assert found.shape == (1, 4, 4, 3)
  assert found.dtype == np.float32
  assert np.allclose(found[0, 1, :, 2], [0, 0.25, 0.75, 1])
  assert np.array_equal(found[..., 0], found[..., 2])
  assert pictures.fitted(x, (2, 2, 1)) is x


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2)])
def test_what_cannot_be_fitted_is_left_for_the_model_to_refuse(shape):
  x = np.zeros((1, 2, 2, 3), np.float32)
  assert pictures.fitted(x, shape) is x


def test_an_episode_of_idx_files_fits_the_model(tmp_path):
  y = np.repeat(np.arange(3), 4).astype(np.uint8)
  x = np.random.default_rng(1).integers(0, 256, (12, 6, 6), np.uint8)
  root = _write(tmp_path, x=x, y=y)
  model = tmp_path / "m.tflite"
  model.write_bytes(models.conv_model())
  user_data = registry.UserData(
    model=str(model), shots=2, test_samples=6, ways=3
  )
  found = registry.load(f"idx:{root}", 0, user_data)
  assert found.name == f"idx:{tmp_path.name}"
  assert found.train[0].shape == (6, 6, 5, 2)
  assert found.test[0].shape == (6, 6, 5, 2)
