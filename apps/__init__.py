"""Command-line programs: flags, load, one call, save."""

from __future__ import annotations

import sys
from types import TracebackType


def _told(
  kind: type[BaseException],
  fault: BaseException,
  trace: TracebackType | None,
) -> None:
  """One line for Ctrl-C while a program is still being imported.

  Later `cli.launch` has it.
  """
  if issubclass(kind, KeyboardInterrupt):
    print("\ninterrupted at its start; nothing was written", file=sys.stderr)
  else:
    sys.__excepthook__(kind, fault, trace)


if sys.excepthook is sys.__excepthook__:
  sys.excepthook = _told
