"""A cell goes in; it is run, and what it gave comes out."""

from __future__ import annotations

from apps.compare.data.registry import Own, load
from apps.compare.grid import Cell
from apps.compare.methods import integer
from apps.compare.results.rows import Measured
from tflm_fg.types import TflmFgError


def run(cell: Cell, own: Own) -> Measured:
  """Runs a cell.

  Raises:
    TflmFgError: naming the cell, if it cannot be run.
  """
  try:
    task = load(cell.domain, cell.seed, own)
    if cell.method == "zero-shot":
      return integer.zero_shot(task)
    if cell.method == "backprop":
      from apps.compare.methods import backprop  # with it comes TensorFlow

      return backprop.run(cell, task)
    if cell.precision == "fp32":
      from apps.compare.methods import float_twin as float_runs

      return float_runs.run(cell, task)
    if cell.method == "auto":
      return integer.auto(cell, task)
    return integer.forward(cell, task)
  except TflmFgError as fault:
    raise TflmFgError(f"{cell.title}: {fault}") from None
