"""Do any kind of job: a cell of a grid, or an analysis that makes files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from apps.compare.analyses import accuracy, cosines, loss_surface, speed
from apps.compare.analyses.accuracy import Accuracy
from apps.compare.analyses.cosines import Cosines
from apps.compare.analyses.loss_surface import Surface
from apps.compare.analyses.speed import Growth, Speed
from apps.compare.data.registry import UserData
from apps.compare.forward_only import FromScratch
from apps.compare.forward_only import run as run_from_scratch
from apps.compare.grid import Cell
from apps.compare.methods import run
from apps.compare.results.rows import Measured


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
  """Bytes at inference and in training, of several networks.

  Attributes:
    networks: their names; all where it is empty.
  """

  networks: tuple[str, ...] = ()

  title = "memory"
  files = ("memory.md", "memory.png")


Analysis = Surface | Cosines | Memory | Accuracy | Speed | Growth | FromScratch
"""What makes files of its own, and is finished when they are there."""

Job = Cell | Analysis

Files = dict[str, bytes]


def do(job: Job, user_data: UserData) -> Measured | Files:
  """Does a job.

  Raises:
    TflmFgError: if it cannot be done.
  """
  if isinstance(job, Cell):
    return run.run(job, user_data)
  if isinstance(job, Surface):
    return loss_surface.run(job, user_data)
  if isinstance(job, Cosines):
    return cosines.run(job, user_data)
  if isinstance(job, Accuracy):
    return accuracy.run(job, user_data)
  if isinstance(job, Speed | Growth):
    return speed.run(job, user_data)
  if isinstance(job, FromScratch):
    return run_from_scratch(job)
  return _memory(job)


def _memory(job: Memory) -> Files:
  from apps.compare.analyses import memory as memory_table
  from apps.compare.analyses import networks

  chosen = {
    name: make
    for name, make in networks.NETWORKS.items()
    if not job.networks or name in job.networks
  }
  rows = memory_table.memory_rows(chosen)
  return {
    "memory.md": memory_table.markdown(rows).encode(),
    "memory.png": memory_table.figure(rows),
  }


def longest_first(jobs: Sequence[Job]) -> list[Job]:
  """Long jobs before short ones, or a process would end long after others."""
  return sorted(jobs, key=_rank)


def _rank(job: Job) -> int:
  if isinstance(job, Cosines | Memory):
    return 3
  if not isinstance(job, Cell):
    return 0
  inner = job.trainable not in ("head", "wide-head", "nothing")
  if job.method in ("backprop", "auto") or job.precision == "fp32":
    return 1 if inner else 4
  return 2 if inner else 4
