"""Sample N-way K-shot episodes of a labelled pool."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import Array, TflmFgError

Part = tuple[Array, Array]
"""Samples [N, ...] and their classes, int64 [N]."""


class Sample(NamedTuple):
  """An episode; its classes are 0 to ways - 1.

  Attributes:
    train: shots samples of every class, the classes in turn.
    test: other samples of the same classes.
    classes: int64 [ways], what the pool calls them, ascending.
  """

  train: Part
  test: Part
  classes: NDArray[np.int64]


def sample(
  x: Array,
  y: Array,
  ways: int | None,
  shots: int,
  tests: int | None,
  seed: int,
  groups: Array | None = None,
) -> Sample:
  """Samples an episode.

  Args:
    x: [N, ...], the pool.
    y: integers [N], its classes.
    ways: classes of the episode; None for all.
    shots: training samples of a class; fewer are the beginning of more.
    tests: test samples of a class; None for all that are left.
    seed: which episode.
    groups: integers [N]; samples of one group, as cuts of one recording, are
      never on both sides. None where each sample stands for itself.

  Raises:
    TflmFgError: if the pool is too small for that.
  """
  if shots < 1 or (tests is not None and tests < 0):
    raise TflmFgError(f"shots={shots}, tests={tests}: need 1 and 0 or more")
  if len(x) != len(y) or y.dtype.kind not in "iu":
    raise TflmFgError(
      f"pool: {len(x)} samples and classes {y.dtype} {list(y.shape)}; need one "
      "integer class for each sample"
    )
  classes = choose(np.unique(y), ways, seed)
  rng = np.random.default_rng([seed, 1])
  shuffled = [
    _in_groups(rng.permutation(np.flatnonzero(y == label)), groups)
    for label in classes
  ]
  train = [members[:shots] for members in shuffled]
  known = None if groups is None else groups[np.concatenate(train)]
  test = []
  for label, members in zip(classes, shuffled):
    others = members[shots:]
    if groups is not None:
      others = others[~np.isin(groups[others], known)]
    _require(len(members), len(others), shots, tests, int(label))
    test.append(others[:tests])
  taken, kept = np.stack(train, axis=1).ravel(), np.concatenate(test)
  return Sample(
    subset(x[taken], y[taken], classes),
    subset(x[kept], y[kept], classes),
    classes,
  )


def choose(classes: Array, ways: int | None, seed: int) -> NDArray[np.int64]:
  """Chooses the classes of an episode; they keep their order.

  Raises:
    TflmFgError: if there are not so many.
  """
  if ways is None:
    ways = len(classes)
  if not 2 <= ways <= len(classes):
    raise TflmFgError(
      f"ways={ways}: the pool has {len(classes)} classes; need 2 or more, and "
      "no more than it has"
    )
  taken = np.random.default_rng([seed, 0]).permutation(len(classes))[:ways]
  return np.sort(np.asarray(classes)[taken]).astype(np.int64)


def subset(x: Array, y: Array, classes: NDArray[np.int64]) -> Part:
  """The samples of some classes, which are numbered from 0 in their order."""
  rows = np.isin(y, classes)
  return x[rows], np.searchsorted(classes, y[rows]).astype(np.int64)


def _in_groups(members: Array, groups: Array | None) -> Array:
  """Shuffled samples, a group together: few shots then spoil few others."""
  if groups is None:
    return members
  _, first, inverse = np.unique(
    groups[members], return_index=True, return_inverse=True
  )
  return members[np.argsort(first[inverse], kind="stable")]


def _require(
  held: int, others: int, shots: int, tests: int | None, label: int
) -> None:
  need = shots + (tests or 0)
  if held < need:
    raise TflmFgError(
      f"class {label}: {held} samples; {shots} shots and {tests or 0} tests "
      f"need {need}"
    )
  if others < (tests or 0):
    raise TflmFgError(
      f"class {label}: {others} samples are of other recordings than the "
      f"training samples; {tests} tests need more, or take fewer shots"
    )
