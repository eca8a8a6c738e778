"""Read samples from whatever people hold them in, by the name of the source."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

from tflm_fg.samples import npz, pictures, tables
from tflm_fg.samples.arrays import Dataset
from tflm_fg.samples.wanted import Wanted, labels_of
from tflm_fg.types import Array, TflmFgError


@dataclasses.dataclass(frozen=True)
class LoadedSamples:
  """Samples that were read.

  Attributes:
    x: [N, ...], floats in the model's units, integers of its input's type, or
      uint8 pixels.
    y: targets [N] or [N, C]; None where there are none.
    classes: names of the classes in order, where the source has names.
    notes: what a user should know, a line each.
  """

  x: Array
  y: Array | None
  classes: tuple[str, ...] | None = None
  notes: tuple[str, ...] = ()


def read(
  source: str,
  wanted: Callable[[], Wanted],
  *,
  part: str = "train",
  labels: bool = True,
) -> LoadedSamples:
  """Reads samples.

  Args:
    source: an .npz; "x.npy,y.npy"; a .csv; or a folder of images.
    wanted: gives what they are read for; asked where arrays do not say it.
    part: "train" or "test", for a source that has both.
    labels: whether there must be targets.

  Raises:
    TflmFgError: in one line, if they cannot be read.
  """
  if os.path.isdir(source):
    found = pictures.read_pictures(source, wanted(), part)
    loaded = LoadedSamples(found.x, found.y, found.names, found.notes)
  elif source.lower().endswith(tables.SUFFIXES):
    table = tables.read_table(source, wanted())
    loaded = LoadedSamples(table.x, table.y, table.names, table.notes)
  elif npz.is_pair(source):
    return _named(npz.load_npy(source, labels, words=True), wanted, source)
  else:
    held = npz.load_npz(source, labels, part, words=True)
    return _named(held, wanted, source)
  if labels and loaded.y is None:
    raise TflmFgError(
      f"{source}: holds no labels; "
      + (
        "put the images of each class into a folder of its own"
        if os.path.isdir(source)
        else "name their column 'label'"
      )
    )
  return loaded


def _named(
  held: Dataset, wanted: Callable[[], Wanted], source: str
) -> LoadedSamples:
  """Arrays whose targets may be names of classes."""
  if held.y is None or held.y.dtype.kind != "U":
    return LoadedSamples(held.x, held.y)
  if held.y.ndim != 1:
    raise TflmFgError(
      f"{source}: names of classes of shape {list(held.y.shape)}; need one for "
      "each sample"
    )
  y, classes, said = labels_of(held.y.tolist(), wanted(), source)
  return LoadedSamples(held.x, y, classes, tuple(filter(None, [said])))
