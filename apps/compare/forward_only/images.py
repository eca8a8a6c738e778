"""Pictures to train on from scratch, to adapt to, and to score on.

"digits" are scikit-learn's 8 x 8 digits, resized to 28 x 28; "idx:/path" is a
folder with the files of the MNIST family. Training samples and the pool to
adapt to are of the training part, test samples of the test part.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.compare.data import corruptions, digits, idx, pictures
from apps.compare.data.sampling import Part
from tflm_fg.types import Array, TflmFgError

SIDE = 28
CLASSES = 10

SHIFTS = ("noise:3", "contrast:5", "rotation:4")
"""Kinds of `corruptions` and severities, one for each sort of shift."""

_DIGITS_FOR_TESTS = 497


class Split(NamedTuple):
  """Pictures, float32 [N, 28, 28, 1] from 0 to 1, and classes, int64 [N].

  Attributes:
    train: to train on from scratch.
    pool: of which a shift's samples are taken; none is in `train`.
    test: to score on; none is in the others.
  """

  train: Part
  pool: Part
  test: Part


def require_known(name: str) -> None:
  """Refuses what is neither "digits" nor "idx:FOLDER".

  Raises:
    TflmFgError: naming it.
  """
  if name != "digits" and not re.fullmatch(r"idx:.+", name):
    raise TflmFgError(
      f"--domains: {name!r} is no data to train on from scratch; choose digits "
      "(scikit-learn's), or idx:FOLDER with the files of the MNIST family"
    )


def title(name: str) -> str:
  """A name for tables and files."""
  return name.rstrip("/").rpartition("/")[2].removeprefix("idx:")


def split_of(name: str, train: int, test: int, seed: int) -> Split:
  """Draws the three parts.

  Args:
    name: as `require_known` knows it.
    train: how many to train on; of few data three quarters.
    test: how many to score on, at most.
    seed: of which.

  Raises:
    TflmFgError: if the data cannot be read, or leave no sample of a class to
      adapt to.
  """
  known, unseen = _parts(name)
  random = np.random.default_rng([seed, 4])
  order = random.permutation(len(known[0]))
  train = min(train, 3 * len(order) // 4)
  pool = (known[0][order[train:]], known[1][order[train:]])
  if len(np.unique(pool[1])) < CLASSES:
    raise TflmFgError(
      f"{name}: {len(order)} samples in the training part; {train} to train on "
      f"leave {len(pool[0])} to adapt to, not one of every class; give fewer "
      "--train_samples, or more data"
    )
  rows = random.permutation(len(unseen[0]))[:test]
  first = order[:train]
  return Split(
    (known[0][first], known[1][first]), pool, (unseen[0][rows], unseen[1][rows])
  )


def _parts(name: str) -> tuple[Part, Part]:
  """The training part and the test part."""
  if name == "digits":
    x, y = digits.images()
    x = pictures.fitted(x, (SIDE, SIDE, 1))
    order = np.random.default_rng(0).permutation(len(x))
    known, unseen = np.split(order, [len(x) - _DIGITS_FOR_TESTS])
    return (x[known], y[known]), (x[unseen], y[unseen])
  folder = name.removeprefix("idx:")
  return _read(folder, "train"), _read(folder, "test")


def _read(folder: str, split: str) -> Part:
  x, y = idx.read(folder, split)
  if x.shape[1:] != (SIDE, SIDE, 1) or y.max() >= CLASSES:
    raise TflmFgError(
      f"{folder}: images {list(x.shape[1:])} of {y.max() + 1} classes; need "
      f"[{SIDE}, {SIDE}, 1] of {CLASSES}"
    )
  return (x / np.float32(255)).astype(np.float32), y


def shifted(x: Array, shift: str, seed: int) -> NDArray[np.float32]:
  """Spoils pictures.

  Args:
    x: floats from 0 to 1.
    shift: a kind of `corruptions` and a severity, as "noise:3".
    seed: of noise.
  """
  kind, _, severity = shift.partition(":")
  return corruptions.corrupt(x, kind, int(severity or 3), seed, 1.0)


def few(part: Part, shots: int, seed: int) -> Part:
  """So many samples of every class, or as many as there are."""
  x, y = part
  order = np.random.default_rng([seed, 5]).permutation(len(y))
  rows = np.concatenate(
    [order[y[order] == label][:shots] for label in range(CLASSES)]
  )
  return x[rows], y[rows]


def flat(x: Array) -> NDArray[np.float32]:
  """Pictures as rows, [N, 784]."""
  return x.reshape(len(x), -1).astype(np.float32)
