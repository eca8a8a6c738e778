"""The target patch: what changed in a .tflite, for a few lines to apply.

A patch is bytes, little endian:

    4 bytes   "FGP1"
    uint32    size of the file before
    uint32    CRC-32 of the file before
    uint32    size of the file afterwards
    uint32    CRC-32 of the file afterwards
    then, until the patch ends:
    uint32    where bytes of the file before begin that come next
    uint32    how many they are
    uint32    how many new bytes come behind them
    bytes     the new bytes

The file afterwards is what comes, one behind the other. Where both files are
of one size and each copy begins where it will stand, as with a head, the new
bytes can be written over the file in place.

The sums find an accident: the wrong file, or bytes that were lost on the way.
They do not keep out somebody who wants to do harm; for that there are signed
deltas (`tflm_fg.delta`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from tflm_fg import delta
from tflm_fg.types import TflmFgError

MAGIC = b"FGP1"
HEAD = struct.Struct("<4sIIII")
PART = struct.Struct("<III")
MOST_BYTES = (1 << 32) - 1


def make(base: bytes, result: bytes) -> bytes:
  """A patch of what changed between two files.

  Args:
    base: the file before.
    result: the file afterwards.

  Raises:
    TflmFgError: if one of them is over 4 GiB.
  """
  if max(len(base), len(result)) > MOST_BYTES:
    raise TflmFgError(f"a patch is of files up to {MOST_BYTES} bytes")
  sums = zlib.crc32(base), len(result), zlib.crc32(result)
  return HEAD.pack(MAGIC, len(base), *sums) + b"".join(
    PART.pack(source, kept, len(fresh)) + fresh
    for source, kept, fresh in parts(base, result)
  )


def parts(base: bytes, result: bytes) -> Iterator[tuple[int, int, bytes]]:
  """What a patch says: copies of the base, and what is new behind them.

  Args:
    base: the file before.
    result: the file afterwards.

  Yields:
    Where a copy begins in `base`, how many bytes it has, and the new bytes
    behind it, in the order of the result.
  """
  source, kept, fresh = 0, 0, b""
  for at, length, new in _runs(base, result):
    if not length:
      fresh += new
      continue
    if kept or fresh:
      yield source, kept, fresh
    source, kept, fresh = at, length, new
  if kept or fresh:
    yield source, kept, fresh


def _runs(base: bytes, result: bytes) -> Iterator[tuple[int, int, bytes]]:
  """The same, with new bytes that may have no copy in front of them."""
  for piece in delta.pieces(base, result):
    wanted = result[piece.start : piece.end]
    if piece.source is None:
      yield 0, 0, wanted
      continue
    held = base[piece.source : piece.source + len(wanted)]
    by_now = 0
    for at, fresh in delta.changes(held, wanted, join=PART.size):
      yield piece.source + by_now, at - by_now, fresh
      by_now = at + len(fresh)
    if by_now < len(wanted):
      yield piece.source + by_now, len(wanted) - by_now, b""


def apply(base: bytes, patch: bytes, name: str = "the patch") -> bytes:
  """Makes the file afterwards of the file before.

  Args:
    base: the file before.
    patch: what `make` gave.
    name: what to call the patch in errors.

  Raises:
    TflmFgError: if the patch is damaged, or is of another file.
  """
  if len(patch) < HEAD.size or not patch.startswith(MAGIC):
    raise TflmFgError(f"{name}: no patch: it does not begin with {MAGIC!r}")
  _, size, before, size_afterwards, afterwards = HEAD.unpack_from(patch)
  if len(base) != size or zlib.crc32(base) != before:
    raise TflmFgError(
      f"{name}: made for another file: of {size} bytes with the CRC-32 "
      f"{before:08x}, not {len(base)} with {zlib.crc32(base):08x}"
    )
  out, at = bytearray(), HEAD.size
  while at + PART.size <= len(patch) and len(out) <= size_afterwards:
    source, kept, fresh = PART.unpack_from(patch, at)
    at += PART.size
    out += base[source : source + kept] + patch[at : at + fresh]
    at += fresh
  if len(out) != size_afterwards or zlib.crc32(out) != afterwards:
    raise TflmFgError(f"{name}: damaged: its sums do not fit")
  return bytes(out)
