"""Standard streams that may be full, closed or of another alphabet.

A program that has worked for an hour must not lose its result because nobody
can take what it prints. So a stream that fails is given up, the work goes on,
and at the end the status says so: standard output that could not be written is
a failure, unless its reader has gone, as `head` does when it has enough. What
cannot be said on standard error is left unsaid.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from tflm_fg.types import one_line

FAILED = 1
"""The status of a program that did its work and could not print of it."""

_ERRORS = "tflm_fg.as_it_can"
"""How characters are written that a stream's alphabet does not have."""


class Stream:
  """A text stream that keeps its first fault and takes what is written on.

  Attributes:
    fault: why it does not write any more; None if it does.
  """

  def __init__(self, stream: Any) -> None:
    self.fault: Exception | None = None
    self._is_closed = stream is None
    self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115
    if isinstance(stream, io.TextIOWrapper):
      with contextlib.suppress(AttributeError, OSError, ValueError):
        stream.reconfigure(errors=_ERRORS)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    """Writes, or not."""
    if self._is_closed and text:
      self.fault = self.fault or OSError("it is closed")
    self._try(lambda: self._stream.write(text))
    return len(text)

  def flush(self) -> None:
    """Hands on what was written, if it can be."""
    self._try(lambda: self._stream.flush())

  def _try(self, write: Callable[[], object]) -> None:
    if self.fault is not None:
      return
    try:
      write()
    except (OSError, ValueError) as fault:
      self.fault = fault
      _lead_nowhere(self._stream)

  @property
  def reader_has_gone(self) -> bool:
    """Whether nobody reads any more, which is no failure."""
    return isinstance(self.fault, BrokenPipeError)


def _lead_nowhere(stream: Any) -> None:
  """Lets what is still in a stream's buffer vanish when Python ends."""
  with contextlib.suppress(AttributeError, OSError, ValueError):
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _as_it_can(fault: UnicodeError) -> tuple[bytes, int]:
  """The bytes of a path as they came, and other characters by their number."""
  assert isinstance(fault, UnicodeEncodeError)
  made = b""
  for character in fault.object[fault.start : fault.end]:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python keeps a byte of no alphabet
      made += bytes([number - 0xDC00])
    else:
      made += character.encode("ascii", "backslashreplace")
  return made, fault.end


codecs.register_error(_ERRORS, _as_it_can)


def told(program: str, work: Callable[[], int]) -> int:
  """Runs a program while its streams may fail.

  Args:
    program: its name, for errors.
    work: gives its status.

  Returns:
    That status; FAILED where all was done but standard output was not written.
  """
  if isinstance(sys.stdout, Stream):  # a program that calls another
    return work()
  held = sys.stdout, sys.stderr
  out, errors = Stream(sys.stdout), Stream(sys.stderr)
  sys.stdout, sys.stderr = out, errors  # type: ignore[assignment]
  try:
    status = work()
    out.flush()
    if out.fault is None or out.reader_has_gone or status:
      return status
    why = getattr(out.fault, "strerror", None) or one_line(out.fault)
    print(
      f"{program}: standard output: {why}; not all was printed, and all else "
      "is done",
      file=sys.stderr,
    )
    return FAILED
  finally:
    errors.flush()
    sys.stdout, sys.stderr = held


def is_lost() -> bool:
  """Whether nothing that is printed arrives: who only prints may end."""
  return isinstance(sys.stdout, Stream) and sys.stdout.fault is not None
