"""Read a folder of recordings as features and labels."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tqdm
from numpy.typing import NDArray

from apps.kws.audio import checked_clips, folders
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
    doubts: what was warned of: recordings that cannot be read, silence, copies.
    digests: of each clip's sound; empty for a window of noise.
  """

  x: NDArray[np.float32]
  y: NDArray[np.int64]
  clip: NDArray[np.int64]
  copy: NDArray[np.int64]
  notes: tuple[str, ...] = ()
  doubts: tuple[str, ...] = ()
  digests: tuple[bytes, ...] = ()

  def __len__(self) -> int:
    return len(self.y)

  def take(self, rows: NDArray[np.bool_]) -> Examples:
    """The rows that are true."""
    names = ("x", "y", "clip", "copy")
    taken = {name: getattr(self, name)[rows] for name in names}
    return dataclasses.replace(self, **taken)

  def told_apart(self, trained: Examples, name: str) -> Examples:
    """The same, after a warning of clips that were trained on too.

    Args:
      trained: what is trained on.
      name: what to call these, for people.
    """
    known, own = trained._sounds(), self._sounds()
    seen = len([digest for digest in own if digest in known])
    if not seen:
      return self
    doubt = (
      f"{name}: {seen} of {len(own)} clips are trained on too, so their score "
      "says less of new ones"
    )
    warnings.warn(doubt, stacklevel=2)
    return dataclasses.replace(self, doubts=(*self.doubts, doubt))

  def _sounds(self) -> set[bytes]:
    """Digests of the clips, without windows of noise."""
    if not self.digests:
      return set()
    return {self.digests[n] for n in np.unique(self.clip)} - {b""}

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
  strict: bool = False,
) -> Examples:
  """Reads a folder in the Speech Commands layout.

  What cannot be learned from is left out, and warned of: see `checked_clips`.

  Args:
    root: the folder.
    frontend: what makes features of a clip.
    classes: the model's, in the order of its outputs.
    split: one of `folders.SPLITS`.
    augment: how to make copies; None for none.
    seed: draws other words and windows of noise.
    name: what to call the model in errors.
    progress: whether to show a bar on a terminal.
    strict: whether a recording that cannot be read stops it all.

  Returns:
    Every clip, followed by its copies.

  Raises:
    TflmFgError: if no file can be read, or nothing fits.
  """
  takes, notes = folders.takes(root, classes, split=split, seed=seed, name=name)
  if not takes:
    raise TflmFgError(
      f"{root}: no clips in the part {split!r}; try --split=all"
    )
  silence = None
  if folders.SILENCE in classes:
    silence = list(classes).index(folders.SILENCE)
  found = checked_clips.Findings(root, silence, strict)
  bar = tqdm.tqdm(
    takes, desc=f"reading {root}", unit="file", disable=_disabled(progress)
  )
  noises = noises_of(root, strict) if augment and augment.copies else []
  rows = list(_rows(bar, frontend, augment, noises, found))
  found.require_some()
  x, *rest = zip(*[row for row in rows if row[2] not in found.torn])
  y, clip, copy = (np.array(column, np.int64) for column in rest)
  for doubt in found.doubts():
    warnings.warn(doubt, stacklevel=2)
  return Examples(
    np.stack(x),
    y,
    clip,
    copy,
    (*notes, *found.remarks()),
    found.doubts(),
    tuple(found.digests),
  )


def noises_of(root: str, strict: bool = False) -> list[NDArray[np.int16]]:
  """The recordings of background noise of a folder that can be read."""
  paths = folders.scan(root).get(folders.BACKGROUND, [])
  found = checked_clips.Findings(root, strict=strict)
  read = [checked_clips.read(path, found) for path in paths]
  return [noise for noise in read if noise is not None]


def _rows(
  takes: Iterable[folders.Take],
  frontend: Frontend,
  augment: Augment | None,
  noises: list[NDArray[np.int16]],
  found: checked_clips.Findings,
) -> Iterator[tuple[NDArray[np.float32], int, int, int]]:
  """Features, class, clip and copy of every clip and copy."""
  augment = augment or Augment()
  cut = checked_clips.clips(takes, frontend.clip_samples, found)
  for number, (take, clip) in enumerate(cut):
    yield frontend.features(clip), take.label, number, 0
    for copy in range(augment.copies):
      made = augment.copy(clip, number, copy, noises)
      yield frontend.features(made), take.label, number, copy + 1


def _disabled(progress: bool) -> bool | None:
  return None if progress else True  # None: silent where it is no terminal
