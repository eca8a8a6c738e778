"""The numbers a user may turn, checked in one place, and the rule they make."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from tflm_fg import estimators, optimizers
from tflm_fg.base import Int64, TflmFgError, Transform
from tflm_fg.closed_form import ClosedFormHead, Head
from tflm_fg.directions import KINDS, Directions
from tflm_fg.losses import Loss
from tflm_fg.nodes import Layer, NodePerturbation, slopes_of
from tflm_fg.quant import Layout
from tflm_fg.statistics import StatisticMatching
from tflm_fg.trainer import Rule

METHODS = ("auto", *estimators.METHODS, "node", "closed-form", "statistics")


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
  "node": Defaults(0.5, 0.9, 1500, 256, 50, epsilon_lsb=2.0),
  "statistics": Defaults(1.0, 0.0, 32, 256, 32, epsilon_lsb=1.0),
  "closed-form": Defaults(None, 0.8, 42, 4096, 42, epsilon_lsb=1.0),
}

QUADRATIC = {"learning_rate_lsb": 2.0, "momentum": 0.9, "steps": 80}
"""What the closed form takes instead where the loss bends alike everywhere."""


def defaults_of(method: str, loss: str) -> dict[str, Any]:
  """What a method takes under a loss where nothing is given."""
  own = DEFAULTS[method]._asdict()
  if method == "closed-form" and loss in ("mse", "huber"):
    own |= {**QUADRATIC, "validate_every": QUADRATIC["steps"]}
  return own


_RANGES: tuple[tuple[str, float, float], ...] = (
  ("num_directions", 1, 1024),
  ("epsilon_lsb", 1 / 256, 127),
  ("steps", 1, 2**31 - 1),
  ("batch_size", 1, 2**31 - 1),
  ("seed", 0, 2**64 - 1),
  ("validate_every", 1, 2**31 - 1),
  ("patience", 0, 2**31 - 1),
  ("huber_delta", 1e-12, 1e12),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """How to adapt.

  What is None sets itself: under a method it becomes the method's own default
  (`DEFAULTS`), under "auto" it is chosen while adapting.

  Attributes:
    method: "auto", "sign-m-spsa", "spsa", "node" or "closed-form".
    labels: "given"; "none" to look at no label; "auto" for what the data has.
    loss: "cross-entropy", "mse" or "huber"; the last two also for real y.
    huber_delta: error up to which huber is a square, in the outputs' units.
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
      by and to roll back to; 0 keeps the last step.
    validate_every: steps between looks at the validation part.
    patience: looks without a new lowest loss before stopping; 0 never stops.
    anchor: share of the way back to the start that every step takes, 0 to
      below 1: what is trained stays near what it was.
  """

  method: str = "auto"
  labels: str = "auto"
  loss: str = "cross-entropy"
  huber_delta: float = 1.0
  directions: str = "rademacher"
  num_directions: int = None  # type: ignore[assignment]
  epsilon_lsb: float = None  # type: ignore[assignment]
  learning_rate_lsb: float = None  # type: ignore[assignment]
  decay: str = "linear"
  momentum: float = None  # type: ignore[assignment]
  steps: int = None  # type: ignore[assignment]
  batch_size: int = None  # type: ignore[assignment]
  seed: int = 0
  validation_fraction: float = None  # type: ignore[assignment]
  validate_every: int = None  # type: ignore[assignment]
  patience: int = None  # type: ignore[assignment]
  anchor: float = 0.0

  def __post_init__(self) -> None:
    if self.method in DEFAULTS:
      for name, default in defaults_of(self.method, self.loss).items():
        if getattr(self, name) is None:
          object.__setattr__(self, name, default)
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value is not None or field.default is not None:
        _require_type(field.name, value, str(field.type))
    _require_one("method", self.method, METHODS)
    _require_one("labels", self.labels, LABELS)
    _require_one("loss", self.loss, LOSSES)
    _require_one("direction", self.directions, KINDS)
    _require_one("decay", self.decay, optimizers.DECAYS)
    for name, low, high in _RANGES:
      value = getattr(self, name)
      if value is not None and not low <= value <= high:
        raise TflmFgError(f"{name}={value}: need {low} to {high}")
    fraction = self.validation_fraction
    if fraction is not None and not 0 <= fraction < 1:
      raise TflmFgError(f"validation_fraction={fraction}: need 0 <= f < 1")
    if not 0 <= self.anchor < 1:
      raise TflmFgError(f"anchor={self.anchor}: need 0 <= anchor < 1")
    if self.epsilon_lsb is not None and self.epsilon_lsb < 1:
      warnings.warn(
        f"epsilon_lsb={self.epsilon_lsb}: a perturbation under one int8 step "
        "is mostly rounded away; use 1 or more",
        stacklevel=1,  # one place, so said once however often it is copied
      )

  def under(self, method: str, **own: Any) -> Settings:
    """These settings under a method of a phase.

    Args:
      method: what the phase runs; not "auto".
      own: the phase's own values for what is not given here.
    """
    missing = {k: v for k, v in own.items() if getattr(self, k) is None}
    return dataclasses.replace(self, method=method, **missing)

  def rule(
    self,
    layout: Layout,
    batch_size: int,
    head: Head | None = None,
    centre: Sequence[int] = (),
  ) -> Rule:
    """Builds estimator and optimizer for a layout.

    Args:
      layout: the trainable tensors.
      batch_size: clips that a pass really takes.
      head: what closed-form must know; None for replaying it.
      centre: the head's, or empty; see `optimizers.centred`.
    """
    optimizer = self._optimizer(layout, biases=not centre)
    if self.method == "closed-form":
      exact = ClosedFormHead(layout=layout, head=head)
      mean = np.array(centre, np.int64)
      return Rule(exact, optimizers.centred(optimizer, layout, mean))
    if self.method == "node":
      return self.node_rule(layout, (), None)
    if self.method == "statistics":
      return self.statistics_rule(layout, (), ())
    return Rule(self.central_difference(layout, batch_size), optimizer)

  def node_rule(
    self, layout: Layout, layers: Sequence[Layer], loss: Loss | None
  ) -> Rule:
    """Node perturbation with its optimizer.

    Args:
      layout: the trainable tensors.
      layers: where they are; empty for replaying.
      loss: on the logits; None for replaying.
    """
    estimator = NodePerturbation(
      layout=layout,
      directions=Directions(layout, self.seed, "rademacher"),
      num_directions=self.num_directions,
      epsilon_lsb=self.epsilon_lsb,
      layers=layers,
      loss=loss,
    )
    return Rule(estimator, self._optimizer(layout))

  def statistics_rule(
    self, layout: Layout, sources: Sequence[int], targets: Sequence[Int64]
  ) -> Rule:
    """Statistic matching with its optimizer; see `StatisticMatching`."""
    estimator = StatisticMatching(
      layout=layout, sources=sources, targets=targets
    )
    return Rule(estimator, self._optimizer(layout))

  def _optimizer(self, layout: Layout, biases: bool = True) -> Transform:
    rate = optimizers.schedule(self.learning_rate_lsb, self.decay, self.steps)
    optimizer = optimizers.sgd(layout, rate, self.momentum)
    if self.anchor:
      optimizer = optimizers.anchored(optimizer, self.anchor, biases)
    return optimizer

  def central_difference(
    self, layout: Layout, batch_size: int
  ) -> estimators.CentralDifference:
    """The estimator of the methods that compare two sides."""
    return estimators.CentralDifference(
      layout=layout,
      directions=Directions(layout, self.seed, self.directions),
      method=self.method,
      epsilon_lsb=self.epsilon_lsb,
      num_directions=self.num_directions,
      batch_size=batch_size,
    )

  @property
  def is_exact(self) -> bool:
    """Whether one pass gives the whole gradient."""
    return self.method == "closed-form"

  @property
  def runs_single_passes(self) -> bool:
    """Whether a step has no two passes that could run side by side."""
    return self.method in ("closed-form", "statistics")

  def passes_at_once(self) -> int:
    """Passes of a step that do not wait for each other."""
    return 1 if self.runs_single_passes else 2 * self.num_directions

  def slopes_a_step(self, layout: Layout, step: int) -> range:
    """How many slopes a step's estimate may hold; none if it does not fit."""
    if self.is_exact:
      numbers = layout.num_kernels + layout.num_biases
      return range(numbers, numbers + 1)
    biases = {t.operator for t in layout.tensors if t.role == "bias"}
    if self.method == "statistics":
      channels = layout.tensors[step % len(layout.tensors)].size
      return range(channels, channels + (layout.num_kernels == 0))
    if self.method == "node" and biases != {t.operator for t in layout.tensors}:
      return range(0)
    width = slopes_of(layout) if self.method == "node" else 1
    return range(width, 1024 * width + 1, width)


def _require_one(name: str, value: str, known: Collection[str]) -> None:
  if value not in known:
    raise TflmFgError(
      f"{name} {value!r} is unknown; choose one of {', '.join(known)}"
    )


def _require_type(name: str, value: object, wanted: str) -> None:
  """Whole numbers where whole numbers are meant: a bool or 2.0 is none."""
  kinds: tuple[type, ...] = {"int": (int,), "str": (str,)}.get(
    wanted, (int, float)
  )
  fine = isinstance(value, kinds) and not isinstance(value, bool)
  if not fine:
    raise TflmFgError(f"{name}={value!r}: need {wanted}")
