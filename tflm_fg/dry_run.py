"""Say what adapting would try, and about how long it would take.

An adaptation runs as ever, but each phase ends after a few steps and each head
is fitted over folds once. What a phase takes is then counted up to all of its
steps. Seconds are measured here and decide nothing.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from typing import Any

import numpy as np

from tflm_fg import limits
from tflm_fg.adaptation import adapt
from tflm_fg.callbacks.progress import Pace
from tflm_fg.marking import Model, opened
from tflm_fg.memory.working import adapting, require_room
from tflm_fg.training.callbacks import Callback, Logs, State
from tflm_fg.types import Array

FEW_STEPS, FEW_SECONDS = 4, 0.25
"""Steps and seconds after which a phase ends; the first step is left out of the
measure."""

FEW_SAMPLES = 512
"""Of more samples than twice as many so many are taken, and time is counted up.
"""


@dataclasses.dataclass(frozen=True)
class Part:
  """A part of the work.

  Attributes:
    candidate: what would train.
    work: the method that would train it, "folds" or "scores".
    steps: of training; 0 where there are none.
    passes: forward passes of these steps.
    seconds: about how long it takes.
  """

  candidate: str
  work: str
  steps: int = 0
  passes: int = 0
  seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What adapting would take.

  Attributes:
    parts: of the work, in order.
    forward_passes: about how many in all.
    seconds: about how long it takes in all.
    trainer_bytes: what training would need beyond inference on a
      microcontroller, where what was chosen now is chosen then.
    trainable: what was chosen now.
    trainable_parameters: how many numbers these tensors hold.
    samples: how many there are to learn from.
    memory_bytes: about how many bytes this process would hold at most.
  """

  parts: tuple[Part, ...]
  forward_passes: int
  seconds: float
  trainer_bytes: int
  trainable: tuple[str, ...]
  trainable_parameters: int
  samples: int
  memory_bytes: int


def estimate(
  model: Model, x: Array, y: Array | None = None, **given: Any
) -> Estimate:
  """Says what `adapt` would try, and about how long it would take.

  It takes a small part of that time, and gives no adapted file. Which candidate
  is the best is not known before, so that the steps that train it are those of
  the one that seems best after a few steps.

  Args:
    model: as for `adapt`.
    x: as for `adapt`.
    y: as for `adapt`.
    **given: what else `adapt` takes, but for callbacks.

  Raises:
    TflmFgError: in one line, where `adapt` would refuse.
  """
  began = time.perf_counter()
  memory_bytes = limits.resident() + _room_for_all(model, x, given)
  taken, times = _some(x, y)
  clock = _Clock(times)
  labels = y if y is None else np.asarray(y)[taken]
  few = np.asarray(x)[taken] if times > 1 else x
  with warnings.catch_warnings():
    # Of weights after a few steps nobody wants to know.
    warnings.filterwarnings("ignore", ".* of the kernel weights of the phase")
    result = adapt(model, few, labels, **given, callbacks=[clock])
  report = result.report
  outside = time.perf_counter() - began - clock.measured
  parts = clock.all_parts()
  return Estimate(
    tuple(parts),
    report.forward_passes + clock.more_passes,
    outside * times + sum(part.seconds for part in parts),
    report.trainer_bytes,
    tuple(report.trainable),
    report.trainable_parameters,
    len(x),
    memory_bytes,
  )


def _room_for_all(model: Model, x: Array, given: dict[str, Any]) -> int:
  """What all samples take, of which only some are tried now.

  Raises:
    TflmFgError: if that is more than there is.
  """
  file = opened(
    model, given.get("name"), given.get("output"), given.get("input")
  )
  count = len(x) if np.ndim(x) else 0  # what is no samples `adapt` refuses
  require_room(file, count)
  return adapting(file, count)


def _some(x: Array, y: Array | None) -> tuple[Array, float]:
  """Indices of a few samples, each class in proportion; how many more are."""
  count = len(x)
  if count <= 2 * FEW_SAMPLES or np.ndim(x) < 1:
    return np.arange(count), 1.0
  order = np.arange(count)
  if y is not None and len(y) == count and np.ndim(y) == 1:
    order = np.argsort(np.asarray(y), kind="stable")
    firsts = np.unique(np.asarray(y), return_index=True)[1]
  else:
    firsts = order[:1]
  spread = order[np.linspace(0, count - 1, FEW_SAMPLES).astype(int)]
  taken = np.unique(np.concatenate([spread, firsts]))
  return taken, count / len(taken)


class _Clock(Callback):
  """Ends phases after a few steps and counts their time up."""

  every_phase = True
  dry_run = True

  def __init__(self, times: float) -> None:
    self._times = times
    self._pace = Pace()
    self._planned: list[tuple[str, str]] = []
    self._parts: list[Part] = []
    self._depth = 0
    self.measured = 0.0
    self.more_passes = 0

  def on_plan(self, logs: Logs) -> None:
    """Keeps what is left."""
    plan = [(part["candidate"], part["work"]) for part in logs["plan"]]
    self._pace.plan(plan)

  def on_phase_begin(self, logs: Logs) -> None:
    """Starts the clock of a part."""
    self._depth += 1
    if self._depth > 1:
      return
    self._pace.begin((logs["candidate"], logs["work"]))
    self._began = self._fits_began = time.perf_counter()
    self._looped = self._loops = 0.0
    self._steps = self._passes = 0
    self._ran, self._wanted, self._fitted = 0, 0, 0.0

  def on_phase_end(self, logs: Logs) -> None:
    """Counts a part up."""
    self._depth -= 1
    if self._depth:
      return
    took = time.perf_counter() - self._began
    self.measured += took
    # What no step and no fit took grows with the samples.
    rest = max(0.0, took - self._looped - self._fitted)
    fits = self._fitted * self._wanted / max(1, self._ran)
    seconds = (rest + fits) * self._times + self._loops
    self._pace.end(logs["work"], seconds)
    own = logs["candidate"], logs["work"]
    self._parts.append(Part(*own, self._steps, self._passes, seconds))
    self.more_passes += self._more
    self._more = 0

  _more = 0

  def on_fits_end(self, logs: Logs) -> None:
    """Counts fits over folds; the last of them began where a part did."""
    now = time.perf_counter()
    if logs["ran"]:
      self._fitted += now - self._fits_began
    self._fits_began = now
    self._ran += logs["ran"]
    self._wanted += logs["planned"]

  def on_train_begin(self, state: State, logs: Logs) -> None:
    """Starts the clock of a loop."""
    self.stop_training = False
    self._loop_began = self._first = time.perf_counter()
    self._of_loop, self._first_passes, self._last_passes = logs["steps"], 0, 0

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    """Ends the loop when a few steps have been measured."""
    if state.step == 1:
      self._first = time.perf_counter()
      self._first_passes = logs["forward_passes"]
    self._last, self._last_passes = time.perf_counter(), logs["forward_passes"]
    enough = self._last - self._first > FEW_SECONDS
    self.stop_training = state.step >= FEW_STEPS and enough

  def on_train_end(self, state: State, logs: Logs) -> None:
    """Counts the loop up to all its steps."""
    self.stop_training = False
    took = time.perf_counter() - self._loop_began
    left = self._of_loop - state.step
    more, passes = 0.0, 0.0
    if state.step > 1:
      more = left * (self._last - self._first) / (state.step - 1)
      passes = (self._last_passes - self._first_passes) / (state.step - 1)
    self._looped += took
    self._loops += took + more
    self._steps += self._of_loop
    self._passes += round(passes * self._of_loop)
    self._more += round(passes * left)

  def all_parts(self) -> list[Part]:
    """The parts that ran, then those that were planned and did not."""
    left = [
      Part(candidate, work, seconds=self._pace.usual(work) or 0.0)
      for candidate, work in self._pace.left
    ]
    return self._parts + left
