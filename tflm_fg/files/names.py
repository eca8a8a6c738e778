"""What a file may be called, and why one cannot be used."""

from __future__ import annotations

import os

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


def why(fault: Exception) -> str:
  """The system's own words for a fault."""
  return getattr(fault, "strerror", None) or str(fault)
