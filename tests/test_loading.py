"""The same samples give the same file, in whatever form people hold them."""

import functools
import io
import pathlib
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tflm_fg
from tests.refusals import refused
from tflm_fg import methods
from tflm_fg.types import TflmFgError

ROOT = pathlib.Path(__file__).parent.parent
MODEL = (ROOT / "apps" / "compare" / "digits.tflite").read_bytes()
QUICK = methods.ClosedForm(steps=2)


@functools.lru_cache
def samples(seed, count=12):
  """Pixels uint8 [N, 8, 8, 1] and classes, in the order of the classes."""
  random = np.random.default_rng(seed)
  y = np.sort(np.arange(count) % 10)
  return random.integers(0, 256, (count, 8, 8, 1)).astype(np.uint8), y


def as_npz(folder, x, y, names=("x", "y")):
  np.savez(folder / "a.npz", **dict(zip(names, (x, y))))
  return folder / "a.npz"


def as_pair(folder, x, y):
  np.save(folder / "x.npy", x)
  np.save(folder / "y.npy", y)
  return f"{folder / 'x.npy'},{folder / 'y.npy'}"


def as_csv(folder, x, y, separator=","):
  rows = [[*map(repr, row), str(c)] for row, c in zip(flat(x).tolist(), y)]
  names = [*(f"p{n}" for n in range(64)), "label"]
  text = "\n".join(separator.join(row) for row in [names, *rows])
  if separator == ";":
    text = text.replace(".", ",")
  (folder / "a.csv").write_text(text)
  return folder / "a.csv"


def as_images(folder, x, y):
  image = pytest.importorskip("PIL.Image", reason="needs the extra images")
  for number, (pixels, label) in enumerate(zip(x, y)):
    own = folder / "images" / str(label)
    own.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels[..., 0]).save(own / f"{number:03}.png")
  return folder / "images"


def units(x):
  return x / 255.0


def flat(x):
  return units(x).reshape(len(x), -1)


FORMS = {
  "x_train and y_train": lambda f, x, y: as_npz(
    f, units(x), y, ("x_train", "y_train")
  ),
  "images and labels": lambda f, x, y: as_npz(f, x, y, ("images", "labels")),
  "float32": lambda f, x, y: as_npz(f, units(x).astype(np.float32), y),
  "integers of the input": lambda f, x, y: as_npz(
    f, (x.astype(int) - 128).astype(np.int8), y
  ),
  "without the last axis": lambda f, x, y: as_npz(f, units(x)[..., 0], y),
  "channels first": lambda f, x, y: as_npz(f, x[:, None, :, :, 0], y),
  "flat": lambda f, x, y: as_npz(f, flat(x), y),
  "a column of classes": lambda f, x, y: as_npz(f, x, y[:, None]),
  "one-hot": lambda f, x, y: as_npz(f, x, np.eye(10, dtype="f4")[y]),
  "a pair of .npy": lambda f, x, y: as_pair(f, x, y.astype(np.uint8)),
  "a .csv": lambda f, x, y: as_csv(f, x, y),
  "a .csv of Europe": lambda f, x, y: as_csv(f, x, y, ";"),
  "a folder of images": as_images,
}


def adapted(x, y):
  return tflm_fg.adapt(MODEL, x, y, trainable="head", method=QUICK).model


@pytest.mark.parametrize("form", list(FORMS))
@settings(
  max_examples=2,
  deadline=None,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 99))
def test_the_same_samples_in_any_form_give_the_same_bytes(form, tmp_path, seed):
  x, y = samples(seed)
  held = tflm_fg.load_samples(FORMS[form](tmp_path, x, y), MODEL)
  assert adapted(held.x, held.y) == expected(seed)


@functools.lru_cache
def expected(seed):
  x, y = samples(seed)
  return adapted(units(x), y)


def test_a_file_of_both_parts_gives_the_test_samples_too(tmp_path):
  x, y = samples(0)
  path = tmp_path / "both.npz"
  np.savez(path, x_train=x, y_train=y, x_test=x[:5], y_test=y[:5])
  assert len(tflm_fg.load_samples(path, MODEL).x) == 12
  assert len(tflm_fg.load_samples(path, MODEL, part="test").x) == 5


def test_pixels_in_units_that_a_user_names(tmp_path):
  x, y = samples(0)
  path = as_npz(tmp_path, x, y)
  held = tflm_fg.load_samples(path, MODEL, pixel_range=(-1, 1))
  assert held.x.dtype == np.float32
  assert held.x.min() == -1 and held.x.max() <= 1
  refused(
    lambda: tflm_fg.load_samples(path, MODEL, pixel_range=(1, 1)),
    "need black below white",
  )
  path = as_npz(tmp_path, units(x), y)
  refused(
    lambda: tflm_fg.load_samples(path, MODEL, pixel_range=(-1, 1)),
    "for pixels as uint8",
  )


def test_labels_that_are_missing_are_asked_for_by_the_form(tmp_path):
  x, y = samples(0)
  path = as_csv(tmp_path, x, y)
  path.write_text(path.read_text().replace("label", "time"))
  refused(lambda: tflm_fg.load_samples(path, MODEL), "column 'label'")
  assert tflm_fg.load_samples(path, MODEL, labels=False).y is None
  folder = as_images(tmp_path, x, y) / "3"
  refused(lambda: tflm_fg.load_samples(folder, MODEL), "holds no labels")


def archived(*lines, name="labels.txt"):
  """The model with a list of names in an archive behind it."""
  content = io.BytesIO(MODEL)
  with zipfile.ZipFile(content, "a") as archive:
    archive.writestr(name, "\n".join(lines))
  return content.getvalue()


NUMERALS = "zero one two three four five six seven eight nine".split()


def test_names_packed_with_a_model_number_its_classes(tmp_path):
  x, _ = samples(0)
  as_images(tmp_path, x[:2], np.array(["two", "nine"]))
  held = tflm_fg.load_samples(tmp_path / "images", archived(*NUMERALS))
  assert held.y.tolist() == [9, 2]
  assert held.classes == tuple(NUMERALS)
  for other in (archived("a", "b"), archived(*NUMERALS, name="a.bin"), MODEL):
    with pytest.raises(TflmFgError, match="outputs without names"):
      tflm_fg.load_samples(tmp_path / "images", other)


def test_words_for_labels_are_found_among_the_names(tmp_path):
  x, _ = samples(0)
  words = np.array(["two", "Nine"])
  for source in (
    as_npz(tmp_path, x[:2], words),
    as_pair(tmp_path, x[:2], words),
  ):
    held = tflm_fg.load_samples(source, MODEL, classes=NUMERALS)
    assert held.y.tolist() == [2, 9]
    refused(lambda s=source: tflm_fg.load_samples(s, MODEL), "without names")
  path = as_npz(tmp_path, x[:2], words[:, None])
  refused(lambda: tflm_fg.load_samples(path, MODEL), "shape [2, 1]; need one")


def test_names_that_a_user_gives_come_first(tmp_path):
  x, _ = samples(0)
  as_images(tmp_path, x[:2], np.array(["two", "nine"]))
  held = tflm_fg.load_samples(
    tmp_path / "images", archived(*NUMERALS), classes=NUMERALS[::-1]
  )
  assert held.y.tolist() == [0, 7]
