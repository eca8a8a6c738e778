"""Read samples and targets from .npz archives and .npy files."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tflm_fg.samples.arrays import Dataset
from tflm_fg.samples.numpy_files import read_npy, read_npz
from tflm_fg.types import Array, TflmFgError

X_NAMES = ("x", "images", "data", "features", "samples", "inputs")
Y_NAMES = ("y", "labels", "label", "target", "targets")
"""Names of arrays, in small letters."""

PARTS = ("train", "test")


def load_npz(
  path: str, labels: bool = True, part: str = "train", words: bool = False
) -> Dataset:
  """Reads samples and targets from an .npz.

  The arrays are `x` and `y`; or one pair for the part, as `x_train` and
  `y_train`; or one pair of other usual names, as `images` and `labels`.

  Args:
    path: of the .npz.
    labels: whether there must be targets.
    part: one of PARTS; which pair to take where a file has both.
    words: whether targets may be names of classes, as strings.

  Raises:
    TflmFgError: if the file is missing, is no .npz, lacks an array, or leaves
      in doubt which one is meant.
  """
  pair: list[str] = []

  def chosen(names: Sequence[str]) -> Sequence[str]:
    pair.extend(names_of(path, names, part))
    return pair

  names, arrays = read_npz(path, chosen)
  x_name, y_name = pair
  for key in (x_name, y_name) if labels else (x_name,):
    if key not in arrays:
      found = ", ".join(names) or "nothing"
      raise TflmFgError(f"{path}: holds no array {key!r}, only {found}")
  for key, array in arrays.items():
    if not (words and key == y_name and array.dtype.kind == "U"):
      _require_numbers(array, f"{path}: {key!r}", key == y_name)
  return Dataset(arrays[x_name], arrays.get(y_name))


def names_of(path: str, names: Sequence[str], part: str) -> tuple[str, str]:
  """The names of the samples and of the targets among those of a file.

  Args:
    path: of the file, for errors.
    names: of its arrays.
    part: one of PARTS.

  Returns:
    Two names, "x" and "y" where nothing fits.

  Raises:
    TflmFgError: if several fit.
  """
  form = part if _named(names, X_NAMES, part) else ""
  x_names, y_names = (
    _named(names, known, form) for known in (X_NAMES, Y_NAMES)
  )
  for found in (x_names, y_names):
    if len(found) > 1:
      raise TflmFgError(
        f"{path}: holds {', '.join(found)}, and it is not clear which is "
        "meant; save one of them as x, or as y, with numpy.savez"
      )
  if not x_names and _named(names, X_NAMES, PARTS[1 - PARTS.index(part)]):
    form = part
  behind = f"_{form}" if form else ""
  return (*x_names, f"x{behind}")[0], (*y_names, f"y{behind}")[0]


def _named(names: Sequence[str], known: Sequence[str], part: str) -> list[str]:
  """The names among those known, with the part's name before or behind.

  The first of those known, x or y itself, leaves no doubt.
  """
  if not part and known[0] in names:
    return [known[0]]
  forms = set(known)
  if part:
    forms = {f"{k}_{part}" for k in known} | {f"{part}_{k}" for k in known}
  return [name for name in names if name.lower() in forms]


def is_pair(source: str) -> bool:
  """Whether a source is one .npy, or two with a comma."""
  return source.endswith(".npy")


def load_npy(source: str, labels: bool = True, words: bool = False) -> Dataset:
  """Reads samples from an .npy, or samples and targets from two.

  Args:
    source: "x.npy", or "x.npy,y.npy".
    labels: whether there must be targets.
    words: whether targets may be names of classes, as strings.

  Raises:
    TflmFgError: if a file is missing or none, or one is missing in the pair.
  """
  x_path, comma, y_path = source.partition(",")
  if os.path.exists(source):
    x_path, comma = source, ""
  if labels and not comma:
    raise TflmFgError(
      f"{source}: holds samples alone; name the labels too, as "
      f"{x_path},labels.npy"
    )
  x = _array(x_path, False, False)
  return Dataset(x, _array(y_path, True, words) if comma else None)


def _array(path: str, is_y: bool, words: bool) -> Array:
  array = read_npy(path)
  if not (words and array.dtype.kind == "U"):
    _require_numbers(array, path, is_y)
  return array


def _require_numbers(array: Array, name: str, is_y: bool) -> None:
  if array.dtype.kind not in "biuf":
    raise TflmFgError(
      f"{name} holds {array.dtype}; need numbers"
      + (" (class indices from 0, or real targets)" if is_y else "")
    )
