"""The numbers a user may turn, checked in one place, and the rule they make."""

from __future__ import annotations

import dataclasses
import warnings
from typing import NamedTuple

from tflm_fg import estimators, optimizers
from tflm_fg.base import TflmFgError
from tflm_fg.closed_form import ClosedFormHead, Head
from tflm_fg.directions import Directions
from tflm_fg.quant import Layout
from tflm_fg.trainer import Rule

METHODS = (*estimators.METHODS, "closed-form")


class Defaults(NamedTuple):
  """What a method takes where nothing is given."""

  learning_rate_lsb: float
  momentum: float
  steps: int
  validate_every: int


DEFAULTS = {
  "sign-m-spsa": Defaults(0.5, 0.0, 3800, 50),
  "spsa": Defaults(64.0, 0.0, 3800, 50),
  "closed-form": Defaults(4.0, 0.9, 80, 8),
}

_RANGES: tuple[tuple[str, float, float], ...] = (
  ("num_directions", 1, 1024),
  ("epsilon_lsb", 1 / 256, 127),
  ("steps", 1, 2**31 - 1),
  ("batch_size", 1, 2**31 - 1),
  ("seed", 0, 2**64 - 1),
  ("validate_every", 1, 2**31 - 1),
  ("patience", 0, 2**31 - 1),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """How to adapt; the defaults suit a head and a few clips a class.

  What is None becomes the method's own default (`DEFAULTS`).

  Attributes:
    method: "sign-m-spsa", "spsa" or "closed-form".
    directions: "rademacher" or "normal".
    num_directions: m, pairs of passes a step.
    epsilon_lsb: perturbation, in int8 steps.
    learning_rate_lsb: first learning rate, in int8 steps; for closed-form,
      in safe steps of gradient descent. A negative rate climbs.
    decay: "linear" or "constant".
    momentum: 0 <= momentum < 1.
    steps: count of steps.
    batch_size: clips a pass.
    seed: 0 <= seed < 2**64.
    validation_fraction: share of the training clips kept aside, to choose
      the best step by and to roll back to; 0 keeps the last step.
    validate_every: steps between looks at the validation part.
    patience: looks without a new lowest loss before stopping; 0 never stops.
    anchor: share of the way back to the start that every step takes, 0 to
      below 1: what is trained stays near what it was.
  """

  method: str = "sign-m-spsa"
  directions: str = "rademacher"
  num_directions: int = 1
  epsilon_lsb: float = 2.0
  learning_rate_lsb: float = None  # type: ignore[assignment]
  decay: str = "linear"
  momentum: float = None  # type: ignore[assignment]
  steps: int = None  # type: ignore[assignment]
  batch_size: int = 256
  seed: int = 0
  validation_fraction: float = 0.15
  validate_every: int = None  # type: ignore[assignment]
  patience: int = 0
  anchor: float = 0.0

  def __post_init__(self) -> None:
    given = DEFAULTS.get(self.method, DEFAULTS["spsa"])
    for name, default in given._asdict().items():
      if getattr(self, name) is None:
        object.__setattr__(self, name, default)
    for field in dataclasses.fields(self):
      _require_type(field.name, getattr(self, field.name), str(field.type))
    if self.method not in METHODS:
      raise TflmFgError(
        f"method {self.method!r} is unknown; choose one of {', '.join(METHODS)}"
      )
    for name, low, high in _RANGES:
      value = getattr(self, name)
      if not low <= value <= high:
        raise TflmFgError(f"{name}={value}: need {low} to {high}")
    if not 0 <= self.validation_fraction < 1:
      raise TflmFgError(
        f"validation_fraction={self.validation_fraction}: need 0 <= f < 1"
      )
    if not 0 <= self.anchor < 1:
      raise TflmFgError(f"anchor={self.anchor}: need 0 <= anchor < 1")
    if self.epsilon_lsb < 1:
      warnings.warn(
        f"epsilon_lsb={self.epsilon_lsb}: a perturbation under one int8 step "
        "is mostly rounded away; use 1 or more",
        stacklevel=3,
      )

  def rule(
    self, layout: Layout, batch_size: int, head: Head | None = None
  ) -> Rule:
    """Builds estimator and optimizer for a layout.

    Args:
      layout: the trainable tensors.
      batch_size: clips that a pass really takes.
      head: what closed-form must know; None for replaying it.
    """
    rate = optimizers.schedule(self.learning_rate_lsb, self.decay, self.steps)
    optimizer = optimizers.sgd(layout, rate, self.momentum)
    if self.anchor:
      optimizer = optimizers.anchored(optimizer, self.anchor)
    if self.method == "closed-form":
      return Rule(ClosedFormHead(layout=layout, head=head), optimizer)
    estimator = estimators.CentralDifference(
      layout=layout,
      directions=Directions(layout, self.seed, self.directions),
      method=self.method,
      epsilon_lsb=self.epsilon_lsb,
      num_directions=self.num_directions,
      batch_size=batch_size,
    )
    return Rule(estimator, optimizer)

  def slopes_a_step(self, layout: Layout) -> int:
    """How many slopes an estimate of this method holds."""
    if self.method == "closed-form":
      return layout.num_kernels + layout.num_biases
    return self.num_directions


def _require_type(name: str, value: object, wanted: str) -> None:
  """Whole numbers where whole numbers are meant: a bool or 2.0 is none."""
  kinds: tuple[type, ...] = {"int": (int,), "str": (str,)}.get(
    wanted, (int, float)
  )
  fine = isinstance(value, kinds) and not isinstance(value, bool)
  if not fine:
    raise TflmFgError(f"{name}={value!r}: need {wanted}")
