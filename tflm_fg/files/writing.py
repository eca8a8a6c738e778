"""Write files: either all of the new one or all of the old."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping

from tflm_fg.files.names import TEMPORARY, require_regular, why
from tflm_fg.files.outputs import require_new_folder
from tflm_fg.types import TflmFgError


def write_atomically(path: str, content: bytes) -> None:
  """Writes to a temporary file in the same folder, then renames it.

  A link is followed: its target is replaced, not the link.

  Raises:
    TflmFgError: if the file cannot be written; nothing is left behind.
  """
  require_regular(path)
  target = os.path.realpath(path)
  temporary = ""
  try:
    handle, temporary = tempfile.mkstemp(
      dir=os.path.dirname(target), prefix=TEMPORARY
    )
    with os.fdopen(handle, "wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~umask())
    os.replace(temporary, target)
    temporary = ""
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be written: {why(fault)}") from None
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
    temporary = tempfile.mkdtemp(dir=os.path.dirname(target), prefix=TEMPORARY)
    for name, content in contents.items():
      own = os.path.join(temporary, *name.split("/"))
      os.makedirs(os.path.dirname(own), exist_ok=True)
      with open(own, "wb") as file:
        file.write(content)
    os.chmod(temporary, 0o777 & ~umask())
    os.rename(temporary, target)
    temporary = ""
  except OSError as fault:
    raise TflmFgError(f"{path}: cannot be written: {why(fault)}") from None
  finally:
    if temporary:  # a fault, or Ctrl-C
      shutil.rmtree(temporary, ignore_errors=True)


def umask() -> int:
  """The process's mask of permissions."""
  mask = os.umask(0)
  os.umask(mask)
  return mask
