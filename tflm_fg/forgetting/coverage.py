"""Say which classes of a model the samples show, and which they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tflm_fg.types import Array, Int64

BARELY = 10
"""A class is barely shown if the shown ones have so many times its samples,
at the median. One sample among a hundred others says as little of a class as
none: what is fitted to all of them hardly feels it."""

PULL = 0.6
"""Lambda of the pull towards the start of a head that keeps classes.

Of .3 and .6, on real samples, .3 gains two points more on the classes that are
shown; .6 leaves the others a margin: at worst they lose 1.3 points, and not
1.5, and on clusters of numbers 1.7, and not 3 (docs/forgetting.md).
"""

MOST_NAMED = 12
"""Classes that a note names before it counts the others."""


class Coverage(NamedTuple):
  """How many samples each class of a model has.

  Attributes:
    counts: int64 [C], samples a class.
    names: of the classes, in order.
    what: what is counted, in words.
  """

  counts: Int64
  names: tuple[str, ...]
  what: str = "samples"

  @classmethod
  def of(cls, labels: Array, names: Sequence[str]) -> Coverage:
    """Counts the samples of each class.

    Args:
      labels: int64 [N], classes.
      names: of all classes that the model knows.
    """
    counts = np.bincount(labels.astype(np.int64), minlength=len(names))
    return cls(counts, tuple(names))

  @property
  def absent(self) -> list[int]:
    """Classes without a sample."""
    return [int(label) for label in np.flatnonzero(self.counts == 0)]

  @property
  def barely(self) -> list[int]:
    """Classes with samples, but far fewer than the others have."""
    return [label for label in self.lacking if self.counts[label]]

  @property
  def lacking(self) -> list[int]:
    """Classes that are absent or barely shown."""
    return thin_classes(self.counts)

  @property
  def shown(self) -> list[int]:
    """Classes with samples enough to learn them from."""
    thin = {*self.lacking}
    return [label for label in range(len(self.counts)) if label not in thin]

  @property
  def is_whole(self) -> bool:
    """Whether every class is shown."""
    return not self.lacking

  @property
  def gaps(self) -> str:
    """What is missing, in words: "no samples for 2 of 5: a, b"."""
    parts = []
    for found, few in ((self.absent, "no"), (self.barely, "few")):
      if found:
        named = [self.titled(label) for label in found[:MOST_NAMED]]
        more = len(found) - len(named)
        named += [f"{more} more"] * (more > 0)
        parts.append(
          f"{few} {self.what} for {len(found)} of {len(self.counts)} classes "
          f"({', '.join(named)})"
        )
    return " and ".join(parts)

  def titled(self, label: int) -> str:
    """A class's number, and its name where it has one."""
    name = self.names[label]
    return name if name == str(label) else f"{label} {name}"


def keeping_notes(coverage: Coverage | None) -> list[str]:
  """Names the classes that are to be kept, and says how that is done."""
  if coverage is None:
    return []
  return [
    f"{coverage.gaps}: to keep them, a head trains beside inputs imagined from "
    "itself, and what is in front of it only as far as samples of classes that "
    "were left out gain by it"
  ]


def thin_classes(counts: Int64) -> list[int]:
  """Classes without samples, and those that are barely shown.

  Args:
    counts: int64 [C], samples a class.
  """
  some = counts[counts > 0]
  median = float(np.median(some)) if len(some) else 0.0
  return [int(c) for c in np.flatnonzero(counts * BARELY <= median)]
