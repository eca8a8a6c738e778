"""Methods of tflm_fg, with their settings, for what the comparison runs.

All methods that this program makes are made here: those of a grid's cell, and
those of analyses that run a method by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from apps.compare.grid import OWN_PASSES, SAME_RATE, VARIANTS, Cell
from tflm_fg import methods
from tflm_fg.methods import Method
from tflm_fg.training import from_record
from tflm_fg.types import TflmFgError

_PASSES_A_STEP = {
  "sign-m-spsa": lambda m: 2 * m,
  "spsa": lambda m: 2 * m,
  "multi-tangent": lambda m: 2 * m,
  "one-sided": lambda m: m + 1,
  "sharpness-aware": lambda m: 4 * m,
  "node": lambda m: 2 * m + 1,
  "per-sample": lambda m: 2,
}


def steps_of(method: str, directions: int, passes: int) -> int:
  """Steps that fit into a count of passes, at least one."""
  return max(1, passes // _PASSES_A_STEP[method](directions))


def _directions(method: str) -> int:
  """What a method takes by itself."""
  return getattr(methods.named(method).filled(), "num_directions", 1)


_NO_FIELDS = ("method", "labels")
"""What a cell's settings say beside the fields of its method."""


def fields_of(cell: Cell) -> dict[str, Any]:
  """The settings that a cell is run with, those left to themselves left out.

  Methods with a gradient of their own take their own count of passes.

  Raises:
    TflmFgError: for a setting that this tflm-fg does not have.
  """
  method = "auto" if cell.method == "alternation" else cell.method
  fields: dict[str, Any] = {"method": method, "seed": cell.seed}
  if cell.method == "statistics":
    fields["labels"] = "none"
  fields |= VARIANTS[cell.variant]
  if cell.precision in ("8w8a", SAME_RATE):
    fields["precision"] = "8w8a"
  if cell.method not in (*OWN_PASSES, "alternation"):
    directions = fields.get("num_directions") or _directions(cell.method)
    fields["steps"] = steps_of(cell.method, directions, cell.passes)
    fields["batch_size"] = cell.batch
  if cell.method != "auto":
    fields["validation_fraction"] = 0.0
  known = {*methods.fields_of(methods.registered()[method]), *_NO_FIELDS}
  for name in fields:
    if name not in known:
      raise TflmFgError(
        f"{cell.title}: this tflm-fg has no setting {name!r}; leave out "
        f"{cell.variant if cell.precision == '16w8a' else cell.precision!r}"
      )
  return fields


def settings_of(cell: Cell) -> Method:
  """The method that a cell is run with, checked."""
  own = {k: v for k, v in fields_of(cell).items() if k not in _NO_FIELDS}
  method = methods.named(fields_of(cell)["method"], **own)
  return method if isinstance(method, methods.Auto) else method.filled()


def settings_text(cell: Cell) -> str:
  """The same as text, for the CSV: a row of other settings is another run."""
  if cell.method in ("zero-shot", "backprop"):
    return "{}"
  fields = fields_of(cell)
  del fields["method"], fields["seed"]
  return json.dumps(fields, sort_keys=True)


def require_known(cells: Iterable[Cell]) -> None:
  """Refuses a cell that cannot be run, before any is.

  Raises:
    TflmFgError: naming it.
  """
  for cell in cells:
    if cell.method not in ("zero-shot", "backprop"):
      settings_of(cell)


def settings_in_report(fields: dict[str, Any]) -> Method:
  """The method that a report of `tflm_fg.adapt` says a phase ran with."""
  return from_record(fields)[0]


def of_estimator(
  method: str,
  num_directions: int,
  epsilon_lsb: float,
  batch: int,
  **fields: Any,
) -> Method:
  """The method of an estimator whose gradients are measured, never applied."""
  return methods.named(
    method,
    num_directions=num_directions,
    epsilon_lsb=epsilon_lsb,
    learning_rate_lsb=1.0,
    batch_size=batch,
    **fields,
  ).filled()


def of_timed_steps(num_directions: int, batch: int) -> Method:
  """The method of plain steps that are timed for as long as wanted."""
  return methods.SignSPSA(
    epsilon_lsb=4.0,
    learning_rate_lsb=0.01,
    num_directions=num_directions,
    batch_size=batch,
    steps=10**8,
  ).filled()


def of_timed_samples(batch: int) -> Method:
  """The method of steps with a direction for every sample, timed likewise."""
  return methods.PerSample(
    epsilon_lsb=4.0,
    learning_rate_lsb=0.01,
    batch_size=batch,
    steps=10**8,
    scan=False,
  ).filled()


def of_counted_memory() -> Method:
  """Two passes a direction, and no state but the masters."""
  return methods.SignSPSA(momentum=0.0).filled()


def of_default(seed: int) -> Method:
  """What `tflm_fg.adapt` does where nothing is given but the seed."""
  return methods.Auto(seed=seed)


def of_one_method(
  method: str, seed: int, steps: int | None, self_set: bool
) -> Method:
  """One method of forward passes for the head.

  Args:
    method: its name.
    seed: of the training.
    steps: how many; None for the method's own.
    self_set: its learning rate and epsilon are found by measuring; otherwise
      sign-m-spsa takes what is better on the real spotter than what it finds.
  """
  given = {} if self_set else FIXED.get(method, {})
  return methods.named(method, seed=seed, steps=steps, **given).filled()


FIXED = {"sign-m-spsa": {"epsilon_lsb": 4.0, "learning_rate_lsb": 0.5}}
"""Epsilon and learning rate where nothing is found by measuring."""
