"""Read a folder of recordings as features and labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tqdm
from numpy.typing import NDArray

from apps.kws.audio import files, folders
from apps.kws.audio.augment import Augment
from apps.kws.features.registry import Frontend
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True)
class Examples:
  """Clips as a model sees them.

  Attributes:
    x: float32 [N, frames, columns, 1], in the front end's units.
    y: int64 [N], classes.
    clip: int64 [N], which clip a row was made of: copies share it.
    copy: int64 [N], 0 for the clip itself, from 1 for its copies.
    notes: what a user should know of the choice.
  """

  x: NDArray[np.float32]
  y: NDArray[np.int64]
  clip: NDArray[np.int64]
  copy: NDArray[np.int64]
  notes: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.y)

  def take(self, rows: NDArray[np.bool_]) -> Examples:
    """The rows that are true."""
    own = (self.x, self.y, self.clip, self.copy)
    return Examples(*(a[rows] for a in own), self.notes)

  def counts(self, classes: Sequence[str]) -> dict[str, int]:
    """Clips of each class that has any, without their copies."""
    found = np.bincount(self.y[self.copy == 0], minlength=len(classes))
    return {name: int(n) for name, n in zip(classes, found) if n}

  def parted(self, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Sets a share of every class's clips apart, never their copies.

    Args:
      fraction: the share; a class of few clips gives its share, rounded.
      seed: which clips.

    Returns:
      (the others with their copies, the share without copies).

    Raises:
      TflmFgError: if the fraction is none.
    """
    if not 0 <= fraction < 1:  # NaN is in no range
      raise TflmFgError(f"--test_fraction={fraction}: need 0 <= f < 1")
    apart = np.zeros(int(self.clip.max()) + 1, bool)
    rng = np.random.default_rng(seed)
    originals = self.copy == 0
    for label in np.unique(self.y):
      members = rng.permutation(self.clip[originals & (self.y == label)])
      apart[
        members[: min(round(fraction * len(members)), len(members) - 1)]
      ] = 1
    return self.take(~apart[self.clip]), self.take(apart[self.clip] & originals)


def read(
  root: str,
  frontend: Frontend,
  classes: Sequence[str],
  *,
  split: str = "all",
  augment: Augment | None = None,
  seed: int = 0,
  name: str = "the model",
  progress: bool = True,
) -> Examples:
  """Reads a folder in the Speech Commands layout.

  Args:
    root: the folder.
    frontend: what makes features of a clip.
    classes: the model's, in the order of its outputs.
    split: one of `folders.SPLITS`.
    augment: how to make copies; None for none.
    seed: draws other words and windows of noise.
    name: what to call the model in errors.
    progress: whether to show a bar on a terminal.

  Returns:
    Every clip, followed by its copies.

  Raises:
    TflmFgError: if a file cannot be read, or nothing fits.
  """
  takes, notes = folders.takes(root, classes, split=split, seed=seed, name=name)
  if not takes:
    raise TflmFgError(
      f"{root}: no clips in the part {split!r}; try --split=all"
    )
  bar = tqdm.tqdm(
    takes, desc=f"reading {root}", unit="file", disable=_disabled(progress)
  )
  noises = noises_of(root) if augment and augment.copies else []
  x, *rest = zip(*_rows(bar, frontend, augment, noises))
  y, clip, copy = (np.array(column, np.int64) for column in rest)
  return Examples(np.stack(x), y, clip, copy, tuple(notes))


def noises_of(root: str) -> list[NDArray[np.int16]]:
  """The recordings of background noise of a folder."""
  paths = folders.scan(root).get(folders.BACKGROUND, [])
  return [files.read(path) for path in paths]


def _rows(
  takes: Iterator[folders.Take],
  frontend: Frontend,
  augment: Augment | None,
  noises: list[NDArray[np.int16]],
) -> Iterator[tuple[NDArray[np.float32], int, int, int]]:
  """Features, class, clip and copy of every clip and copy."""
  augment = augment or Augment()
  cut = clips(takes, frontend.clip_samples)
  for number, (take, clip) in enumerate(cut):
    yield frontend.features(clip), take.label, number, 0
    for copy in range(augment.copies):
      made = augment.copy(clip, number, copy, noises)
      yield frontend.features(made), take.label, number, copy + 1


def clips(
  takes: Iterator[folders.Take], length: int
) -> Iterator[tuple[folders.Take, NDArray[np.int16]]]:
  """Cuts the takes' files into clips of `length` samples."""
  held: dict[str, NDArray[np.int16]] = {}  # noise is cut many times
  for take in takes:
    if take.start is None:
      for clip in files.clips_of(files.read(take.path), length):
        yield take, clip
      continue
    if take.path not in held:
      held[take.path] = files.read(take.path)
    noise = held[take.path]
    start = take.start % max(1, len(noise) - length + 1)
    yield take, np.resize(noise[start : start + length], length)


def _disabled(progress: bool) -> bool | None:
  return None if progress else True  # None: silent where it is no terminal
