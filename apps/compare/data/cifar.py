"""Read the images in folders of CIFAR-10, CIFAR-100 and CIFAR10-C.

The files are those of https://www.cs.toronto.edu/~kriz/cifar.html, as pickles
("python version") or as records of bytes ("binary version"), and the .npy files
of CIFAR10-C (Hendrycks and Dietterich, ICLR 2019): five blocks of the same
images, one a severity.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.compare.data import pickled
from tflm_fg import files
from tflm_fg.types import Array, TflmFgError

SPLITS = ("all", "train", "test")
SEVERITIES = 5
PIXELS = 32 * 32 * 3

Images = NDArray[np.uint8]
"""[N, 32, 32, 3], red, green, blue."""


class FileNames(NamedTuple):
  """What the files of one of the two sets are called.

  Attributes:
    train: files of training images, without .bin.
    test: the same of test images.
    labels: the key of the classes in a pickle.
    label_bytes: of a record; the last is the class.
    meta: the file of names as a pickle, its key, and the same as text.
  """

  train: tuple[str, ...]
  test: tuple[str, ...]
  labels: str
  label_bytes: int
  meta: tuple[str, str, str]


FILES = {
  10: FileNames(
    train=tuple(f"data_batch_{n}" for n in range(1, 6)),
    test=("test_batch",),
    labels="labels",
    label_bytes=1,
    meta=("batches.meta", "label_names", "batches.meta.txt"),
  ),
  100: FileNames(
    train=("train",),
    test=("test",),
    labels="fine_labels",
    label_bytes=2,
    meta=("meta", "fine_label_names", "fine_label_names.txt"),
  ),
}


def read(
  folder: str, classes: int, split: str = "all"
) -> tuple[Images, NDArray[np.int64], tuple[str, ...]]:
  """Reads CIFAR-10 or CIFAR-100.

  Args:
    folder: where the files lie.
    classes: 10 or 100.
    split: one of SPLITS.

  Returns:
    Images, classes, and the classes' names; numbers where no file has them.

  Raises:
    TflmFgError: if a file is missing, damaged or of another set.
  """
  file_names = FILES[classes]
  wanted = {
    "all": file_names.train + file_names.test,
    "train": file_names.train,
    "test": file_names.test,
  }[split]
  parts = [_batch(folder, name, file_names, classes) for name in wanted]
  x, y = (np.concatenate(column) for column in zip(*parts))
  return x, y, _names(folder, file_names, classes)


def read_corrupted(
  folder: str, kind: str, severity: int
) -> tuple[Images, NDArray[np.int64]]:
  """Reads one corruption of CIFAR10-C at one severity, 1 to 5."""
  if not 1 <= severity <= SEVERITIES:
    raise TflmFgError(f"severity={severity}: need 1 to {SEVERITIES}")
  path = os.path.join(folder, f"{kind}.npy")
  x = _array(path)
  if x.ndim != 4 or x.shape[1:] != (32, 32, 3) or x.dtype != np.uint8:
    raise TflmFgError(
      f"{path}: holds {x.dtype} {list(x.shape)}; need uint8 [N, 32, 32, 3]"
    )
  place = os.path.join(folder, "labels.npy")
  y = _array(place)
  if y.shape != x.shape[:1] or y.dtype.kind not in "iu" or len(y) % SEVERITIES:
    raise TflmFgError(
      f"{place}: holds {y.dtype} {list(y.shape)}; need an integer for each of "
      f"{len(x)} images, in {SEVERITIES} equal blocks"
    )
  each = len(x) // SEVERITIES
  block = slice((severity - 1) * each, severity * each)
  return np.array(x[block]), _classes(y[block], 10, place)


def _batch(
  folder: str, name: str, file_names: FileNames, classes: int
) -> tuple[Images, NDArray[np.int64]]:
  path = os.path.join(folder, name)
  if os.path.isfile(path):
    rows, y = _from_pickle(path, file_names)
  elif os.path.isfile(f"{path}.bin"):
    path = f"{path}.bin"
    rows, y = _from_records(path, file_names)
  else:
    raise TflmFgError(
      f"{path}: no such file, nor {name}.bin; need the files of "
      f"CIFAR-{classes}, or name the part that is there, as in "
      f"cifar{classes}:{folder}:test"
    )
  planes = rows.reshape(-1, 3, 32, 32)
  return planes.transpose(0, 2, 3, 1).copy(), _classes(y, classes, path)


def _from_pickle(path: str, file_names: FileNames) -> tuple[Images, Array]:
  held = pickled.load(files.read_bytes(path, 4), path)
  if "data" not in held or file_names.labels not in held:
    raise TflmFgError(
      f"{path}: holds {', '.join(sorted(held)) or 'nothing'}; need 'data' and "
      f"{file_names.labels!r}"
    )
  rows, y = held["data"], _integers(held[file_names.labels], path)
  good = isinstance(rows, np.ndarray) and rows.dtype == np.uint8
  if not good or rows.ndim != 2 or rows.shape != (len(y), PIXELS):
    raise TflmFgError(
      f"{path}: 'data' is {getattr(rows, 'dtype', type(rows).__name__)} "
      f"{list(getattr(rows, 'shape', ()))}; need uint8 [{len(y)}, {PIXELS}]"
    )
  return rows, y


def _integers(classes: Any, path: str) -> Array:
  try:
    y = np.asarray(classes)
  except ValueError:  # lists of several lengths
    y = np.zeros(0)
  if y.ndim != 1 or y.dtype.kind not in "iu" or not len(y):
    raise TflmFgError(f"{path}: its classes are not a list of integers")
  return y


def _from_records(path: str, file_names: FileNames) -> tuple[Images, Array]:
  content = np.frombuffer(files.read_bytes(path, 3), np.uint8)
  size = file_names.label_bytes + PIXELS
  if not len(content) or len(content) % size:
    raise TflmFgError(
      f"{path}: {len(content)} bytes are not whole records of {size}; fetch it "
      "again"
    )
  rows = content.reshape(-1, size)
  return rows[:, file_names.label_bytes :], rows[:, file_names.label_bytes - 1]


def _classes(y: Array, classes: int, path: str) -> NDArray[np.int64]:
  wide = y.astype(np.int64)
  if wide.min() < 0 or wide.max() >= classes:
    raise TflmFgError(
      f"{path}: classes {wide.min()} to {wide.max()}; need 0 to {classes - 1}"
    )
  return wide


def _names(folder: str, file_names: FileNames, classes: int) -> tuple[str, ...]:
  pickle_name, key, text_name = file_names.meta
  path = os.path.join(folder, pickle_name)
  names: Sequence[Any] = ()
  if os.path.isfile(path):
    names = pickled.load(files.read_bytes(path), path).get(key, ())
  elif os.path.isfile(path := os.path.join(folder, text_name)):
    names = files.read_bytes(path).split()
  else:
    return tuple(map(str, range(classes)))
  found = tuple(
    n.decode(errors="replace") if isinstance(n, bytes) else str(n)
    for n in names
  )
  if len(found) != classes:
    raise TflmFgError(f"{path}: names {len(found)} classes, need {classes}")
  return found


def _array(path: str) -> Array:
  if not os.path.isfile(path):
    folder = os.path.dirname(path)
    raise TflmFgError(f"{path}: no such file in {folder or '.'}")
  try:
    return np.load(path, mmap_mode="r", allow_pickle=False)
  except Exception:  # header and size faults have no common type
    raise TflmFgError(
      f"{path}: not a whole .npy of plain numbers; fetch it again"
    ) from None
