"""Choose how a part runs by timing its passes, where the runs differ in speed.

In place or rebuilt is a choice of kernels, so it changes outputs by their
declared LSBs: rebuilding is taken only where it is clearly faster, so that
noise does not flip it. The number of workers changes no output.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

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
    rows.append(output.reshape(len(output), math.prod(output.shape[1:])))
  return rows


CLEARLY = 1.5
"""How many times faster a rebuilt pass must be to be taken."""

WORTH_A_THREAD = 1.1
"""The same for a pair of passes in two threads."""

_REPEATS, _ENOUGH = 7, 1.0
"""Runs, and seconds after which fewer are enough."""

_TOO_SHORT = 2e-4
"""Seconds of a pass that no new interpreter and no thread can beat."""


class Choice(NamedTuple):
  """How a part will run, and why.

  Attributes:
    strategy: "in-place" or "rebuild".
    seconds: shortest pass of each strategy that was timed; empty if none was.
    workers: sessions that run side by side.
  """

  strategy: str
  seconds: dict[str, float]
  workers: int


def choose(
  session: Session,
  reopen: Callable[[str], Session],
  inputs: Tensors,
  *,
  may_rebuild: bool,
  passes: int,
  workers: int | None,
) -> Choice:
  """Times passes on sessions of their own, which are dropped again.

  Args:
    session: what would run the passes; it is not run.
    reopen: opens another such session with a strategy.
    inputs: a batch as training will have it.
    may_rebuild: to rebuild instead where that is clearly faster.
    passes: passes that a step has to run at once.
    workers: at most so many sessions; None for as many as pay.

  Raises:
    TflmFgError: if workers is under 1.
  """
  if workers is not None and workers < 1:
    raise TflmFgError(f"workers={workers}: need at least 1")
  strategy = "in-place" if session.traits.in_place else "rebuild"
  seconds: dict[str, float] = {}
  if may_rebuild:
    seconds = _seconds(reopen, inputs)
    pays = CLEARLY * seconds.get("rebuild", math.inf) < seconds["in-place"]
    strategy = "rebuild" if pays else "in-place"
  most = min(passes, workers or _cores()) if session.traits.parallel else 1
  if (
    workers is None
    and most > 1
    and not _threads_pay(reopen(strategy), reopen(strategy), inputs)
  ):
    most = 1
  return Choice(strategy, seconds, most)


def _seconds(
  reopen: Callable[[str], Session], inputs: Tensors
) -> dict[str, float]:
  """Seconds of a pass in place and, where it may be shorter, rebuilt."""
  seconds = {"in-place": _of_a_pass([reopen("in-place")], inputs, 1)}
  if seconds["in-place"] > _TOO_SHORT:
    # XNNPACK refuses some models that other kernels run.
    with contextlib.suppress(TflmFgError):
      seconds["rebuild"] = _of_a_pass([reopen("rebuild")], inputs, 1)
  return seconds


def _threads_pay(session: Session, other: Session, inputs: Tensors) -> bool:
  one = _of_a_pass([session], inputs, 2)
  if one < 2 * _TOO_SHORT:
    return False
  return one > WORTH_A_THREAD * _of_a_pass([session, other], inputs, 2)


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
