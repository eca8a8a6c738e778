"""Append records to a file, so that whoever is killed loses the last at most.

A record is a line: a check sum, an address, and a text without line breaks. A
line is written in one go behind all others, and none is ever changed. What a
kill or a full disk leaves of the last one fits no check sum, and is cut off
when the file is opened again.
"""

from __future__ import annotations

import os
import re
import zlib
from typing import NamedTuple

from tflm_fg.files.names import why
from tflm_fg.types import TflmFgError

try:
  import fcntl
except ImportError:  # a system without flock
  fcntl = None  # type: ignore[assignment]

_SUM, _ADDRESS = 8, 64
_TEXT = _SUM + 1 + _ADDRESS + 1
"""Where a line's text begins."""
_BEGINNING = re.compile(
  rb"[0-9a-f]{0,8}|[0-9a-f]{8} [0-9a-f]{0,64}|[0-9a-f]{8} [0-9a-f]{64} "
)


class _Place(NamedTuple):
  """Where a record's text lies in the file, in bytes."""

  start: int
  length: int


class RecordFile:
  """Records by address, in a file that one process has for itself.

  Attributes:
    cut_bytes: of a torn last line, cut off when the file was opened.
  """

  def __init__(self, path: str, name: str) -> None:
    """Opens it, makes it if it is not there, and cuts off what is torn.

    Args:
      path: of the file.
      name: what to call it in errors.

    Raises:
      TflmFgError: if it cannot be opened, is no file of records, or another
        process has it.
    """
    self._name = name
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    try:
      is_new = not os.path.exists(path)
      self._handle = os.open(path, flags, 0o666)
    except OSError as fault:
      raise self._refused(fault) from None
    try:
      self._lock()
      self._places, self.cut_bytes = self._whole_lines()
      if self.cut_bytes:
        os.ftruncate(self._handle, self._end)
      if is_new:
        _sync_folder(os.path.dirname(path))
    except OSError as fault:
      self.close()
      raise self._refused(fault) from None
    except TflmFgError:
      self.close()
      raise

  def __contains__(self, address: str) -> bool:
    return address in self._places

  def __len__(self) -> int:
    return len(self._places)

  def read(self, address: str) -> str:
    """The text of a record that is there."""
    place = self._places[address]
    held = os.pread(self._handle, place.length, place.start)
    return held.decode()

  def append(self, address: str, text: str, firmly: bool) -> None:
    """Writes a record behind all others.

    Args:
      address: 64 hexadecimal digits.
      text: one line.
      firmly: whether to wait until the disk has it.

    Raises:
      TflmFgError: if it cannot be written; the records before it stay.
    """
    body = f"{address} {text}".encode()
    line = b"%08x %b\n" % (zlib.crc32(body), body)
    try:
      if os.fstat(self._handle).st_size != self._end:
        # A full disk or a signal has left a part of a line.
        os.ftruncate(self._handle, self._end)
      self._write(line)
      if firmly:
        os.fsync(self._handle)
    except OSError as fault:
      raise self._refused(fault) from None
    self._places[address] = _Place(self._end + _TEXT, len(line) - _TEXT - 1)
    self._end += len(line)

  def close(self) -> None:
    """Gives the file back; another process may have it."""
    if self._handle >= 0:
      os.close(self._handle)
    self._handle = -1

  def _write(self, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
      rest = rest[os.write(self._handle, rest) :]

  def _lock(self) -> None:
    """Takes the file for this process; a killed one has none."""
    if fcntl is None:
      return
    try:
      fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise TflmFgError(
        f"{self._name}: another process is working with this checkpoint; wait "
        "until it is done, or name another folder"
      ) from None

  def _whole_lines(self) -> tuple[dict[str, _Place], int]:
    """Where whole records are, and how many bytes lie behind them."""
    places: dict[str, _Place] = {}
    self._end = 0
    size = os.fstat(self._handle).st_size
    with open(os.dup(self._handle), "rb") as file:
      file.seek(0)
      for line in file:
        if not _is_whole(line):
          if not places and (line.endswith(b"\n") or not _begins_one(line)):
            raise TflmFgError(
              f"{self._name}: holds something else than a checkpoint of ours, "
              "or its first record is damaged; name another folder"
            )
          break
        address = line[_SUM + 1 : _TEXT - 1].decode("ascii")
        length = len(line) - _TEXT - 1
        places[address] = _Place(self._end + _TEXT, length)
        self._end += len(line)
    return places, size - self._end

  def _refused(self, fault: OSError) -> TflmFgError:
    return TflmFgError(
      f"{self._name}: the checkpoint cannot be written: {why(fault)}; what it "
      "holds stays whole: mend that and give the same command again"
    )


def _is_whole(line: bytes) -> bool:
  """Whether a line is a record, all of it."""
  if not line.endswith(b"\n") or len(line) <= _TEXT:
    return False
  return line[:_SUM] == b"%08x" % zlib.crc32(line[_SUM + 1 : -1])


def _begins_one(line: bytes) -> bool:
  """Whether a line may be what a kill or a loss of power left of a record.

  File systems may give zeros for what had not come to the disk.
  """
  return _BEGINNING.fullmatch(line.rstrip(b"\0")[:_TEXT]) is not None


def _sync_folder(path: str) -> None:
  """Has the disk know of a new name in a folder."""
  handle = os.open(path or ".", os.O_RDONLY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)
