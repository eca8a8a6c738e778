"""Features of clips, kept in one .npz: for other tools, and as a replay set."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.kws.frontends import Frontend
from apps.kws.spotter import Spotter
from tflm_fg import data, files
from tflm_fg.base import Array, TflmFgError


class Kept(NamedTuple):
  """Clips that a file holds; x [N, ...], y int64 [N], indices into a model's
  classes."""

  x: Array
  y: NDArray[np.int64]
  num_bytes: int


def to_bytes(
  x: Array, y: Array, frontend: Frontend, classes: Sequence[str]
) -> bytes:
  """An .npz with x, y, the class names and the front end."""
  held = io.BytesIO()
  np.savez_compressed(
    held,
    x=x,
    y=np.asarray(y, np.int64),
    classes=np.array(classes),
    frontend=np.array(json.dumps(frontend.to_json())),
  )
  return held.getvalue()


def largest(
  x: Array,
  y: NDArray[np.int64],
  frontend: Frontend,
  classes: Sequence[str],
  limit: int,
  seed: int = 0,
) -> bytes:
  """The most clips that a file of `limit` bytes holds, the classes in turn.

  Args:
    x: [N, ...], integers of the model's input, which pack best.
    y: int64 [N].
    frontend: what made them.
    classes: the model's.
    limit: bytes of the file.
    seed: which clips.

  Raises:
    TflmFgError: if not even one clip a class fits.
  """
  order = in_turn(y, seed)
  low, high, best = 0, len(order), b""
  while low < high:
    count = (low + high + 1) // 2
    rows = order[:count]
    content = to_bytes(x[rows], y[rows], frontend, classes)
    if len(content) <= limit:
      low, best = count, content
    else:
      high = count - 1
  if low < len(np.unique(y)):
    raise TflmFgError(
      f"--max_kb: {limit} bytes hold {low} clips; need one or more of each of "
      f"{len(np.unique(y))} classes"
    )
  return best


def in_turn(y: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
  """Rows in an order in which the classes alternate, drawn from the seed."""
  rng = np.random.default_rng(seed)
  rank = np.empty(len(y), np.int64)
  for label in np.unique(y):
    members = rng.permutation(np.flatnonzero(y == label))
    rank[members] = np.arange(len(members))
  return np.lexsort((y, rank))


def load(path: str, spotter: Spotter) -> Kept:
  """Reads a file for a model, whose classes are found by their names.

  Raises:
    TflmFgError: if the file is none of ours or was made for another input.
  """
  clips = data.load_npz(path)
  try:
    with np.load(path, allow_pickle=False) as archive:
      names = [str(name) for name in archive["classes"]]
      made_by = json.loads(str(archive["frontend"]))
  except (KeyError, ValueError, OSError):
    raise TflmFgError(
      f"{path}: does not say its classes and front end; make it with "
      "tflm-fg-kws features"
    ) from None
  if made_by != spotter.frontend.to_json():
    raise TflmFgError(
      f"{path}: made by the front end {made_by.get('name')!r} with other "
      f"parameters than {spotter.name} takes; make it again with --model"
    )
  strange = [name for name in names if name not in spotter.classes]
  assert clips.y is not None  # load_npz required it
  y = data.class_labels(clips.y, len(clips.x), len(names), f"{path} y")
  if strange and np.isin(y, [names.index(s) for s in strange]).any():
    raise TflmFgError(
      f"{path}: holds clips of {strange[0]!r}, which {spotter.name} does not "
      "know; make it again with --model"
    )
  place = [
    spotter.classes.index(n) if n in spotter.classes else -1 for n in names
  ]
  x = spotter.quantized(clips.x)
  size = len(files.read_bytes(path))
  return Kept(x, np.array(place, np.int64)[y], size)
