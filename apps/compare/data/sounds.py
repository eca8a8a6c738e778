"""Read features and classes of the samples in a folder of ESC-50.

ESC-50 (Piczak, "ESC: Dataset for Environmental Sound Classification", 2015):
audio/*.wav of five seconds, and meta/esc50.csv with a line for each.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import files
from apps.kws.audio.files import one_clip
from apps.kws.features import mel
from apps.kws.features.registry import Frontend
from tflm_fg.files import read_bytes
from tflm_fg.types import TflmFgError

FOLDS = (1, 2, 3, 4, 5)
CLASSES = 50

FRONTEND = Frontend(
  "logmel",
  mel.Parameters(
    clip_samples=80_000, coefficients=0, high_hz=7600.0, to_peak=False
  ),
)
"""Log-mel energies of five seconds, [249, 40, 1], where none is given."""


class Recording(NamedTuple):
  """A line of the table; those of one source were cut from one longer sound."""

  path: str
  fold: int
  target: int
  category: str
  source: str


def read(
  folder: str,
  folds: Collection[int] = FOLDS,
  frontend: Frontend = FRONTEND,
) -> tuple[
  NDArray[np.float32], NDArray[np.int64], tuple[str, ...], NDArray[np.int64]
]:
  """Reads the samples of some folds.

  Args:
    folder: holds meta/esc50.csv and audio.
    folds: some of FOLDS; samples of one recording are never in two.
    frontend: what makes features of a sample; a sample is padded or cut to its
      length around its loudest part.

  Returns:
    Features [N, *frontend.shape]; classes as the table counts them; the
    classes' names, a number where a class has no sample; and a number for each
    sample's recording.

  Raises:
    TflmFgError: if the table or a sample cannot be read.
  """
  recordings = [row for row in table(folder) if row.fold in folds]
  if not recordings:
    raise TflmFgError(
      f"{folder}: no samples in fold {', '.join(map(str, sorted(folds)))}"
    )
  x = np.stack(
    [
      frontend.features(one_clip(files.read(row.path), frontend.clip_samples))
      for row in recordings
    ]
  )
  y = np.array([row.target for row in recordings], np.int64)
  categories = {row.target: row.category for row in recordings}
  names = (
    categories.get(label, str(label)) for label in range(int(y.max()) + 1)
  )
  sources = {row.source: n for n, row in enumerate(recordings)}
  groups = np.array([sources[row.source] for row in recordings], np.int64)
  return x, y, tuple(names), groups


def table(folder: str) -> list[Recording]:
  """The lines of meta/esc50.csv.

  Raises:
    TflmFgError: naming the line that does not fit.
  """
  path = os.path.join(folder, "meta", "esc50.csv")
  text = read_bytes(path).decode("utf-8-sig", errors="replace")
  rows = csv.DictReader(io.StringIO(text))
  needed = ("filename", "fold", "target", "category")
  missing = [name for name in needed if name not in (rows.fieldnames or ())]
  if missing:
    raise TflmFgError(f"{path}: has no column {', '.join(missing)}")
  recordings = []
  for number, row in enumerate(rows, start=2):
    try:
      fold, target = int(row["fold"]), int(row["target"])
    except (TypeError, ValueError):
      fold = target = -1
    if fold not in FOLDS or not 0 <= target < CLASSES or not row["category"]:
      raise TflmFgError(
        f"{path}, line {number}: fold {row['fold']}, target {row['target']}; "
        f"need a fold 1 to 5 and a target 0 to {CLASSES - 1}"
      )
    place = os.path.join(folder, "audio", row["filename"])
    recordings.append(
      Recording(place, fold, target, row["category"], _source(row, place))
    )
  return recordings


def _source(row: dict[str, str], place: str) -> str:
  """The recording that a sample was cut from.

  The table's src_file, or as files are named: FOLD-SOURCE-TAKE-TARGET.wav.
  """
  if source := row.get("src_file"):
    return source
  parts = os.path.basename(place).split("-")
  return parts[1] if len(parts) == 4 else place
