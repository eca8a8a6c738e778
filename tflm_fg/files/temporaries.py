"""Names of unfinished files, which say whose they are; and who sweeps them.

A name holds the machine (or container), the process and when that began, so
that whoever comes later knows whether its process still runs. `kill -9` leaves
such files behind; whoever next writes to the folder removes them, and never
those of a process that lives.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator

from tflm_fg.files.names import TEMPORARY

FOREIGN_SECONDS = 24 * 3600
"""Age at which files of other machines, of which nothing is known, are swept.
Nothing of ours takes as long to be written."""

_NAME = re.compile(
  re.escape(TEMPORARY) + r"([0-9a-f]{8})-(\d{1,10})-([0-9a-f]{8})-\d+\.\w+"
)
_UNKNOWN = "0" * 8
_count = itertools.count()


def temporary(folder: str, kind: str) -> str:
  """A path that nobody else has, in a folder.

  Args:
    folder: where the file will stand, so that it can be renamed.
    kind: what it is, as the end of its name.
  """
  return os.path.join(folder, f"{own_prefix()}{next(_count)}.{kind}")


def own_prefix() -> str:
  """How the names of this process begin."""
  pid = os.getpid()
  return f"{TEMPORARY}{_machine()}-{pid}-{_began(pid) or _UNKNOWN}-"


def prefix_of(name: str) -> str | None:
  """How the names of the process begin that gave a name; None if none did."""
  found = _NAME.fullmatch(name)
  return name[: found.start(3) + 9] if found else None


def abandoned(folder: str) -> Iterator[str]:
  """Paths of what processes that have ended left in a folder.

  Files of other users are nobody's business.
  """
  try:
    with os.scandir(folder) as entries:
      names = sorted(e.name for e in entries if e.name.startswith(TEMPORARY))
  except OSError:  # may be written, and not listed
    return
  for name in names:
    path = os.path.join(folder, name)
    with contextlib.suppress(OSError):
      status = os.lstat(path)
      if status.st_uid == os.geteuid() and _ended(name, status.st_mtime):
        yield path


def discard(path: str) -> None:
  """Removes a file or a folder, if that is possible."""
  with contextlib.suppress(OSError):
    os.unlink(path)
    return
  shutil.rmtree(path, ignore_errors=True)


def _ended(name: str, when: float) -> bool:
  """Whether the process that a name tells of runs no more."""
  found = _NAME.fullmatch(name)
  if found and found[1] == _machine():
    return _began(int(found[2])) != found[3]
  return time.time() - when > FOREIGN_SECONDS


def _began(pid: int) -> str | None:
  """When a process began, as eight digits; None where there is no such one.

  Numbers of processes are given again, and after a restart they all are.
  """
  try:
    with open(f"/proc/{pid}/stat", "rb") as file:
      # The name of the program, in parentheses, may hold anything.
      rest = file.read().rpartition(b")")[2].split()
  except OSError:
    return (
      _UNKNOWN if not os.path.exists("/proc/self") and _lives(pid) else None
    )
  if rest[0] in (b"Z", b"X"):  # ended, and nobody has asked how
    return None
  return _digest(_read("/proc/sys/kernel/random/boot_id"), rest[19])


def _lives(pid: int) -> bool:
  """Whether there is a process of a number, on systems without /proc."""
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except OSError:
    return True
  return True


@functools.cache
def _machine() -> str:
  """Where this process runs: its numbers of processes mean nothing elsewhere.

  Containers have numbers of their own, and may share a name.
  """
  space = b""
  with contextlib.suppress(OSError):
    space = os.fsencode(os.readlink("/proc/self/ns/pid"))
  return _digest(socket.gethostname().encode(), _read("/etc/machine-id"), space)


def _read(path: str) -> bytes:
  try:
    with open(path, "rb") as file:
      return file.read()
  except OSError:
    return b""


def _digest(*parts: bytes) -> str:
  return hashlib.sha256(b"\0".join(parts)).hexdigest()[:8]
