"""A phase's settings as journals and reports write them: one flat table.

The table is older than the methods' own classes and the same for all of them,
so it also has what a method does not take, at a value that means nothing. What
younger methods take beside it is written where it differs from its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflm_fg.gradients.method import Method, fields_of, named, registered
from tflm_fg.training.objective import Objective

_OF_OBJECTIVE = {"labels": "auto", "loss": "cross-entropy", "huber_delta": 1.0}

_TABLE: dict[str, Any] = {
  "method": "auto",
  **_OF_OBJECTIVE,
  "directions": "rademacher",
  "guidance": 0.0,
  "kernel_wise": False,
  "sparsity": 0.0,
  "sparse_by": "magnitude",
  "blocks": 1,
  "num_directions": 1,
  "epsilon_lsb": 1.0,
  "rho_lsb": 1.0,
  "learning_rate_lsb": None,
  "decay": "linear",
  "momentum": None,
  "optimizer": "sgd",
  "rounding": "nearest",
  "precision": "16w8a",
  "steps": None,
  "batch_size": None,
  "seed": 0,
  "validation_fraction": None,
  "validate_every": None,
  "patience": None,
  "anchor": 0.0,
}
"""Setting -> what is written where a method does not take it, in order."""


def to_record(method: Method, objective: Objective) -> dict[str, Any]:
  """All settings by name; JSON-ready."""
  taken: dict[str, Any] = {
    n: getattr(method, n) for n in fields_of(type(method))
  }
  taken |= {"method": method.name, "labels": objective.labels}
  if method.takes_loss:
    taken |= {"loss": objective.loss, "huber_delta": objective.huber_delta}
  told = {name: taken.get(name, empty) for name, empty in _TABLE.items()}
  return told | {n: v for n, v in method.given.items() if n not in _TABLE}


def from_record(record: Mapping[str, Any]) -> tuple[Method, Objective]:
  """The method and the objective that were written.

  Raises:
    TflmFgError: if a value does not fit.
    ValueError: if a name is none of a setting.
  """
  kinds, name = registered(), record["method"]
  if name not in kinds:
    raise ValueError(f"there is no method {name!r}")
  if unknown := set(record) - {*_TABLE, *fields_of(kinds[name])}:
    raise ValueError(f"there is no setting {min(unknown)!r}")
  names = [n for n in fields_of(kinds[name]) if n in record]
  method = named(name, **{n: record[n] for n in names})
  known = [n for n in _OF_OBJECTIVE if n in record]
  if not method.takes_loss:
    known = [n for n in known if n == "labels"]
  return method, Objective(**{n: record[n] for n in known})
