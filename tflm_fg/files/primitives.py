"""The few calls that change a disk; all that is written goes through them.

Each is one step that a loss of power or `kill -9` can come before or after, so
that a test can end the world between any two of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from tflm_fg.files.names import why
from tflm_fg.types import TflmFgError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM)
"""What systems say that cannot sync a folder, or not this one."""


def create(path: str, content: bytes, like: str | None = None) -> None:
  """Writes a new file and waits until the disk has all of it.

  Args:
    path: where nothing stands yet.
    content: its bytes.
    like: a file whose mode and owner it gets; where there is none, what the
      process's mask leaves. None: nobody but its owner may read it.

  Raises:
    OSError: if it cannot be written; a part of it may be there.
  """
  old = _status(like)
  handle = os.open(path, _NEW, 0o600)
  try:
    left = memoryview(content)
    while left:
      left = left[os.write(handle, left) :]
    if like is not None:
      _dress(handle, old)
    os.fsync(handle)
  finally:
    os.close(handle)


def replace(source: str, target: str) -> None:
  """Renames; what stood at the target is gone in the same moment."""
  os.replace(source, target)


def remove(path: str) -> None:
  """Removes a file, if it is there."""
  with contextlib.suppress(FileNotFoundError):
    os.unlink(path)


def sync_folder(path: str) -> None:
  """Waits until the disk knows which names a folder has.

  Raises:
    OSError: if the disk fails. Systems that sync no folders are taken as they
      are.
  """
  try:
    handle = os.open(path, os.O_RDONLY)
  except PermissionError:  # may be written, and not listed
    return
  try:
    os.fsync(handle)
  except OSError as fault:
    if fault.errno not in _NO_SYNC:
      raise
  finally:
    os.close(handle)


def umask() -> int:
  """The process's mask of permissions."""
  mask = os.umask(0)
  os.umask(mask)
  return mask


def _status(path: str | None) -> os.stat_result | None:
  if path is None:
    return None
  try:
    return os.stat(path)
  except FileNotFoundError:
    return None


def _dress(handle: int, old: os.stat_result | None) -> None:
  """Gives a new file the mode and the owner of the one that it replaces.

  A group that may not be given gets no more than everybody has.
  """
  if old is None:
    os.chmod(handle, 0o666 & ~umask())
    return
  mode, own = stat.S_IMODE(old.st_mode), os.fstat(handle)
  if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
    try:
      os.chown(handle, old.st_uid, old.st_gid)
    except PermissionError:
      mode &= 0o777
      if not _given(handle, old.st_gid):
        mode &= ~0o070 | (mode & 0o007) << 3
  os.chmod(handle, mode)


def _given(handle: int, group: int) -> bool:
  """Whether a file could be given to a group."""
  try:
    os.chown(handle, -1, group)
  except PermissionError:
    return False
  return True


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
  """Turns the system's faults into one line that names the file.

  Raises:
    TflmFgError: where OSError was raised inside.
  """
  try:
    yield
  except OSError as fault:
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
      raise TflmFgError(
        f"{path}: cannot be written: there is no folder {folder!r} (any more); "
        "make it first"
      ) from None
    raise TflmFgError(f"{path}: cannot be written: {why(fault)}") from None
