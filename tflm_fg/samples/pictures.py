"""Read a folder of images, one folder a class, at the size of a model's input.

The layout is FOLDER/CLASS/*.png, or FOLDER/train/CLASS/*.png and
FOLDER/test/CLASS/*.png; a folder of images alone has no labels.
"""

from __future__ import annotations

import collections
import importlib
import math
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg import limits
from tflm_fg.files import open_regular
from tflm_fg.samples import units
from tflm_fg.samples.arrays import counted
from tflm_fg.samples.wanted import Wanted, labels_of
from tflm_fg.types import Int64, TflmFgError, one_line

SUFFIXES = (
  ".png",
  ".jpg",
  ".jpeg",
  ".bmp",
  ".gif",
  ".tif",
  ".tiff",
  ".webp",
)

_UNREAD = (".heic", ".heif", ".avif", ".dng", ".cr2", ".nef", ".svg")
"""Images that are passed over, with the command that converts them."""

_SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".3gp", ".amr")

_MODES = {1: "L", 3: "RGB"}
"""Channels of a model's input -> Pillow's mode."""

_BYTES_A_PIXEL = 32
"""Of an image while it is turned, put on white and resized, at most."""

_PART_NAMES = {"train": ("train", "training"), "test": ("test", "testing")}


class Pictures(NamedTuple):
  """Images as samples.

  Attributes:
    x: [N, ...], pixels.
    y: int64 [N]; None for a folder without classes.
    names: of the classes in order; None where they are numbers or unknown.
    notes: what a user should know.
  """

  x: NDArray[np.uint8]
  y: Int64 | None
  names: tuple[str, ...] | None
  notes: tuple[str, ...]


def read_pictures(folder: str, wanted: Wanted, part: str = "train") -> Pictures:
  """Reads all images of a folder, in the order of classes and of files.

  Args:
    folder: see above.
    wanted: what they are read for.
    part: "train" or "test", for a folder that has both.

  Raises:
    TflmFgError: if the model takes no images, there are none, or all are
      damaged; in strict mode if one is.
  """
  size, channels, first = _image_shape(wanted, folder)
  pillow = _pillow()
  paths, labels, notes = _scan(_root(folder, part))
  sizes, damaged = collections.Counter[tuple[int, int]](), []
  limits.require(
    len(paths) * math.prod(size) * channels,
    f"{folder}: {counted(len(paths), 'image')} of {size[0]} x {size[1]}",
    "give fewer images",
  )
  x = np.empty((len(paths), *size, channels), np.uint8)
  for number, path in enumerate(paths):
    try:
      x[sizes.total()], came = _pixels(pillow, path, size, channels)
    except (TflmFgError, MemoryError):  # too large, or no file
      raise
    except Exception as fault:  # image readers raise what they like
      why = one_line(fault).replace(repr(path), "").strip()[:80]
      if wanted.strict:
        raise TflmFgError(
          f"{path}: a damaged image ({why}); remove it, or leave out --strict"
        ) from None
      damaged.append((number, f"{path} ({why})"))
      continue
    sizes[came] += 1
  if not sizes:
    raise TflmFgError(
      f"{folder}: all {counted(len(paths), 'image')} are damaged, first "
      f"{damaged[0][1]}; save them again as PNG or JPEG"
    )
  notes += _told(folder, sizes, size, [said for _, said in damaged])
  x = x[: sizes.total()]
  if first:
    x = x.transpose(0, 3, 1, 2)
  if labels is None:
    return Pictures(x, None, None, tuple(notes))
  gone = {number for number, _ in damaged}
  kept = [label for n, label in enumerate(labels) if n not in gone]
  y, names, said = labels_of(kept, wanted, folder)
  return Pictures(x, y, names, (*notes, *filter(None, [said])))


def _image_shape(
  wanted: Wanted, folder: str
) -> tuple[tuple[int, int], int, bool]:
  """Height and width, channels, and whether the channels come first.

  Raises:
    TflmFgError: if the model's input is no image.
  """
  shape = wanted.shape
  if len(shape) == 2 and min(shape) > 1:
    shape = (*shape, 1)
  if len(shape) == 3 and shape[2] in _MODES:
    return (shape[0], shape[1]), shape[2], False
  if len(shape) == 3 and shape[0] in _MODES:
    return (shape[1], shape[2]), shape[0], True
  raise TflmFgError(
    f"{folder}: a folder of images, and the model takes samples of shape "
    f"{list(wanted.shape)}; images need [height, width, 1 or 3]"
  )


def _root(folder: str, part: str) -> str:
  """The folder of a part, where a folder holds nothing but parts."""
  if not os.path.isdir(folder):
    raise TflmFgError(f"{folder}: no such folder")
  inner = {
    name.lower(): name
    for name in _listed(folder)
    if os.path.isdir(os.path.join(folder, name))
  }
  known = {n for names in _PART_NAMES.values() for n in names}
  if inner and set(inner) <= known | {"val", "validation"}:
    for name in _PART_NAMES[part]:
      if name in inner:
        return os.path.join(folder, inner[name])
    raise TflmFgError(
      f"{folder}: holds the folders {', '.join(inner.values())} and no "
      f"{part!r}; name the folder that is meant"
    )
  return folder


def _scan(root: str) -> tuple[list[str], list[str] | None, list[str]]:
  """The images of a folder, their classes, and what was passed over.

  Raises:
    TflmFgError: if there are none.
  """
  paths, labels, over = [], [], []
  entries = _listed(root)
  classes = [e for e in entries if os.path.isdir(os.path.join(root, e))]
  for name in classes or [""]:
    for file in _listed(os.path.join(root, name)):
      path = os.path.join(root, name, file)
      if file.lower().endswith(SUFFIXES):
        paths.append(path)
        labels.append(name)
      elif os.path.isfile(path):
        over.append(path)
  notes = [*_passed_over(root, over)]
  if not paths:
    raise TflmFgError(
      f"{root}: holds no images; need {root}/CLASS/*.png or *.jpg"
      + "; recordings of words go to tflm-fg-kws adapt --data"
      * any(path.lower().endswith(_SOUNDS) for path in over)
      + "".join(f"; {note}" for note in notes)
    )
  return paths, labels if classes else None, notes


def _passed_over(root: str, paths: list[str]) -> list[str]:
  """What to say of files that are no images that are read."""
  unread = [path for path in paths if path.lower().endswith(_UNREAD)]
  if not unread:
    return []
  one = unread[0]
  return [
    f"{root}: {counted(len(unread), 'image')} of a kind that is not read, and "
    f"passed over; convert with: magick '{one}' "
    f"'{os.path.splitext(one)[0]}.png'"
  ]


def _listed(folder: str) -> list[str]:
  """The names in a folder in order, but hidden ones."""
  try:
    return sorted(n for n in os.listdir(folder) if not n.startswith("."))
  except OSError as fault:
    raise TflmFgError(f"{folder}: cannot be read: {fault.strerror}") from None


def _pixels(
  pillow: Any, path: str, size: tuple[int, int], channels: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
  """An image upright and on white, resized; and the size that it had.

  Raises:
    TflmFgError: if it is no file, or unpacks to more than there is memory for.
  """
  open_regular(path)[0].close()
  with pillow.Image.open(path) as opened:
    limits.require(
      _BYTES_A_PIXEL * opened.width * opened.height,
      f"{path}: {opened.height} x {opened.width} pixels",
      "give it smaller",
    )
    image = pillow.ImageOps.exif_transpose(opened)
    if image.mode.startswith(("I;16", "I")) or image.mode == "F":
      wide = np.asarray(image, np.float64)
      top = 65535.0 if wide.max() > units.WHITE else float(units.WHITE)
      image = pillow.Image.fromarray(
        np.clip(wide * (units.WHITE / top), 0, units.WHITE).astype(np.uint8)
      )
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
      image = image.convert("RGBA")
      white = pillow.Image.new("RGBA", image.size, "white")
      image = pillow.Image.alpha_composite(white, image)
    image = image.convert(_MODES[channels])
    height, width = size
    came = image.height, image.width
    if came != size:
      image = image.resize((width, height), pillow.Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8).reshape(height, width, channels)
    return pixels, came


def _told(
  folder: str,
  sizes: collections.Counter[tuple[int, int]],
  size: tuple[int, int],
  damaged: list[str],
) -> list[str]:
  """What to say of images that were resized, or damaged."""
  notes = []
  others = [came for came, _ in sizes.most_common() if came != size]
  if others:
    count = sum(sizes[came] for came in others)
    height, width = others[0]
    notes.append(
      f"{folder}: {counted(count, 'image')} of {sizes.total()} resized to "
      f"{size[0]} x {size[1]} (height x width), from {height} x {width}"
      + " and other sizes"
      * (len(others) > 1)
    )
  if damaged:
    notes.append(
      f"{folder}: {counted(len(damaged), 'damaged image')} passed over: "
      + ", ".join(damaged[:3])
      + f" and {len(damaged) - 3} more" * (len(damaged) > 3)
    )
  return notes


def _pillow() -> Any:
  try:
    importlib.import_module("PIL.ImageOps")
    importlib.import_module("PIL.Image")
    return importlib.import_module("PIL")
  except ImportError:
    raise TflmFgError(
      "folders of images need: pip install 'tflm-fg[images]' (Pillow)"
    ) from None
