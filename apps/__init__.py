"""Command-line programs: flags, load, one call, save."""

from __future__ import annotations

import os
import sys
from types import TracebackType


def _fill() -> None:
  """Opens the standard streams that are closed, on nothing.

  Or the next file that is opened would be one of them, and what an engine logs
  would be written into a user's file.
  """
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # it takes the lowest free number


_fill()


def _told(
  kind: type[BaseException],
  fault: BaseException,
  trace: TracebackType | None,
) -> None:
  """One line for Ctrl-C while a program is still being imported.

  Later `cli.launch` has it.
  """
  if sys.stderr is None:
    return
  if issubclass(kind, KeyboardInterrupt):
    print("\ninterrupted at its start; nothing was written", file=sys.stderr)
  else:
    sys.__excepthook__(kind, fault, trace)


if sys.excepthook is sys.__excepthook__:
  sys.excepthook = _told
