"""End a process, or fill its disk, at one call of the system that writes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Callable
from typing import Any

CALLS = (
  "chmod",
  "fsync",
  "ftruncate",
  "mkdir",
  "open",
  "rename",
  "replace",
  "rmdir",
  "unlink",
  "write",
)
"""What changes a disk; of `open` only what makes a file counts, and of `write`
what goes to one."""

_TAKES_SPACE = ("mkdir", "open", "write")


class Faults:
  """Counts calls while it is entered, and does its worst at one of them.

  Attributes:
    calls: how many there were.
  """

  def __init__(self, kill_at: int = 0, full_at: int = 0) -> None:
    """Chooses the call.

    Args:
      kill_at: the call at which SIGKILL comes, from 1; of a write a half is
        done. 0 for none.
      full_at: the call from which on there is no space; of a write a half
        finds some. 0 for none.
    """
    self.calls = 0
    self._kill_at, self._full_at = kill_at, full_at
    self._whole = {name: getattr(os, name) for name in CALLS}

  def __enter__(self) -> Faults:
    for name in CALLS:
      setattr(os, name, self._watched(name))
    return self

  def __exit__(self, *unused: object) -> None:
    for name, call in self._whole.items():
      setattr(os, name, call)

  def _watched(self, name: str) -> Callable[..., Any]:
    call = self._whole[name]

    def watch(*given: Any, **named: Any) -> Any:
      if not _changes(name, given):
        return call(*given, **named)
      self.calls += 1
      now = self.calls
      if now == self._kill_at:
        self._half(name, given)
        os.kill(os.getpid(), signal.SIGKILL)
      if self._full_at and now >= self._full_at and name in _TAKES_SPACE:
        half = self._half(name, given) if now == self._full_at else 0
        if half:
          return half
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
      return call(*given, **named)

    return watch

  def _half(self, name: str, given: tuple[Any, ...]) -> int:
    """Writes the first half of what a write has; the count of its bytes."""
    if name != "write":
      return 0
    handle, data = given
    half = bytes(data)[: len(data) // 2]
    return int(self._whole["write"](handle, half)) if half else 0


def _changes(name: str, given: tuple[Any, ...]) -> bool:
  if name == "open":
    return len(given) > 1 and bool(given[1] & os.O_CREAT)
  if name == "write":
    with contextlib.suppress(OSError):
      return given[0] > 2 and stat.S_ISREG(os.fstat(given[0]).st_mode)
    return False
  return True
