"""Features of clips, kept in one .npz: for other tools, and as a replay set.

They are those of the model's input, or of its last layer's, which are far
smaller and fit one model's frozen layers alone.
"""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
from numpy.typing import NDArray

from apps.kws import frontends, heads
from apps.kws.frontends import Frontend
from apps.kws.spotter import Spotter
from tflm_fg import data, files
from tflm_fg.base import Array, TflmFgError

LAYERS = ("input", "head")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
  """Clips that a file holds.

  Attributes:
    x: [N, ...], integers on a grid of the model, or floats.
    y: int64 [N], indices into `classes`.
    classes: names.
    frontend: what made the clips' features.
    layer: one of LAYERS: what x is given to.
    digest: names the layers in front of the head; empty for the input.
    num_bytes: of the file; 0 where it was not read from one.
  """

  x: Array
  y: NDArray[np.int64]
  classes: tuple[str, ...]
  frontend: Frontend
  layer: str = "input"
  digest: str = ""
  num_bytes: int = 0

  def to_bytes(self) -> bytes:
    """The .npz."""
    held = io.BytesIO()
    np.savez_compressed(
      held,
      x=self.x,
      y=self.y,
      classes=np.array(self.classes),
      frontend=np.array(json.dumps(self.frontend.to_json())),
      layer=np.array(self.layer),
      digest=np.array(self.digest),
    )
    return held.getvalue()

  def take(self, rows: NDArray[np.int64]) -> Kept:
    """Some of the clips."""
    return dataclasses.replace(self, x=self.x[rows], y=self.y[rows])


def of(spotter: Spotter, x: Array, y: NDArray[np.int64], layer: str) -> Kept:
  """Clips as a model's input or as its last layer's.

  Args:
    spotter: the model.
    x: features [N, ...], floats or on the model's grid.
    y: int64 [N], the model's classes.
    layer: one of LAYERS.
  """
  grid = spotter.quantized(x)
  digest = ""
  if layer == "head":
    head = heads.cut_off(spotter)
    grid, digest = head.inputs(grid), head.digest
  return Kept(
    x=grid,
    y=np.asarray(y, np.int64),
    classes=spotter.classes,
    frontend=spotter.frontend,
    layer=layer,
    digest=digest,
  )


def largest(kept: Kept, limit: int, seed: int = 0) -> Kept:
  """The most clips that a file of `limit` bytes holds, the classes in turn.

  Raises:
    TflmFgError: if not even one clip a class fits.
  """
  order = _in_turn(kept.y, seed)
  low, high = 0, len(order)
  while low < high:
    count = (low + high + 1) // 2
    if len(kept.take(order[:count]).to_bytes()) <= limit:
      low = count
    else:
      high = count - 1
  if low < len(np.unique(kept.y)):
    raise TflmFgError(
      f"{limit} bytes hold {low} clips of {kept.x[0].nbytes} bytes; need one "
      f"or more of each of {len(np.unique(kept.y))} classes"
    )
  return kept.take(order[:low])


def _in_turn(y: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
  """Rows in an order in which the classes alternate, drawn from the seed."""
  rng = np.random.default_rng(seed)
  rank = np.empty(len(y), np.int64)
  for label in np.unique(y):
    members = rng.permutation(np.flatnonzero(y == label))
    rank[members] = np.arange(len(members))
  return np.lexsort((y, rank))


def load(path: str, spotter: Spotter) -> Kept:
  """Reads a file for a model, whose classes are found by their names.

  Returns:
    The clips, y counting the model's classes.

  Raises:
    TflmFgError: if the file is none of ours or was made for another model.
  """
  clips = data.load_npz(path)
  try:
    with np.load(path, allow_pickle=False) as archive:
      names = [str(name) for name in archive["classes"]]
      told = json.loads(str(archive["frontend"]))
      layer, digest = str(archive["layer"]), str(archive["digest"])
  except (KeyError, ValueError, OSError):
    raise TflmFgError(
      f"{path}: does not say its classes and front end; make it with "
      "tflm-fg-kws features"
    ) from None
  made_by = frontends.from_json(told, path)
  if made_by != spotter.frontend:
    raise TflmFgError(
      f"{path}: made by the front end {made_by}, {spotter.name} takes "
      f"{spotter.frontend}; make it again with --model"
    )
  x = clips.x
  if layer == "input":
    x = spotter.quantized(x)
  elif digest != heads.cut_off(spotter).digest:
    raise TflmFgError(
      f"{path}: made by other layers than {spotter.name} has; make it again "
      "with --model"
    )
  return Kept(
    x=x,
    y=_renumbered(clips.y, names, spotter, path),
    classes=spotter.classes,
    frontend=made_by,
    layer=layer,
    digest=digest,
    num_bytes=len(files.read_bytes(path)),
  )


def _renumbered(
  y: Array | None, names: list[str], spotter: Spotter, path: str
) -> NDArray[np.int64]:
  """The model's own indices for a file's classes."""
  assert y is not None  # load_npz required it
  labels = data.class_labels(y, len(y), len(names), f"{path} y")
  for label in np.unique(labels):
    if names[label] not in spotter.classes:
      raise TflmFgError(
        f"{path}: holds clips of {names[label]!r}, which {spotter.name} does "
        "not know; make it again with --model"
      )
  places = [
    spotter.classes.index(n) if n in spotter.classes else -1 for n in names
  ]
  return np.array(places, np.int64)[labels]
