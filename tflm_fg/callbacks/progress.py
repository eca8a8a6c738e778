"""Show how far an adaptation is, what it does now, and how long it will take.

Seconds are shown and decide nothing.
"""

from __future__ import annotations

import shutil
import time
from typing import Any

from tqdm import tqdm

from tflm_fg.training.callbacks import Callback, Logs, State

WIDEST = 80
"""Columns that the bar takes at most."""

_TITLE = 32
_ENOUGH_STEPS = 3
"""Steps after which their pace is taken for that of the others."""
_FORMAT = "{desc} {percentage:3.0f}% |{bar}| {unit}"


class Pace:
  """How long what is left will take, by what the same work took before.

  A part of a kind that has not run yet is taken for as long as the mean of
  those that have.
  """

  def __init__(self) -> None:
    self.left: list[tuple[str, str]] = []
    self._took: dict[str, list[float]] = {}

  def plan(self, parts: list[tuple[str, str]]) -> None:
    """Sets what is left: (candidate, work) each."""
    self.left = list(parts)

  def begin(self, part: tuple[str, str]) -> None:
    """Takes a part, and what was left out before it, from what is left."""
    if part in self.left:
      del self.left[: self.left.index(part) + 1]

  def end(self, work: str, seconds: float) -> None:
    """Notes what a part took."""
    self._took.setdefault(work, []).append(seconds)

  def usual(self, work: str) -> float | None:
    """Seconds that such a part takes; None where nothing has run yet."""
    every = [took for own in self._took.values() for took in own]
    known = self._took.get(work) or every
    return sum(known) / len(known) if known else None

  def seconds(self) -> float | None:
    """Seconds that all that is left will take; None where nobody knows."""
    usual = [self.usual(work) for _, work in self.left]
    return None if None in usual else sum(u for u in usual if u is not None)


class ProgbarLogger(Callback):
  """Shows one progress bar for the whole run, on a terminal.

  It tells what is tried now and about how long the rest will take, in at most
  80 columns. Where stderr is no terminal it is silent.
  """

  every_phase = True

  def __init__(self, description: str = "adapting", file: Any = None) -> None:
    """Makes it.

    Args:
      description: what is said before anything else is known.
      file: where it is written even if that is no terminal; by default stderr.
    """
    self._description, self._file = description, file
    self._bar: Any = None
    self._began = self._phase_began = self._train_began = 0.0
    self._work = ""
    self._steps = self._step = 0
    self._pace = Pace()
    self._depth = 0

  def on_plan(self, logs: Logs) -> None:
    parts = [(part["candidate"], part["work"]) for part in logs["plan"]]
    self._pace.plan(parts)

  def on_phase_begin(self, logs: Logs) -> None:
    self._depth += 1
    if self._depth > 1:
      return
    if self._bar is None:
      self._open()
    candidate, self._work = logs["candidate"], logs["work"]
    self._pace.begin((candidate, self._work))
    self._phase_began, self._steps, self._step = time.perf_counter(), 0, 0
    self._show(f"{candidate}: {self._work}")

  def on_phase_end(self, logs: Logs) -> None:
    self._depth -= 1
    if self._depth:
      return
    self._pace.end(self._work, time.perf_counter() - self._phase_began)
    self._show()
    if not self._pace.left:
      self._close()

  def on_train_begin(self, state: State, logs: Logs) -> None:
    if self._bar is None:
      self._open()
    self._steps, self._step = logs["steps"], state.step
    self._train_began = time.perf_counter()

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    self._step = state.step
    self._show()

  def on_train_end(self, state: State, logs: Logs) -> None:
    if not self._depth:  # a loop of its own, in no phase
      self._close()

  def _open(self) -> None:
    columns, rows = shutil.get_terminal_size()  # never 0, as ptys may say
    self._began = self._phase_began = time.perf_counter()
    self._bar = tqdm(
      total=100,
      desc=self._description[:_TITLE].ljust(_TITLE),
      ncols=min(columns, WIDEST),
      nrows=rows,
      bar_format=_FORMAT,
      file=self._file,
      # Silent where stderr is no terminal.
      disable=None if self._file is None else False,
    )

  def _close(self) -> None:
    if self._bar is not None:
      self._bar.close()
    self._bar = None

  def _show(self, title: str = "") -> None:
    """Draws it anew, if it is time."""
    if self._bar is None or self._bar.disable:
      return
    if title:
      self._bar.set_description_str(title[:_TITLE].ljust(_TITLE), refresh=False)
    now = time.perf_counter()
    left = self._left(now - self._phase_began)
    done = now - self._began
    if left is not None:
      share = 100 * done / max(1e-9, done + left)
      # It never goes back, whatever turns out to take longer.
      self._bar.n = max(self._bar.n, min(100.0, share))
    self._bar.unit = "" if left is None else f"about {in_words(left)} left"
    if title:
      self._bar.refresh()
    else:
      self._bar.update(0)
      if now - self._bar.last_print_t > self._bar.mininterval:
        self._bar.refresh()

  def _left(self, running: float) -> float | None:
    """Seconds left, of the part that runs and of all behind it."""
    rest = self._pace.seconds()
    own = self._pace.usual(self._work)
    if self._steps and self._step >= _ENOUGH_STEPS:
      before = self._train_began - self._phase_began
      own = before + (running - before) * self._steps / self._step
    if rest is None and own is not None:
      rest = own * len(self._pace.left)
    if rest is None or own is None:
      return None
    return rest + max(0.0, own - running)


def in_words(seconds: float) -> str:
  """Seconds, minutes or hours for people."""
  if seconds < 60:
    return f"{max(1, round(seconds))} s"
  hours, minutes = divmod(round(seconds / 60), 60)
  return f"{hours} h {minutes} min" if hours else f"{minutes} min"
