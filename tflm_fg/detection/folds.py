"""Split streams into parts that are kept aside in turn.

Streams that belong together, such as those of one voice, are kept aside
together. So are streams with the same bytes. Which part a group gets depends on
the seed and the group's name alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from tflm_fg.types import Int8, TflmFgError


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
  """Streams, and which part each of them is in.

  Attributes:
    streams: int8 [T, features] each.
    part: of each stream; -1 for one that is always trained on.
  """

  streams: Sequence[Int8]
  part: tuple[int, ...]

  def trained(self, fold: int) -> list[Int8]:
    """What is trained on while a part is kept aside."""
    return [s for s, part in zip(self.streams, self.part) if part != fold]

  @property
  def are_kept_aside(self) -> bool:
    """Whether every stream is scored by a training that did not see it."""
    return all(part >= 0 for part in self.part)


def split(
  streams: Sequence[Int8],
  names: Sequence[str] | None,
  folds: int,
  seed: int,
) -> Parts:
  """Gives each group of streams to a part, in turn.

  Args:
    streams: int8 [T, features] each.
    names: the group of each stream; None for a group each.
    folds: how many parts there are.
    seed: shuffles the groups.

  Returns:
    The streams with their parts. A single group is in no part.

  Raises:
    TflmFgError: if there are not as many names as streams.
  """
  if names is not None and len(names) != len(streams):
    raise TflmFgError(
      f"{len(names)} names for {len(streams)} streams: need a name each"
    )
  digests = [hashlib.sha256(s.tobytes()).hexdigest() for s in streams]
  given = names or [""] * len(streams)
  groups = _joined(
    [(f"name {n}" if n else d, d) for n, d in zip(given, digests)]
  )
  known = sorted(
    set(groups), key=lambda g: hashlib.sha256(f"{seed} {g}".encode()).digest()
  )
  if len(known) < 2:
    return Parts(streams, (-1,) * len(streams))
  turn = {group: place % folds for place, group in enumerate(known)}
  return Parts(streams, tuple(turn[g] for g in groups))


def split_both(
  streams: tuple[Sequence[Int8], Sequence[Int8]],
  names: tuple[Sequence[str] | None, Sequence[str] | None],
  folds: int,
  seed: int,
) -> tuple[Parts, Parts]:
  """Splits two lists such that a name is in the same part of both.

  Args:
    streams: the first are split as `split` does it; those of the second join a
      group of the first by their name or bytes; those that join none are split
      by themselves.
    names: of both.
    folds: how many parts there are.
    seed: shuffles the groups.

  Raises:
    TflmFgError: if there are not as many names as streams.
  """
  first = split(streams[0], names[0], folds, seed)
  alone = split(streams[1], names[1], folds, seed)
  part = {name: p for name, p in zip(names[0] or (), first.part) if name}
  same = {s.tobytes(): p for s, p in zip(streams[0], first.part)}
  given = names[1] or [""] * len(streams[1])
  joined = tuple(
    part.get(name, same.get(s.tobytes(), own))
    for name, s, own in zip(given, streams[1], alone.part)
  )
  return first, Parts(streams[1], joined)


def _joined(keys: Sequence[tuple[str, str]]) -> list[str]:
  """One group a stream, such that streams that share a key share a group."""
  group: dict[str, str] = {}
  for one, other in keys:
    old, new = group.get(other, other), group.get(one, one)
    group = {k: (new if g == old else g) for k, g in group.items()}
    group[one] = group[other] = new
  return [group[one] for one, _ in keys]


def pieces(streams: Iterable[Int8], least: int, longest: int) -> list[Int8]:
  """Cuts long streams, so that a part of them can be kept aside.

  The model's state has gone on over the cut; what a piece loses is its warm-up,
  which is not scored.

  Args:
    streams: int8 [T, features] each.
    least: steps that a piece needs.
    longest: steps that a piece should have at most.
  """
  found: list[Int8] = []
  for stream in streams:
    count = max(1, min(-(-len(stream) // longest), len(stream) // least))
    found += np.array_split(stream, count)
  return found
