"""Find what two files have in common, and where they differ.

A changed head leaves all other bytes where they were. An added operator moves
most of them, and keeps what they say. So blocks of the base are looked up at
every position of the result, and what matches is followed to both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import TflmFgError

BLOCK = 16
"""Bytes that are looked up at once."""

LEAST = 32
"""Equal bytes from which on a copy is shorter than the bytes themselves."""

_AT_ONCE = 1 << 20
_WORD = 8
_FACTORS = np.array(
  [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64
)  # odd, with bits all over: blocks that differ seldom have one value

Bytes = NDArray[np.uint8]


class Piece(NamedTuple):
  """A stretch of the result.

  Attributes:
    start: where it begins in the result.
    end: where it ends.
    source: where in the base it is copied from; None for bytes that are new.
  """

  start: int
  end: int
  source: int | None


def changes(
  base: bytes, result: bytes, join: int = 1
) -> list[tuple[int, bytes]]:
  """Where two files of one length differ.

  Args:
    base: the file that came.
    result: the file that it became.
    join: runs of changed bytes with fewer equal bytes than this between them
      become one run; 1 joins none.

  Returns:
    (offset, new bytes) of every run of changed bytes, in order. Writing all of
    them over `base` gives `result`.

  Raises:
    TflmFgError: if their lengths differ.
  """
  if len(base) != len(result):
    raise TflmFgError(
      f"a file of {len(base)} bytes became one of {len(result)}: what changed "
      "in place can be told of files of one length only; train the head alone "
      "(--trainable=head), or make a delta"
    )
  return [(at, result[at:end]) for at, end in runs(base, result, join)]


def runs(base: bytes, result: bytes, join: int) -> Iterator[tuple[int, int]]:
  """Start and end of every run of changed bytes, of files of one length."""
  differs = np.frombuffer(base, np.uint8) != np.frombuffer(result, np.uint8)
  at = np.flatnonzero(differs)
  if not len(at):
    return
  starts = np.flatnonzero(np.diff(at, prepend=at[0] - join - 1) > join)
  ends = np.append(starts[1:], len(at)) - 1
  for first, last in zip(at[starts].tolist(), at[ends].tolist()):
    yield first, last + 1


def pieces(base: bytes, result: bytes) -> list[Piece]:
  """The result as copies of the base and new bytes, from start to end.

  What lies between two copies that are as far from their sources is a copy
  too, whose bytes have changed in place.
  """
  old, new = (np.frombuffer(data, np.uint8) for data in (base, result))
  found: list[Piece] = []
  by_now = 0
  for start, end, shift in _matches(old, new):
    if found and start - by_now and _shift(found[-1]) == shift:
      start = found.pop().start  # with what changed between the two
    elif start > by_now:
      found.append(Piece(by_now, start, None))
    found.append(Piece(start, end, start + shift))
    by_now = end
  if by_now < len(new):
    found.append(Piece(by_now, len(new), None))
  return found


def _shift(piece: Piece) -> int | None:
  return None if piece.source is None else piece.source - piece.start


def _matches(old: Bytes, new: Bytes) -> Iterator[tuple[int, int, int]]:
  """Start and end of equal stretches in the result, and how far the base is."""
  at, sources = _candidates(old, new)
  by_now, shift, number = 0, 0, 0
  while number < len(at):
    position = int(at[number])
    if not _equal(old, new, position, shift, BLOCK):
      shift_here = int(sources[number]) - position
    else:  # many blocks look alike: what lay beside the last one is meant
      shift_here = shift
    start = position - _equal_before(old, new, position, shift_here, by_now)
    end = position + _equal_from(old, new, position, shift_here)
    if end - start >= LEAST or (shift_here == shift and end > start):
      yield start, end, shift_here
      by_now, shift = end, shift_here
      number = int(np.searchsorted(at, end))
    else:
      number += 1


def _candidates(
  old: Bytes, new: Bytes
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
  """Positions in the result that look like a block of the base, and which."""
  none = np.zeros(0, np.int64)
  if min(len(old), len(new)) < BLOCK:
    return none, none
  blocks = np.concatenate(
    [_values(old, at)[::BLOCK] for at in range(0, len(old), _AT_ONCE)]
  )
  known, first = np.unique(blocks, return_index=True)
  at, sources = [none], [none]
  for start in range(0, len(new), _AT_ONCE):
    values = _values(new, start)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    hits = np.flatnonzero(known[place] == values)
    at.append(hits + start)
    sources.append(first[place[hits]] * BLOCK)
  return np.concatenate(at), np.concatenate(sources)


def _values(data: Bytes, start: int) -> NDArray[np.uint64]:
  """A number for the block at each of the next positions."""
  part = data[start : start + _AT_ONCE + BLOCK - 1].astype(np.uint64)
  count = len(part) - _WORD + 1
  if len(part) < BLOCK:
    return np.zeros(0, np.uint64)
  words = np.zeros(count, np.uint64)
  for byte in range(_WORD):
    words |= part[byte : byte + count] << np.uint64(8 * byte)
  low, high = words[:-_WORD] * _FACTORS[0], words[_WORD:] * _FACTORS[1]
  mixed: NDArray[np.uint64] = low ^ (high >> np.uint64(7)) ^ high
  return mixed


def _equal(old: Bytes, new: Bytes, at: int, shift: int, count: int) -> bool:
  source = at + shift
  return source >= 0 and np.array_equal(
    old[source : source + count], new[at : at + count]
  )


def _equal_from(old: Bytes, new: Bytes, at: int, shift: int) -> int:
  """How many bytes from a position on are those of the base."""
  length = min(len(new) - at, len(old) - at - shift)
  return _leading(old[at + shift :][:length], new[at:][:length])


def _equal_before(
  old: Bytes, new: Bytes, at: int, shift: int, limit: int
) -> int:
  """How many bytes before a position are those of the base."""
  length = min(at - limit, at + shift)
  return _leading(
    old[at + shift - length : at + shift][::-1], new[at - length : at][::-1]
  )


def _leading(one: Bytes, other: Bytes) -> int:
  """How many bytes two arrays of one length have in common at their start."""
  start, step = 0, 256
  while start < len(one):
    part = slice(start, start + step)
    differs = one[part] != other[part]
    if differs.any():
      return start + int(np.argmax(differs))
    start, step = start + step, step * 4
  return len(one)
