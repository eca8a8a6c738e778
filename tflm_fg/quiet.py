"""Keep what native libraries print off the screen, and keep it for errors."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def native_output() -> Iterator[Callable[[], str]]:
  """Catches what C and C++ code writes to stdout and stderr.

  Yields:
    A function that gives the last line caught so far.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  with tempfile.TemporaryFile() as sink:
    try:
      kept = [os.dup(1), os.dup(2)]
    except OSError:  # a program without a terminal may have closed them
      yield lambda: ""
      return
    os.dup2(sink.fileno(), 1)
    os.dup2(sink.fileno(), 2)

    def last_line() -> str:
      sink.seek(0)
      lines = sink.read().decode("utf-8", "replace").split("\n")
      return next((line.strip() for line in lines[::-1] if line.strip()), "")

    try:
      yield last_line
    finally:
      sys.stdout.flush()
      sys.stderr.flush()
      for number, copy in zip((1, 2), kept):
        os.dup2(copy, number)
        os.close(copy)
