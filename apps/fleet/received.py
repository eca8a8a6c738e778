"""Files that devices sent, as a flag names them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tflm_fg.types import TflmFgError


def numbered(flag: str, paths: Sequence[str]) -> dict[str, str]:
  """The files of a flag of several, for `files.require_outputs`."""
  return {f"{flag} {n}": path for n, path in enumerate(paths)}


def files_in(given: Sequence[str]) -> list[str]:
  """The files that are named, and those of folders that are.

  Raises:
    TflmFgError: if there is none.
  """
  paths: list[str] = []
  for path in given:
    if os.path.isdir(path):
      paths += [os.path.join(path, name) for name in sorted(os.listdir(path))]
    else:
      paths.append(path)
  if not paths:
    raise TflmFgError(
      f"--sums={','.join(given)}: holds no file; name those that devices sent"
    )
  return paths
