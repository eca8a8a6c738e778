"""Read and write whole files: either all of the new file or all of the old."""

from __future__ import annotations

import contextlib
import os
import tempfile

from tflm_fg.base import TflmFgError


def read_bytes(path: str) -> bytes:
  """Reads a file.

  Raises:
    TflmFgError: if it cannot be read.
  """
  try:
    with open(path, "rb") as file:
      return file.read()
  except FileNotFoundError:
    raise TflmFgError(f"{path}: no such file") from None
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be read: {fault.strerror}") from None


def write_atomically(path: str, content: bytes) -> None:
  """Writes to a temporary file in the same folder, then renames it.

  Raises:
    TflmFgError: if the folder cannot be written; nothing is left behind.
  """
  folder = os.path.dirname(path) or "."
  temporary = ""
  try:
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".tflm_fg-")
    with os.fdopen(handle, "wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)
  except OSError as fault:
    if temporary:
      with contextlib.suppress(OSError):
        os.unlink(temporary)
    raise TflmFgError(f"{path}: cannot be written: {fault.strerror}") from None


def require_writable(path: str) -> None:
  """Refuses an output path now rather than after long work.

  Raises:
    TflmFgError: if its folder is missing or cannot be written.
  """
  folder = os.path.dirname(path) or "."
  if not os.path.isdir(folder):
    raise TflmFgError(f"{path}: no folder {folder!r}; make it first")
  if os.path.isdir(path):
    raise TflmFgError(f"{path}: is a folder; name a file")
  try:
    with tempfile.TemporaryFile(dir=folder, prefix=".tflm_fg-"):
      pass
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be written: {fault.strerror}") from None


def _umask() -> int:
  mask = os.umask(0)
  os.umask(mask)
  return mask


def make_folder(path: str) -> None:
  """Makes an output folder, or takes the one that is there.

  Raises:
    TflmFgError: if it cannot be made or written to.
  """
  try:
    os.makedirs(path, exist_ok=True)
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be made: {fault.strerror}") from None
  require_writable(os.path.join(path, "any"))
