"""What each method takes where a user gives nothing, and what may be given."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from tflm_fg.gradients import spsa
from tflm_fg.types import TflmFgError

FORWARD = (
  *spsa.METHODS,
  "one-sided",
  "multi-tangent",
  "sharpness-aware",
)
"""Methods that perturb weights along directions."""

METHODS = ("auto", *FORWARD, "node", "closed-form", "statistics")

TAKERS: dict[str, tuple[str, ...]] = {
  **dict.fromkeys(
    ("directions", "guidance", "kernel_wise", "sparsity", "sparse_by"), FORWARD
  ),
  "blocks": FORWARD,
  "num_directions": (*FORWARD, "node"),
  "epsilon_lsb": (*FORWARD, "node"),
  "rho_lsb": ("sharpness-aware",),
  "loss": (*FORWARD, "node", "closed-form"),
  "huber_delta": (*FORWARD, "node", "closed-form"),
}
"""Setting -> the methods that take it; all take what is not listed."""

AUTO_FORWARD = "sign-m-spsa"
"""What "auto" runs where there is no exact gradient."""

LABELS = ("auto", "given", "none")

LOSSES = ("cross-entropy", "mse", "huber")


class Defaults(NamedTuple):
  """What a method takes where nothing is given; None is chosen by measuring."""

  learning_rate_lsb: float | None
  momentum: float
  steps: int
  batch_size: int | None
  validate_every: int
  epsilon_lsb: float | None = None
  num_directions: int = 1
  validation_fraction: float = 0.15
  patience: int = 0


DEFAULTS = {
  "sign-m-spsa": Defaults(None, 0.0, 3800, None, 50),
  "spsa": Defaults(None, 0.0, 3800, None, 50),
  "one-sided": Defaults(None, 0.0, 3800, None, 50, num_directions=8),
  "multi-tangent": Defaults(None, 0.0, 3800, None, 50, num_directions=4),
  "sharpness-aware": Defaults(None, 0.0, 3800, None, 50),
  "node": Defaults(0.5, 0.9, 1500, 256, 50, epsilon_lsb=2.0),
  "statistics": Defaults(1.0, 0.0, 32, 256, 32, epsilon_lsb=1.0),
  "closed-form": Defaults(None, 0.8, 42, 4096, 42, epsilon_lsb=1.0),
}

QUADRATIC = {"learning_rate_lsb": 2.0, "momentum": 0.9, "steps": 80}
"""What the closed form takes instead where the loss bends alike everywhere."""

SIGN_RATE = 1.0
"""Of a method with a rate of its own, where an optimizer asks for signs alone:
that rate counts in gradients, this one in int8 steps."""

RANGES: dict[str, tuple[float, float]] = {
  "num_directions": (1, 1024),
  "epsilon_lsb": (1 / 256, 127),
  "rho_lsb": (1 / 256, 127),
  "steps": (1, 2**31 - 1),
  "batch_size": (1, 2**31 - 1),
  "seed": (0, 2**64 - 1),
  "validate_every": (1, 2**31 - 1),
  "patience": (0, 2**31 - 1),
  "blocks": (1, 1024),
  "huber_delta": (1e-12, 1e12),
}

SHARES = ("validation_fraction", "momentum", "anchor", "guidance", "sparsity")
"""Settings from 0 to below 1."""


def require_one(name: str, value: str, known: Collection[str]) -> None:
  """Refuses an unknown choice by name."""
  if value not in known:
    raise TflmFgError(
      f"{name} {value!r} is unknown; choose one of {', '.join(known)}"
    )


def require_range(name: str, value: Any) -> None:
  """Refuses a number out of its range; None is none yet."""
  if value is None:
    return
  if name in RANGES:
    low, high = RANGES[name]
    if not low <= value <= high:
      raise TflmFgError(f"{name}={value}: need {low} to {high}")
  if name == "learning_rate_lsb" and not value > 0:
    raise TflmFgError(
      f"{name}={value}: need a rate above 0; below it training would climb"
    )
  if name in SHARES and not 0 <= value < 1:
    raise TflmFgError(f"{name}={value}: need 0 <= {name} < 1")


def ignored_by(method: str) -> list[str]:
  """The settings that a method has no use for; "auto" may have for any."""
  return [n for n, takers in TAKERS.items() if method not in (*takers, "auto")]


def require_taken(name: str, value: object, methods: Collection[str]) -> None:
  """Refuses a setting that would do nothing.

  Args:
    name: the setting.
    value: what was given, another than the default.
    methods: all that run.
  """
  takers = TAKERS.get(name, methods)
  if not set(takers) & set(methods):
    ran = " and ".join(repr(method) for method in dict.fromkeys(methods))
    raise TflmFgError(
      f"{name}={value!r}: does nothing under method {ran}; leave it out, or "
      f"use one of {', '.join(takers)}"
    )


def require_type(name: str, value: object, wanted: str) -> None:
  """Whole numbers where whole numbers are meant: a bool or 2.0 is none."""
  kinds: tuple[type, ...] = {"int": (int,), "str": (str,), "bool": (bool,)}.get(
    wanted, (int, float)
  )
  fine = isinstance(value, kinds) and isinstance(value, bool) == (
    wanted == "bool"
  )
  if not fine:
    raise TflmFgError(f"{name}={value!r}: need {wanted}")
