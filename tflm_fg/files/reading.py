"""Read whole files, after a look at what they are and how large."""

from __future__ import annotations

import os
import stat
from typing import IO

from tflm_fg import limits
from tflm_fg.files.names import require_name, why
from tflm_fg.types import TflmFgError

_KINDS = (
  (stat.S_ISDIR, "a folder"),
  (stat.S_ISCHR, "a device"),
  (stat.S_ISBLK, "a device"),
  (stat.S_ISFIFO, "a pipe"),
  (stat.S_ISSOCK, "a socket"),
)
"""What is no file, and never read: a device has no end, a pipe may have none.
"""

TEXT_TIMES = 16
"""Bytes of memory that a byte of text takes, as JSON or a table, once it is
numbers and words of Python."""

MODEL_TIMES = 6
"""Bytes of memory that a byte of a model takes at least: the file, what it is
apart, and the copies of engines."""


def open_regular(path: str) -> tuple[IO[bytes], int]:
  """Opens a file for reading, and nothing that is none.

  Args:
    path: of the file.

  Returns:
    The open file, and its size in bytes.

  Raises:
    TflmFgError: if it is a folder, a device or a pipe, or cannot be opened.
  """
  require_name(path)
  try:
    # Opening a pipe would wait for whoever writes into it.
    handle = os.open(path, os.O_RDONLY | _NO_WAIT | getattr(os, "O_BINARY", 0))
  except FileNotFoundError:
    raise TflmFgError(f"{path}: no such file") from None
  except (OSError, ValueError) as fault:
    raise TflmFgError(f"{path}: cannot be read: {why(fault)}") from None
  status = os.fstat(handle)
  if stat.S_ISREG(status.st_mode):
    return os.fdopen(handle, "rb"), status.st_size
  os.close(handle)
  raise TflmFgError(
    f"{path}: cannot be read: it is {_kind(status.st_mode)}; name a saved file"
  )


_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def _kind(mode: int) -> str:
  """What stands at a path where no file does."""
  return next((name for fits, name in _KINDS if fits(mode)), "no regular file")


def read_bytes(
  path: str, times: float = 1.0, cure: str = "give a smaller file"
) -> bytes:
  """Reads a file.

  Args:
    path: of the file.
    times: bytes of memory that the caller needs for a byte of the file.
    cure: what to do about a file that is too large.

  Raises:
    TflmFgError: if it cannot be read, is no file, or needs more memory than
      there is.
  """
  file, size = open_regular(path)
  with file:
    limits.require(size * times, f"{path}: {limits.shown(size)}", cure)
    try:
      return file.read()
    except (OSError, ValueError) as fault:
      raise TflmFgError(f"{path}: cannot be read: {why(fault)}") from None


def read_model(
  model: bytes | str | os.PathLike[str], name: str | None = None
) -> tuple[bytes, str]:
  """The bytes of a model, and what to call it in errors.

  Args:
    model: a file's path, or its bytes.
    name: what to call it; by default the path, or "model".

  Raises:
    TflmFgError: if there is no such file, it cannot be read, or it needs more
      memory than there is.
  """
  if isinstance(model, bytes | bytearray | memoryview):
    return bytes(model), name or "model"
  try:
    path = os.fspath(model)
  except TypeError:
    raise TflmFgError(
      f"model: need the path or the bytes of a .tflite, got "
      f"{type(model).__name__}"
    ) from None
  return read_bytes(path, MODEL_TIMES, "give a smaller model"), name or path
