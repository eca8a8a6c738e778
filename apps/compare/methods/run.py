"""Run a cell by the method that it names."""

from __future__ import annotations

from apps.compare.data.registry import UserData, load
from apps.compare.grid import Cell
from apps.compare.methods import integer
from apps.compare.results.rows import Measured
from tflm_fg.types import TflmFgError


def run(cell: Cell, user_data: UserData) -> Measured:
  """Runs a cell.

  Raises:
    TflmFgError: naming the cell, if it cannot be run.
  """
  try:
    task = load(cell.domain, cell.seed, user_data)
    if cell.method == "zero-shot":
      return integer.zero_shot(task)
    if cell.method == "backprop":
      from apps.compare.methods import backprop  # with it comes TensorFlow

      return backprop.run(cell, task)
    if cell.precision == "fp32":
      from apps.compare.methods import float_twin

      return float_twin.run(cell, task)
    if cell.method in ("auto", "alternation"):
      return integer.auto(cell, task)
    return integer.forward(cell, task, user_data.cache or None)
  except TflmFgError as fault:
    raise TflmFgError(f"{cell.title}: {fault}") from None
