"""What a file may be called, and why one cannot be used."""

from __future__ import annotations

import os
import shlex

from tflm_fg.types import TflmFgError

TEMPORARY = ".tflm_fg-"
"""How the names of unfinished files begin."""


def require_name(path: str) -> None:
  """Refuses a name that no file can have.

  Raises:
    TflmFgError: if it is one.
  """
  if not path or "\0" in path:
    raise TflmFgError("an empty or impossible file name; name a file")


def require_regular(path: str) -> None:
  """Only files are replaced: never a folder, a device or a pipe."""
  require_name(path)
  if os.path.isdir(path):
    raise TflmFgError(f"{path}: is a folder; name a file")
  if os.path.exists(path) and not os.path.isfile(path):
    raise TflmFgError(f"{path}: is not a regular file; name a file")


def require_replaceable(path: str) -> None:
  """Refuses what is no file, and files that somebody has closed to writing.

  A folder's owner could replace them all the same, and the superuser can write
  to them; but read-only is said of files that are to stay.

  Raises:
    TflmFgError: in one line.
  """
  require_regular(path)
  if not os.path.exists(path):
    return
  if not os.stat(path).st_mode & 0o200 or not os.access(path, os.W_OK):
    raise TflmFgError(
      f"{path}: is read-only; name another file, or permit it to be replaced: "
      f"chmod u+w {shlex.quote(path)}"
    )


def why(fault: Exception) -> str:
  """The system's own words for a fault."""
  return getattr(fault, "strerror", None) or str(fault)
