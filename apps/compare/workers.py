"""Run jobs in processes side by side, and give each result when it is ready."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tflm_fg.types import TflmFgError

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_all(
  work: Callable[[Any], Any], jobs: Sequence[Any], workers: int
) -> Iterator[tuple[Any, Any]]:
  """Runs jobs; which process takes one changes no result.

  Args:
    work: a function of a module, so that a process can import it.
    jobs: the long ones first, so that no process ends long before the others.
    workers: processes; 1 runs all in this one.

  Yields:
    (job, result), in the order of finishing; the result of a job that refused
    is its TflmFgError, and the others go on.

  Raises:
    TflmFgError: if a process died; what else was running is lost.
  """
  if workers == 1 or len(jobs) < 2:
    for job in jobs:
      try:
        found = work(job)
      except TflmFgError as fault:
        found = fault
      yield job, found
    return
  for name in _ONE_THREAD:  # a process has a core, and no more
    os.environ.setdefault(name, "1")
  pool = ProcessPoolExecutor(
    min(workers, len(jobs)),
    mp_context=multiprocessing.get_context("spawn"),
    initializer=_leave_interrupts_to_the_parent,
  )
  others = set(multiprocessing.active_children())
  finished = False
  try:
    futures = {pool.submit(work, job): job for job in jobs}
    for future in as_completed(futures):
      fault = future.exception()
      refused = isinstance(fault, TflmFgError)
      yield futures[future], fault if refused else future.result()
    finished = True
  except BrokenProcessPool:
    raise TflmFgError(
      "a worker process died, perhaps for want of memory; what is finished is "
      "kept: run the command again, with --workers=1"
    ) from None
  finally:
    # A process that ends by itself also frees its semaphores; one that is
    # stopped in the middle of a job cannot.
    pool.shutdown(wait=finished, cancel_futures=True)
    for child in set(multiprocessing.active_children()) - others:
      child.terminate()


def _leave_interrupts_to_the_parent() -> None:
  signal.signal(signal.SIGINT, signal.SIG_IGN)
