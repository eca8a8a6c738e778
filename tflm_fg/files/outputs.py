"""Refuse outputs that cannot be written, before long work."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from tflm_fg.files import primitives
from tflm_fg.files.names import require_name, require_replaceable, why
from tflm_fg.files.temporaries import temporary
from tflm_fg.types import TflmFgError


def require_new_folder(path: str) -> None:
  """Refuses a folder's path where something stands, or that has no parent.

  Raises:
    TflmFgError: in one line.
  """
  require_name(path)
  target = os.path.realpath(path)
  if os.path.lexists(target):
    raise TflmFgError(f"{path}: is there already; name a new folder")
  require_writable(target)


def require_writable(path: str) -> None:
  """Refuses an output path now rather than after long work.

  Raises:
    TflmFgError: if its folder is missing or cannot be written, its name is not
      one a file can have, or it is a read-only file.
  """
  require_replaceable(path)
  target = os.path.realpath(path)
  folder, name = os.path.split(target)
  if not os.path.isdir(folder):
    raise TflmFgError(f"{path}: no folder {folder!r}; make it first")
  if fault := _refusal(folder):
    raise TflmFgError(f"{path}: cannot be written: {fault}")
  longest = os.pathconf(folder, "PC_NAME_MAX")
  if len(os.fsencode(name)) > longest:
    raise TflmFgError(f"{path[:40]}...: a name longer than {longest} bytes")


def _refusal(folder: str) -> str:
  """Why no file can be made in a folder, empty if one can: it is tried."""
  own = temporary(folder, "try")
  try:
    primitives.create(own, b"")
    primitives.remove(own)
  except OSError as fault:
    return why(fault)
  return ""


def require_outputs(
  outputs: Mapping[str, str | None],
  inputs: Mapping[str, str | None],
  folders: Collection[str | None] = (),
) -> None:
  """Refuses outputs that cannot be written or that would destroy something.

  Args:
    outputs: flag -> path, None for a flag that is not given.
    inputs: the same for the files that are read.
    folders: that are made once there is something to write; None for none.

  Raises:
    TflmFgError: naming the flag whose file another flag names too.
  """
  made = {os.path.realpath(folder) for folder in folders if folder}
  taken = {os.path.realpath(p): flag for flag, p in inputs.items() if p}
  for flag, path in outputs.items():
    if path is None:
      continue
    folder = os.path.dirname(os.path.realpath(path))
    if folder in made and not os.path.lexists(folder):
      require_folder(folder)
    else:
      require_writable(path)
    other = taken.setdefault(os.path.realpath(path), flag)
    if other != flag:
      raise TflmFgError(
        f"{path}: named by --{flag} and by --{other}; name another file"
      )


def require_folder(path: str) -> None:
  """Refuses a folder for outputs that is not there and cannot be made.

  It is not made, so that a program that fails later leaves nothing.

  Raises:
    TflmFgError: in one line.
  """
  require_name(path)
  part = os.path.realpath(path)
  while not os.path.lexists(part):
    part = os.path.dirname(part)
  if not os.path.isdir(part):
    raise TflmFgError(f"{path}: {part} is no folder; name another one")
  if fault := _refusal(part):
    raise TflmFgError(
      f"{path}: nothing can be written to {part}: {fault}; name another folder"
    )


def make_folder(path: str) -> None:
  """Makes an output folder, or takes the one that is there.

  Raises:
    TflmFgError: if it cannot be made or written to.
  """
  require_folder(path)
  try:
    os.makedirs(path, exist_ok=True)
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be made: {why(fault)}") from None
