"""Folders of images become samples of the model's size, classes by name."""

import os
import struct
import zlib

import numpy as np
import pytest

from tflm_fg import limits
from tflm_fg.samples.pictures import read_pictures
from tflm_fg.samples.wanted import Wanted
from tflm_fg.types import TflmFgError

image = pytest.importorskip("PIL.Image", reason="needs the extra images")

GREY = Wanted(shape=(6, 8, 1), outputs=2)
COLOURS = Wanted(shape=(6, 8, 3))
ANY = Wanted(shape=(6, 8, 1))


def pixels(seed=0, shape=(6, 8)):
  return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def saved(path, array, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  image.fromarray(array).save(path, **options)


@pytest.fixture
def root(tmp_path):
  for number, name in enumerate(["dog/1", "cat/b", "cat/a"]):
    saved(tmp_path / f"{name}.png", pixels(number))
  (tmp_path / "cat" / ".hidden.png").write_bytes(b"")
  (tmp_path / "cat" / "notes.txt").write_bytes(b"")
  return tmp_path


def test_images_come_in_the_order_of_classes_and_names(root):
  found = read_pictures(str(root), GREY)
  assert np.array_equal(found.x[..., 0], [pixels(2), pixels(1), pixels(0)])
  assert found.y.tolist() == [0, 0, 1]
  assert found.names == ("cat", "dog")
  assert found.notes == (
    f"{root}: the model names no classes, so they were numbered in the order "
    "of their names: 0 cat, 1 dog",
  )


def test_the_models_own_names_number_the_classes(root):
  wanted = Wanted(shape=(6, 8, 1), outputs=3, classes=("Dog", "bird", "cat"))
  found = read_pictures(str(root), wanted)
  assert found.y.tolist() == [2, 2, 0]
  assert not found.notes


def test_folders_of_numbers_are_the_classes_of_these_numbers(tmp_path):
  for name in ("10", "2"):
    saved(tmp_path / name / "1.png", pixels())
  found = read_pictures(str(tmp_path), Wanted(shape=(6, 8, 1), outputs=12))
  assert found.y.tolist() == [10, 2]


def test_folders_that_count_from_1_are_refused_with_what_to_do(tmp_path):
  for name in ("1", "2", "3"):
    saved(tmp_path / name / "1.png", pixels())
  with pytest.raises(TflmFgError, match=r"1 to 3, .* 0 to 2; they look as if"):
    read_pictures(str(tmp_path), Wanted(shape=(6, 8, 1), outputs=3))
  with pytest.raises(TflmFgError, match=r"1 to 3, .* 0 to 1; number them"):
    read_pictures(str(tmp_path), GREY)
  named = Wanted(shape=(6, 8, 1), outputs=3, classes=("1", "2", "3"))
  assert read_pictures(str(tmp_path), named).y.tolist() == [0, 1, 2]


def test_a_name_that_is_no_class_and_a_wrong_count_are_refused(root):
  wanted = Wanted(shape=(6, 8, 1), outputs=2, classes=("dog", "bird"))
  with pytest.raises(TflmFgError, match=r"'cat' is no class .* dog, bird;"):
    read_pictures(str(root), wanted)
  with pytest.raises(
    TflmFgError, match=r"2 classes \(cat, dog\), .* 5 outputs .* --classes_file"
  ):
    read_pictures(str(root), Wanted(shape=(6, 8, 1), outputs=5))
  with pytest.raises(TflmFgError, match=r"3 class names, .* 2 outputs"):
    Wanted(shape=(6, 8, 1), outputs=2, classes=("a", "b", "c"))


def test_one_output_takes_two_folders_as_no_and_yes(root):
  found = read_pictures(str(root), Wanted(shape=(6, 8, 1), outputs=1))
  assert found.y.tolist() == [0, 0, 1]


def test_images_are_resized_and_that_is_said(root):
  saved(root / "dog" / "large.jpg", pixels(9, (60, 80)))
  found = read_pictures(str(root), GREY)
  assert found.x.shape == (4, 6, 8, 1)
  assert (
    "1 image of 4 resized to 6 x 8 (height x width), from 60 x 80"
    in (found.notes[0])
  )


@pytest.mark.parametrize("shape", [(6, 8, 3), (3, 6, 8)])
def test_colours_come_where_the_model_has_them(tmp_path, shape):
  held = pixels(0, (6, 8, 3))
  saved(tmp_path / "a" / "1.png", held)
  (one,) = read_pictures(str(tmp_path), Wanted(shape=shape)).x
  assert np.array_equal(one if shape[2] == 3 else one.transpose(1, 2, 0), held)


def test_grey_and_colours_are_made_of_each_other(tmp_path):
  saved(tmp_path / "a" / "1.png", pixels())
  (one,) = read_pictures(str(tmp_path), COLOURS).x
  assert np.array_equal(one, np.repeat(pixels()[..., None], 3, -1))
  saved(tmp_path / "a" / "1.png", np.repeat(pixels()[..., None], 3, -1))
  (one,) = read_pictures(str(tmp_path), ANY).x
  assert np.abs(one[..., 0].astype(int) - pixels()).max() <= 1


def test_what_is_clear_is_white_and_wide_pixels_are_not_cut_off(tmp_path):
  clear = np.zeros((6, 8, 4), np.uint8)
  saved(tmp_path / "a" / "1.png", clear)
  saved(tmp_path / "a" / "2.png", pixels().astype(np.uint16) * 257)
  white, wide = read_pictures(str(tmp_path), ANY).x
  assert white.min() == 255
  assert np.abs(wide[..., 0].astype(int) - pixels()).max() <= 1


def test_photos_are_turned_upright(tmp_path):
  held = np.repeat(pixels()[..., None], 3, -1)
  exif = image.Exif()
  exif[0x0112] = 3  # upside down
  saved(tmp_path / "a" / "1.png", held[::-1, ::-1].copy(), exif=exif)
  (one,) = read_pictures(str(tmp_path), COLOURS).x
  assert np.array_equal(one, held)


def test_a_damaged_image_is_named_and_passed_over_or_stops(root):
  (root / "cat" / "c.png").write_bytes(b"\x89PNG broken")
  found = read_pictures(str(root), GREY)
  assert len(found.x) == len(found.y) == 3
  assert "1 damaged image passed over: " in found.notes[0]
  assert "c.png (cannot identify image file)" in found.notes[0]
  strict = Wanted(shape=(6, 8, 1), outputs=2, strict=True)
  with pytest.raises(TflmFgError, match=r"c.png: a damaged image .* --strict"):
    read_pictures(str(root), strict)


def test_nothing_but_damaged_images_is_one_line(tmp_path):
  (tmp_path / "a").mkdir()
  for name in "12":
    (tmp_path / "a" / f"{name}.jpg").write_bytes(b"no")
  with pytest.raises(TflmFgError, match="all 2 images are damaged, first"):
    read_pictures(str(tmp_path), GREY)


def test_images_of_a_kind_that_is_not_read_are_named_with_a_command(root):
  (root / "dog" / "IMG 1.HEIC").write_bytes(b"")
  (said, _) = read_pictures(str(root), GREY).notes
  assert "1 image of a kind that is not read" in said
  assert said.endswith("dog/IMG 1.png'")
  assert "magick '" in said


def test_a_folder_of_images_alone_has_no_labels(tmp_path):
  saved(tmp_path / "1.png", pixels())
  assert read_pictures(str(tmp_path), GREY).y is None


def test_folders_of_parts_give_the_part(tmp_path):
  for number, part in enumerate(("train", "Test", "val")):
    saved(tmp_path / part / "a" / "1.png", pixels(number))
  wanted = Wanted(shape=(6, 8, 1), outputs=1, classes=("a",))
  for number, part in enumerate(("train", "test")):
    (one,) = read_pictures(str(tmp_path), wanted, part).x
    assert np.array_equal(one[..., 0], pixels(number))
  (tmp_path / "train").rename(tmp_path / "training")
  assert len(read_pictures(str(tmp_path), wanted).x) == 1
  (tmp_path / "training").rename(tmp_path / "validation")
  with pytest.raises(TflmFgError, match="and no 'train'; name the folder"):
    read_pictures(str(tmp_path), wanted)


def test_no_images_and_no_image_model_are_refused(tmp_path):
  with pytest.raises(TflmFgError, match=r"no images; need .*CLASS/\*.png"):
    read_pictures(str(tmp_path), GREY)
  with pytest.raises(TflmFgError, match="no such folder"):
    read_pictures(str(tmp_path / "none"), GREY)
  (tmp_path / "yes").mkdir()
  (tmp_path / "yes" / "1.WAV").touch()
  with pytest.raises(TflmFgError, match="words go to tflm-fg-kws adapt --data"):
    read_pictures(str(tmp_path), GREY)
  with pytest.raises(TflmFgError, match=r"shape \[49, 10, 4\]; images need"):
    read_pictures(str(tmp_path), Wanted(shape=(49, 10, 4)))


def test_without_pillow_the_cure_is_named(root, monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
  with pytest.raises(TflmFgError, match=r"pip install 'tflm-fg\[images\]'"):
    read_pictures(str(root), GREY)


def huge_png(width, height):
  """An image of a few bytes that says any size."""

  def chunk(name, content):
    checked = name + content
    return (
      struct.pack(">I", len(content))
      + checked
      + struct.pack(">I", zlib.crc32(checked))
    )

  header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", header)
    + chunk(b"IDAT", zlib.compress(bytes(1000)))
    + chunk(b"IEND", b"")
  )


def test_an_image_that_unpacks_to_more_than_memory_is_refused(
  root, monkeypatch
):
  monkeypatch.setattr(limits, "resident", lambda: 0)
  (root / "cat" / "b.png").write_bytes(huge_png(2000, 3000))
  with limits.at_most("64MB"), pytest.raises(TflmFgError) as told:
    read_pictures(str(root), GREY)
  assert "b.png: 3000 x 2000 pixels, which takes about 183 MB" in str(
    told.value
  )
  assert "give it smaller, or raise --max_memory" in str(told.value)


def test_what_is_no_file_in_a_folder_is_named(root):
  os.mkfifo(root / "cat" / "c.png")
  with pytest.raises(
    TflmFgError, match=r"c\.png: cannot be read: it is a pipe"
  ):
    read_pictures(str(root), GREY)


def test_more_images_than_memory_takes_are_refused_before_one_is_read(
  root, monkeypatch
):
  monkeypatch.setattr(limits, "resident", lambda: 0)
  wanted = Wanted(shape=(9000, 9000, 1), outputs=2)
  with limits.at_most("200MB"), pytest.raises(TflmFgError) as told:
    read_pictures(str(root), wanted)
  assert "3 images of 9000 x 9000, which takes about 232 MB" in str(told.value)
