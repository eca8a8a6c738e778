"""Read and write whole files: either all of the new file or all of the old."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping

from tflm_fg.types import TflmFgError

_PREFIX = ".tflm_fg-"


def read_bytes(path: str) -> bytes:
  """Reads a file.

  Raises:
    TflmFgError: if it cannot be read.
  """
  _require_name(path)
  try:
    with open(path, "rb") as file:
      return file.read()
  except FileNotFoundError:
    raise TflmFgError(f"{path}: no such file") from None
  except (OSError, ValueError) as fault:
    raise TflmFgError(f"{path}: cannot be read: {_why(fault)}") from None


def read_model(
  model: bytes | str | os.PathLike[str], name: str | None = None
) -> tuple[bytes, str]:
  """The bytes of a model, and what to call it in errors.

  Args:
    model: a file's path, or its bytes.
    name: what to call it; by default the path, or "model".

  Raises:
    TflmFgError: if there is no such file, or it cannot be read.
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
  return read_bytes(path), name or path


def write_atomically(path: str, content: bytes) -> None:
  """Writes to a temporary file in the same folder, then renames it.

  A link is followed: its target is replaced, not the link.

  Raises:
    TflmFgError: if the file cannot be written; nothing is left behind.
  """
  _require_regular(path)
  target = os.path.realpath(path)
  temporary = ""
  try:
    handle, temporary = tempfile.mkstemp(
      dir=os.path.dirname(target), prefix=_PREFIX
    )
    with os.fdopen(handle, "wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~umask())
    os.replace(temporary, target)
    temporary = ""
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be written: {_why(fault)}") from None
  finally:
    if temporary:  # a fault, or Ctrl-C
      with contextlib.suppress(OSError):
        os.unlink(temporary)


def write_folder(path: str, contents: Mapping[str, bytes]) -> None:
  """Writes a new folder: all of it, or nothing.

  It is filled beside its place and then renamed.

  Args:
    path: of the folder, which must not be there yet; its parent must.
    contents: the files' bytes by their paths in the folder, with slashes.

  Raises:
    TflmFgError: if there is something at the path, or it cannot be written;
      nothing is left behind.
  """
  require_new_folder(path)
  target = os.path.realpath(path)
  temporary = ""
  try:
    temporary = tempfile.mkdtemp(dir=os.path.dirname(target), prefix=_PREFIX)
    for name, content in contents.items():
      own = os.path.join(temporary, *name.split("/"))
      os.makedirs(os.path.dirname(own), exist_ok=True)
      with open(own, "wb") as file:
        file.write(content)
    os.chmod(temporary, 0o777 & ~umask())
    os.rename(temporary, target)
    temporary = ""
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be written: {_why(fault)}") from None
  finally:
    if temporary:  # a fault, or Ctrl-C
      shutil.rmtree(temporary, ignore_errors=True)


def require_new_folder(path: str) -> None:
  """Refuses a folder's path where something stands, or that has no parent.

  Raises:
    TflmFgError: in one line.
  """
  _require_name(path)
  target = os.path.realpath(path)
  if os.path.lexists(target):
    raise TflmFgError(f"{path}: is there already; name a new folder")
  require_writable(target)


def require_writable(path: str) -> None:
  """Refuses an output path now rather than after long work.

  Raises:
    TflmFgError: if its folder is missing or cannot be written, or its name
      is not one a file can have.
  """
  _require_regular(path)
  target = os.path.realpath(path)
  folder, name = os.path.split(target)
  if not os.path.isdir(folder):
    raise TflmFgError(f"{path}: no folder {folder!r}; make it first")
  try:
    with tempfile.TemporaryFile(dir=folder, prefix=_PREFIX):
      pass
    longest = os.pathconf(folder, "PC_NAME_MAX")
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be written: {_why(fault)}") from None
  if len(os.fsencode(name)) > longest:
    raise TflmFgError(f"{path[:40]}...: a name longer than {longest} bytes")


def require_outputs(
  outputs: Mapping[str, str | None], inputs: Mapping[str, str | None]
) -> None:
  """Refuses outputs that cannot be written or that would destroy something.

  Args:
    outputs: flag -> path, None for a flag that is not given.
    inputs: the same for the files that are read.

  Raises:
    TflmFgError: naming the flag whose file another flag names too.
  """
  taken = {os.path.realpath(p): flag for flag, p in inputs.items() if p}
  for flag, path in outputs.items():
    if path is None:
      continue
    require_writable(path)
    other = taken.setdefault(os.path.realpath(path), flag)
    if other != flag:
      raise TflmFgError(
        f"{path}: named by --{flag} and by --{other}; name another file"
      )


def make_folder(path: str) -> None:
  """Makes an output folder, or takes the one that is there.

  Raises:
    TflmFgError: if it cannot be made or written to.
  """
  _require_name(path)
  try:
    os.makedirs(path, exist_ok=True)
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be made: {_why(fault)}") from None
  require_writable(os.path.join(path, "any"))


def _require_name(path: str) -> None:
  if not path or "\0" in path:
    raise TflmFgError("an empty or impossible file name; name a file")


def _require_regular(path: str) -> None:
  """Only files are replaced: never a folder, a device or a pipe."""
  _require_name(path)
  if os.path.isdir(path):
    raise TflmFgError(f"{path}: is a folder; name a file")
  if os.path.exists(path) and not os.path.isfile(path):
    raise TflmFgError(f"{path}: is not a regular file; name a file")


def _why(fault: Exception) -> str:
  return getattr(fault, "strerror", None) or str(fault)


def umask() -> int:
  """The process's mask of permissions."""
  mask = os.umask(0)
  os.umask(mask)
  return mask
