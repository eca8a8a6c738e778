"""Read arrays of .npy files and .npz archives, after a look at their sizes.

An array says its shape in a header of a few bytes, and an archive packs its
arrays: both may take any amount of memory, whatever the size of the file. So
headers are read first, and compared with the bytes that stand behind them.
"""

from __future__ import annotations

import ast
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

import numpy as np

from tflm_fg import limits
from tflm_fg.files import open_regular
from tflm_fg.types import Array, TflmFgError

TIMES = 2.0
"""Bytes of memory that a byte of samples takes while they are read."""

_MAGIC = b"\x93NUMPY"

_LONGEST_HEADER = 10_000
"""Bytes; NumPy reads no longer one either."""

_LARGEST_DIRECTORY = 64 << 20
"""Bytes of an archive's list of arrays; one array takes about a hundred."""


class Header(NamedTuple):
  """What an array's header says.

  Attributes:
    shape: of the array.
    dtype: of its elements.
    start: bytes in front of them.
  """

  shape: tuple[int, ...]
  dtype: np.dtype[np.generic]
  start: int

  @property
  def size(self) -> int:
    """Bytes of all elements."""
    return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: str) -> Array:
  """Reads the array of a .npy.

  Raises:
    TflmFgError: if it cannot be read, is damaged, or needs more memory than
      there is.
  """
  file, size = open_regular(path)
  with file:
    found = _header(file)
    if found is None or found.size != size - found.start:
      raise TflmFgError(
        f"{path}: not a readable .npy of a plain array{_behind(found, size)}; "
        "save it with numpy.save"
      )
    _require([found], path)
    file.seek(0)
    try:
      return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except _FAULTS:
      raise TflmFgError(f"{path}: cannot be read to its end") from None


def read_npz(
  path: str,
  chosen: Callable[[Sequence[str]], Sequence[str]],
  cure: str = "save it with numpy.savez",
) -> tuple[list[str], dict[str, Array]]:
  """Reads some arrays of a .npz.

  Args:
    path: of the archive.
    chosen: the names of the arrays that are wanted, of those that there are;
      names that are not there are left out.
    cure: what to do about a damaged archive.

  Returns:
    The names of all its arrays, and those that were chosen.

  Raises:
    TflmFgError: if it cannot be read, is damaged, or needs more memory than
      there is; and what `chosen` raises.
  """
  file, size = open_regular(path)
  with file:
    try:
      _require_short_directory(file, size)
      with zipfile.ZipFile(file) as archive:
        members = {n.removesuffix(".npy"): n for n in archive.namelist()}
        wanted = [name for name in chosen(list(members)) if name in members]
        headers = {}
        for name in dict.fromkeys(wanted):
          with archive.open(members[name]) as stream:
            found = _header(stream)
          unpacked = archive.getinfo(members[name]).file_size
          if found is None or found.size != unpacked - found.start:
            raise ValueError(name)
          headers[name] = found
        _require(list(headers.values()), path, size)
        arrays = {}
        for name in headers:
          with archive.open(members[name]) as stream:
            arrays[name] = np.asarray(
              np.lib.format.read_array(stream, allow_pickle=False)
            )
        return list(members), arrays
    except _FAULTS:
      raise TflmFgError(
        f"{path}: not a readable .npz of plain arrays; {cure}"
      ) from None


_FAULTS = (
  EOFError,
  KeyError,
  NotImplementedError,
  OSError,
  RuntimeError,
  ValueError,
  zipfile.BadZipFile,
  zlib.error,
)
"""What damaged archives and headers raise; too little memory is none of it."""


def _require_short_directory(file: IO[bytes], size: int) -> None:
  """Refuses an archive whose list of arrays alone would fill the memory.

  Raises:
    ValueError: if it does.
  """
  file.seek(max(0, size - (1 << 16) - 22))
  tail = file.read()
  place = tail.rfind(b"PK\5\6")
  length = int.from_bytes(tail[place + 12 : place + 16], "little")
  file.seek(0)
  if place < 0 or length > _LARGEST_DIRECTORY:
    raise ValueError("no directory, or an endless one")


def _header(stream: IO[bytes]) -> Header | None:
  """What stands in front of an array's elements; None where that is damaged."""
  start = stream.read(8)
  if len(start) < 8 or start[:6] != _MAGIC or start[6] not in (1, 2, 3):
    return None
  width = 2 if start[6] == 1 else 4
  length = int.from_bytes(stream.read(width), "little")
  if length > _LONGEST_HEADER:
    return None
  text = stream.read(length)
  try:
    said = ast.literal_eval(text.decode("utf-8" if start[6] == 3 else "latin1"))
    shape, dtype = said["shape"], np.dtype(said["descr"])
    sound = all(type(n) is int and n >= 0 for n in shape)
  except _ODD_HEADERS:
    return None
  plain = not dtype.hasobject and sound and len(text) == length
  return Header(tuple(shape), dtype, 8 + width + length) if plain else None


_ODD_HEADERS = (
  KeyError,
  MemoryError,  # Python's parser, of brackets in brackets
  RecursionError,
  SyntaxError,
  TypeError,
  ValueError,
)


def _behind(found: Header | None, size: int) -> str:
  """How the bytes that are there differ from what a header says."""
  if found is None:
    return ""
  there = limits.shown(size - found.start)
  return (
    f" (its header says {'x'.join(map(str, found.shape))} {found.dtype}, "
    f"{limits.shown(found.size)}, and {there} are there)"
  )


def _require(headers: list[Header], path: str, packed: int = 0) -> None:
  """Refuses arrays that need more memory than there is.

  Raises:
    TflmFgError: in one line.
  """
  size = sum(header.size for header in headers)
  what = f"{path}: {limits.shown(packed or size)}"
  if packed:
    what += f" that unpack to {limits.shown(size)}"
  limits.require(TIMES * size, what, "give fewer samples")
