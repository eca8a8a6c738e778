"""A cell goes in; it is run, and what it gave comes out."""

from __future__ import annotations

from apps.compare import domains, engine_runs
from apps.compare.domains import Own
from apps.compare.grid import Cell
from apps.compare.results import Measured
from tflm_fg.base import TflmFgError


def run(cell: Cell, own: Own) -> Measured:
  """Runs a cell.

  Raises:
    TflmFgError: naming the cell, if it cannot be run.
  """
  try:
    task = domains.load(cell.domain, cell.seed, own)
    if cell.method == "zero-shot":
      return engine_runs.zero_shot(task)
    if cell.method == "backprop":
      from apps.compare import backprop  # with it comes TensorFlow

      return backprop.run(cell, task)
    if cell.precision == "fp32":
      from apps.compare import float_runs

      return float_runs.run(cell, task)
    if cell.method == "auto":
      return engine_runs.auto(cell, task)
    return engine_runs.forward(cell, task)
  except TflmFgError as fault:
    raise TflmFgError(f"{cell.title}: {fault}") from None
