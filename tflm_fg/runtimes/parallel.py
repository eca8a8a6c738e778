"""Choose how a part runs: in place or rebuilt, and on how many sessions.

In place or rebuilt is a choice of kernels, so it changes outputs by their
declared LSBs. It is made by what the part holds and never by a stopwatch: one
seed gives the same bytes on a busy machine. The number of workers changes no
output, so it may be timed.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from tflm_fg.runtimes.session import Session
from tflm_fg.types import Array, Tensors, TflmFgError, Weights


class SessionPool:
  """Sessions of one part of the graph, one thread each."""

  def __init__(self, sessions: Sequence[Session]) -> None:
    self._sessions = sessions
    self._threads = (
      ThreadPoolExecutor(len(sessions) - 1) if len(sessions) > 1 else None
    )

  def taps(self, inputs: Tensors, weights: Weights) -> Tensors:
    """Runs a batch; what flows out behind the logits, arrays [N, ...]."""
    session = self._sessions[0]
    session.feed(inputs)
    session.load(weights)
    return session.forward()[1:]

  def outputs(
    self, inputs: Tensors, candidates: Sequence[Weights]
  ) -> list[Array]:
    """Runs a batch at each of the weights.

    Args:
      inputs: [N, ...] each; the same tuple again is not copied again.
      candidates: every session takes every n-th of them.

    Returns:
      The part's first output [N, C], an array for each of the weights.
    """
    if self._threads is None:
      return _run(self._sessions[0], inputs, candidates)
    first, *others = self._sessions
    count = len(self._sessions)
    jobs = [
      self._threads.submit(_run, session, inputs, candidates[i::count])
      for i, session in enumerate(others, 1)
    ]
    outputs: list[Array] = [_NONE] * len(candidates)
    outputs[::count] = _run(first, inputs, candidates[::count])
    for i, job in enumerate(jobs, 1):
      outputs[i::count] = job.result()
    return outputs


_NONE = np.empty(0, np.int8)


def _run(
  session: Session, inputs: Tensors, candidates: Sequence[Weights]
) -> list[Array]:
  session.feed(inputs)
  rows = []
  for weights in candidates:
    # Assignment restores: adding back is lossy where int8 saturates.
    session.load(weights)
    output, *_ = session.forward()
    if output.ndim != 2:
      output = output.reshape(len(output), math.prod(output.shape[1:]))
    rows.append(output)
  return rows


WORTH_REBUILDING = 18_000
"""Outputs of int8 convolutions in a batch from which rebuilding is taken.

In place they take about 0.2 ms, and a new interpreter with XNNPACK's kernels
half to two thirds of that; larger batches and networks gain up to seven times.
Measured on x86-64 over 146 pairs of a model and of what trains.
"""

WORTH_A_THREAD = 1.1
"""How many times faster a pair of passes in two threads must be."""

_REPEATS, _ENOUGH = 7, 1.0
"""Runs, and seconds after which fewer are enough."""

_TOO_SHORT = 2e-4
"""Seconds of a pass that no thread can beat."""


class Choice(NamedTuple):
  """How a part will run, and why.

  Attributes:
    strategy: "in-place" or "rebuild".
    reason: why that one.
    seconds: shortest pass by the strategy that was timed; empty if none was.
    workers: sessions that run side by side.
  """

  strategy: str
  reason: str
  seconds: dict[str, float]
  workers: int

  def told(self) -> dict[str, Any]:
    """The same as a report has it."""
    return {
      "strategy": self.strategy,
      "strategy_reason": self.reason,
      "strategy_seconds": self.seconds,
      "workers": self.workers,
    }


def choose(
  session: Session,
  reopen: Callable[[str], Session],
  inputs: Tensors,
  *,
  work: int | None,
  passes: int,
  workers: int | None,
) -> Choice:
  """Chooses by the part's work, and times workers on sessions of their own.

  Args:
    session: what would run the passes; it is not run.
    reopen: opens another such session with a strategy.
    inputs: a batch as training will have it.
    work: of a sample, as `int8_work` counts it, to rebuild where that is much;
      None to keep the session's strategy.
    passes: passes that a step has to run at once.
    workers: at most so many sessions; None for as many as pay.

  Raises:
    TflmFgError: if workers is under 1.
  """
  if workers is not None and workers < 1:
    raise TflmFgError(f"workers={workers}: need at least 1")
  strategy = "in-place" if session.traits.in_place else "rebuild"
  reason = "as asked for, or all that the runtime has"
  if work is not None:
    strategy, reason = _strategy(reopen, work * len(inputs[0]))
  most = min(passes, workers or _cores()) if session.traits.parallel else 1
  seconds: dict[str, float] = {}
  if workers is None and most > 1:
    one, two = (reopen(strategy) for _ in range(2))
    alone = _of_a_pass([one], inputs, 2)
    seconds[strategy] = alone / 2
    if not _threads_pay(alone, one, two, inputs):
      most = 1
  return Choice(strategy, reason, seconds, most)


def _strategy(reopen: Callable[[str], Session], work: int) -> tuple[str, str]:
  """The strategy for a batch's work, and why."""
  if work < WORTH_REBUILDING:
    return "in-place", (
      f"the work of {work} convolution outputs a batch is under "
      f"{WORTH_REBUILDING}: too little to pay for new interpreters"
    )
  try:
    reopen("rebuild")
  except TflmFgError as fault:  # XNNPACK refuses what other kernels run
    return "in-place", f"rebuilt on XNNPACK it does not open: {fault}"
  return "rebuild", (
    f"the work of {work} convolution outputs a batch is {WORTH_REBUILDING} or "
    "more: XNNPACK's kernels pay for new interpreters"
  )


def _threads_pay(
  alone: float, session: Session, other: Session, inputs: Tensors
) -> bool:
  """Whether two sessions run a pair of passes clearly faster than one."""
  if alone < 2 * _TOO_SHORT:
    return False
  return alone > WORTH_A_THREAD * _of_a_pass([session, other], inputs, 2)


def _of_a_pass(
  sessions: Sequence[Session], inputs: Tensors, passes: int
) -> float:
  """Seconds of the shortest of a few runs of so many passes, once warm."""
  session_pool, candidates = (
    SessionPool(sessions),
    [sessions[0].params()] * passes,
  )
  session_pool.outputs(inputs, candidates)
  shortest, spent = math.inf, 0.0
  for _ in range(_REPEATS):
    start = time.perf_counter()
    session_pool.outputs(inputs, candidates)
    last = time.perf_counter() - start
    shortest, spent = min(shortest, last), spent + last
    if spent > _ENOUGH:
      break
  return shortest


def _cores() -> int:
  """Cores that this process may use."""
  usable = getattr(os, "sched_getaffinity", None)  # Linux only
  return len(usable(0)) if usable else os.cpu_count() or 1
