"""Features of clips, kept in one .npz: for other tools, and as a replay set.

They are those of the model's input, or of its last layer's, which are far
smaller and fit one model's frozen layers alone.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.kws.features.registry import Frontend, from_json
from apps.kws.model import head_model
from apps.kws.model.spotter import Spotter
from tflm_fg.samples import class_labels, model_input, read_npz
from tflm_fg.tflite import tensor_spec
from tflm_fg.types import Array, TflmFgError

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
    head = head_model.cut_off(spotter)
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


def packed(kept: Kept, flag: str, kilobytes: int, seed: int = 0) -> Kept:
  """`largest` for a flag that counts kilobytes.

  Raises:
    TflmFgError: naming the flag.
  """
  try:
    return largest(kept, kilobytes * 1000, seed)
  except TflmFgError as fault:
    raise TflmFgError(f"--{flag}={kilobytes}: {fault}; raise it") from None


def load(path: str, spotter: Spotter) -> Kept:
  """Reads a file for a model, whose classes are found by their names.

  Returns:
    The clips, y counting the model's classes.

  Raises:
    TflmFgError: if the file is none of ours, is damaged, or was made for
      another model.
  """
  arrays = _arrays(path)
  names = _names(path, arrays["classes"])
  layer, digest = str(arrays["layer"]), str(arrays["digest"])
  if layer not in LAYERS:
    raise _damaged(path, f"its layer is {layer!r}")
  made_by = from_json(_frontend(path, arrays["frontend"]), path)
  if made_by != spotter.frontend:
    raise TflmFgError(
      f"{path}: made by the front end {made_by}, {spotter.name} takes "
      f"{spotter.frontend}; make it again with tflm-fg-kws features --model"
    )
  spec = spotter.input()
  if layer == "head":
    head = head_model.cut_off(spotter)
    if digest != head.digest:
      raise TflmFgError(
        f"{path}: made by other layers than {spotter.name} has; make it again "
        "with tflm-fg-kws features --model"
      )
    spec = tensor_spec(head.marked.data, head.pieces.suffix.inputs[0])
  try:
    x = model_input(arrays["x"], spec, "x")
    y = class_labels(arrays["y"], len(x), len(names), "y")
  except TflmFgError as fault:
    raise _damaged(path, str(fault)) from None
  return Kept(
    x=x,
    y=_renumbered(y, names, spotter, path),
    classes=spotter.classes,
    frontend=made_by,
    layer=layer,
    digest=digest,
    num_bytes=os.path.getsize(path),
  )


_KEYS = ("x", "y", "classes", "frontend", "layer", "digest")


def _damaged(path: str, what: str) -> TflmFgError:
  return TflmFgError(f"{path}: {what}; {_CURE}")


_CURE = "make it again with tflm-fg-kws features"


def _arrays(path: str) -> dict[str, Array]:
  """What a file holds, each of _KEYS."""
  _, held = read_npz(path, lambda names: _KEYS, _CURE)
  for key in ("x", "y"):
    if key not in held:
      raise _damaged(path, f"holds no array {key!r}")
  if len(held) < len(_KEYS):
    raise _damaged(path, "does not say its classes and front end")
  return held


def _names(path: str, classes: Array) -> list[str]:
  """The classes of a file."""
  if classes.ndim != 1 or classes.dtype.kind != "U":
    raise _damaged(path, "its classes are no list of names")
  return [str(name) for name in classes]


def _frontend(path: str, text: Array) -> dict[str, Any]:
  """What a file says of its front end."""
  try:
    content = json.loads(str(text))
  except (ValueError, RecursionError):
    content = None
  if not isinstance(content, dict):
    raise _damaged(path, "its front end is no JSON object")
  return content


def _renumbered(
  labels: NDArray[np.int64], names: list[str], spotter: Spotter, path: str
) -> NDArray[np.int64]:
  """The model's own indices for a file's classes."""
  for label in np.unique(labels):
    if names[label] not in spotter.classes:
      raise TflmFgError(
        f"{path}: holds clips of {names[label]!r}, which {spotter.name} does "
        "not know; make it again with tflm-fg-kws features --model"
      )
  places = [
    spotter.classes.index(n) if n in spotter.classes else -1 for n in names
  ]
  return np.array(places, np.int64)[labels]
