"""Signals end the work early and keep what is safe so far."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tflm_fg.training.callbacks import Callback
from tflm_fg.types import TflmFgError

_HANG_UP = getattr(signal, "SIGHUP", None)  # not on Windows

SIGNALS = (signal.SIGINT, signal.SIGTERM, *filter(None, [_HANG_UP]))
"""What ends the work early: Ctrl-C, what `kill` and systems send, and what
comes where a terminal is closed or a connection is lost."""


def on_signals(
  handler: Any, numbers: Sequence[int] = SIGNALS
) -> dict[int, Any]:
  """Installs a handler, in the main thread.

  A SIGHUP that whoever started the process had ignored, as `nohup` does, stays
  ignored.

  Returns:
    The handlers of before by signal; empty in other threads.
  """
  if threading.current_thread() is not threading.main_thread():
    return {}
  return {
    number: signal.signal(number, handler)
    for number in numbers
    if number != _HANG_UP or signal.getsignal(number) != signal.SIG_IGN
  }


NOTHING = (
  "interrupted before anything was finished that could be kept; the model is "
  "as it came, and nothing was written"
)
"""What is said where a signal came too early."""


class Interrupted(KeyboardInterrupt):
  """A signal ended the work, and nothing came of it that could be kept.

  Attributes:
    signal: its number.
    at_once: whether it was the second one, which nothing holds up.
  """

  def __init__(self, number: int, text: str = "", at_once: bool = False):
    super().__init__(text or NOTHING)
    self.signal = number
    self.at_once = at_once


class StopOnInterrupt(Callback):
  """SIGINT (Ctrl-C), SIGTERM or SIGHUP ends `adapt`, which keeps the best.

  Give it as a callback, or `adapt(..., on_interrupt="keep")`, which makes one.
  The first signal ends training after the present step; elsewhere the work is
  left where it is. The result is then the best of what was finished, as far as
  it is no worse than the start on the samples kept aside. If there is no such
  thing, `Interrupted` is raised, which is a KeyboardInterrupt. A second signal
  raises it at once.

  Handlers are installed while `adapt` runs, or for longer inside
  `with stop:`. Outside the main thread there are none, since Python has none
  there, and signals do what they ever did.

  Attributes:
    received: the number of the signal that came first; 0 if none came.
  """

  every_phase = True

  def __init__(self) -> None:
    self.received = 0
    self._entered = 0
    self._held_up: list[bool] = []
    self._old: dict[int, Any] = {}

  @property
  def interrupted(self) -> bool:
    """Whether a signal came."""
    return bool(self.received)

  def __enter__(self) -> StopOnInterrupt:
    if not self._entered:
      self.received, self.stop_training = 0, False
      self._old = on_signals(self._on_signal)
    self._entered += 1
    return self

  def __exit__(self, *unused: object) -> None:
    self._entered -= 1
    if not self._entered:
      for number, handler in self._old.items():
        signal.signal(number, handler)
      self._old = {}

  def _on_signal(self, number: int, *unused: object) -> None:
    del unused
    first = not self.received
    self.received = self.received or number
    self.stop_training = True
    if any(self._held_up) or (first and self._held_up):
      return
    raise Interrupted(self.received, at_once=not first)

  @contextlib.contextmanager
  def deferred(self, firmly: bool = False) -> Iterator[None]:
    """Holds up the first signal: what runs inside looks at `stop_training`.

    Args:
      firmly: hold up every signal; for short work that must be whole, as the
        writing of files.
    """
    self._held_up.append(firmly)
    try:
      yield
    finally:
      self._held_up.pop()

  @contextlib.contextmanager
  def keeping(self) -> Iterator[None]:
    """Ends here where a first signal comes inside, with what is there by then.

    An exception that was lost, since a destructor was interrupted, ends it at
    the next `check`.
    """
    try:
      yield
    except Interrupted as stop:
      if stop.at_once:
        raise

  def check(self, text: str = "") -> None:
    """Ends the work if a signal has come.

    Args:
      text: what to say of it.

    Raises:
      Interrupted: if one has.
    """
    if self.received:
      raise Interrupted(self.received, text)


def stop_of(callbacks: Sequence[Callback]) -> StopOnInterrupt:
  """The first callback that stops on signals; or one that never does."""
  found = [c for c in callbacks if isinstance(c, StopOnInterrupt)]
  return found[0] if found else _Never()


class _Never(StopOnInterrupt):
  """Leaves signals to whoever has them."""

  def __enter__(self) -> StopOnInterrupt:
    return self

  def __exit__(self, *unused: object) -> None:
    pass

  @contextlib.contextmanager
  def keeping(self) -> Iterator[None]:
    """Nothing is kept here: whoever waits for signals is further out."""
    yield


def with_stop(
  callbacks: Sequence[Callback], on_interrupt: str
) -> list[Callback]:
  """The callbacks, with one that stops on signals where a user wants that.

  Args:
    callbacks: a user's.
    on_interrupt: "raise" or "keep".

  Raises:
    TflmFgError: if it is neither.
  """
  if on_interrupt not in ("raise", "keep"):
    raise TflmFgError(f"on_interrupt={on_interrupt!r}: need 'raise' or 'keep'")
  there = any(isinstance(c, StopOnInterrupt) for c in callbacks)
  wanted = on_interrupt == "keep" and not there
  return [*callbacks, StopOnInterrupt()] if wanted else [*callbacks]
