"""Read labelled samples of data sets that a user has on disk, by name.

speech-commands:/path[:all]          WORD/*.wav, a part as `folders.SPLITS`
esc50:/path[:1,2]                    meta/esc50.csv and audio, some folds
cifar10:/path[:all]                  batches, python or binary version
cifar100:/path[:train]
cifar10-c:/path:gaussian_noise:3     a corruption at a severity
omniglot:/path[:28]                  ALPHABET/CHARACTER/*.png, resized
idx:/path[:test[:noise:3]]           the MNIST family; a corruption of
                                     `corruptions` at a severity

Where a set has a test part and none is named, that is read: what a model was
trained on says nothing of what it adapts to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.compare.data import cifar, corruptions, idx, image_folders, sounds
from apps.kws.audio import folders
from apps.kws.features import examples
from apps.kws.features.registry import Frontend, named
from tflm_fg.types import TflmFgError


class Pool(NamedTuple):
  """Labelled samples.

  Attributes:
    x: float32 [N, ...]: features of sounds, or images from 0 to `peak`.
    y: int64 [N], classes.
    names: of the classes, from 0.
    groups: int64 [N], the recording that each sample was cut from; None where
      each sample stands for itself.
  """

  x: NDArray[np.float32]
  y: NDArray[np.int64]
  names: tuple[str, ...]
  groups: NDArray[np.int64] | None = None


def read(
  spec: str, *, frontend: Frontend | None = None, peak: float = 1.0
) -> Pool:
  """Reads a data set.

  Args:
    spec: KIND:PATH, and what the kind takes behind another colon.
    frontend: what makes features of sounds; by default the shipped spotter's
      for words, and log-mel energies for ESC-50.
    peak: what the brightest pixel shall be, in the model's units.

  Raises:
    TflmFgError: if the name cannot be understood or the data not be read.
  """
  kind, colon, rest = spec.partition(":")
  if kind not in READERS or not colon:
    raise TflmFgError(
      f"data set {spec!r}: need KIND:PATH, KIND one of {', '.join(READERS)}"
    )
  if not (0 < peak < float("inf")):
    raise TflmFgError(f"peak={peak}: need a number above 0")
  pattern, reader = READERS[kind]
  found = re.fullmatch(rf"(.+?)(?::({pattern}))?", rest)
  if not found:
    raise TflmFgError(f"data set {spec!r}: names no path")
  return reader(found[1], found[2] or "", frontend, peak)


def is_data_set(name: str) -> bool:
  """Whether a name is for `read`, and not a built-in episode's."""
  return name.partition(":")[0] in READERS and ":" in name


def _words(
  path: str, split: str, frontend: Frontend | None, peak: float
) -> Pool:
  classes = folders.classes_of(path)
  held = examples.read(
    path,
    frontend or named("micro"),
    classes,
    split=split or "testing",
    name=path,
    progress=False,
  )
  return Pool(held.x, held.y, classes)


def _sounds(
  path: str, folds: str, frontend: Frontend | None, peak: float
) -> Pool:
  chosen = [int(fold) for fold in folds.split(",")] if folds else sounds.FOLDS
  return Pool(*sounds.read(path, chosen, frontend or sounds.FRONTEND))


def _cifar(classes: int) -> Reader:
  def reader(
    path: str, split: str, frontend: Frontend | None, peak: float
  ) -> Pool:
    x, y, names = cifar.read(path, classes, split or "test")
    return Pool(_bright(x, peak), y, names)

  return reader


def _corrupted(
  path: str, which: str, frontend: Frontend | None, peak: float
) -> Pool:
  if not which:
    raise TflmFgError(
      f"cifar10-c:{path}: need a corruption and a severity, as in "
      f"cifar10-c:{path}:gaussian_noise:3"
    )
  kind, _, severity = which.partition(":")
  x, y = cifar.read_corrupted(path, kind, int(severity))
  return Pool(_bright(x, peak), y, tuple(map(str, range(10))))


def _drawings(
  path: str, size: str, frontend: Frontend | None, peak: float
) -> Pool:
  x, y, names = image_folders.read(path, int(size or image_folders.SIZE))
  return Pool(x * np.float32(peak), y, names)


def _grey_images(
  path: str, which: str, frontend: Frontend | None, peak: float
) -> Pool:
  split, _, spoilt = which.partition(":")
  x, y = idx.read(path, split or "test")
  if spoilt:
    kind, _, severity = spoilt.partition(":")
    x = corruptions.corrupt(x, kind, int(severity))
  names = tuple(map(str, range(int(y.max()) + 1)))
  return Pool(_bright(x, peak), y, names)


def _bright(x: cifar.Images, peak: float) -> NDArray[np.float32]:
  return x.astype(np.float32) * np.float32(peak / 255)


Reader = Callable[[str, str, Frontend | None, float], Pool]
"""Reads a path, with what stands behind it or ""."""

_PARTS = "|".join(map(re.escape, folders.SPLITS))

READERS: dict[str, tuple[str, Reader]] = {
  "speech-commands": (_PARTS, _words),
  "esc50": ("[0-9](?:,[0-9])*", _sounds),
  "cifar10": ("|".join(cifar.SPLITS), _cifar(10)),
  "cifar100": ("|".join(cifar.SPLITS), _cifar(100)),
  "cifar10-c": (r"\w+:\d{1,3}", _corrupted),
  "omniglot": (r"\d{1,4}", _drawings),
  "idx": (rf"(?:{'|'.join(idx.SPLITS)})(?::\w+:\d)?", _grey_images),
}
"""Kind -> what may stand behind its path, and what reads it."""
