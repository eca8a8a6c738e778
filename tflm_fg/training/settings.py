"""The numbers a user may turn, checked in one place, and the rule they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Transform
from tflm_fg.gradients.closed_form import ClosedFormHead, Head
from tflm_fg.gradients.directions import KINDS, Directions, Shaped, Source
from tflm_fg.gradients.masks import SPARSE_BY, Masks
from tflm_fg.gradients.multi_tangent import MultiTangent
from tflm_fg.gradients.node_perturbation import (
  Layer,
  NodePerturbation,
  slopes_of,
)
from tflm_fg.gradients.spsa import (
  CentralDifference,
  ForwardGradient,
  OneSided,
  SharpnessAware,
)
from tflm_fg.gradients.statistic_matching import StatisticMatching
from tflm_fg.losses.base import Loss
from tflm_fg.optimizers import transforms
from tflm_fg.optimizers.rounding import (
  PRECISIONS,
  ROUNDINGS,
  Rounding,
  query_dither,
  require_masters,
  warn_if_rounded_away,
)
from tflm_fg.optimizers.schedules import DECAYS, schedule
from tflm_fg.training import defaults
from tflm_fg.training.defaults import DEFAULTS, require_one, require_type
from tflm_fg.training.trainer import StepRule
from tflm_fg.types import Int64, TflmFgError

_CHOICES = (
  ("method", defaults.METHODS),
  ("labels", defaults.LABELS),
  ("loss", defaults.LOSSES),
  ("directions", tuple(KINDS)),
  ("sparse_by", SPARSE_BY),
  ("decay", DECAYS),
  ("optimizer", tuple(transforms.KINDS)),
  ("rounding", ROUNDINGS),
  ("precision", PRECISIONS),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """How to adapt.

  What is None sets itself: under a method it becomes the method's own default
  (`DEFAULTS`), under "auto" it is chosen while adapting.

  Attributes:
    method: one of `defaults.METHODS`.
    labels: "given"; "none" to look at no label; "auto" for what the data has.
    loss: "cross-entropy", "mse" or "huber"; the last two also for real y.
    huber_delta: error up to which huber is a square, in the outputs' units.
    directions: "rademacher" or "normal".
    guidance: b, 0 to below 1, how much of a direction is the running step's;
      needs momentum.
    kernel_wise: scale a direction by each output kernel's norm.
    sparsity: share of each kernel tensor that is left alone, 0 to below 1.
    sparse_by: "magnitude", the smallest as they are now, or "seed", the same
      in the whole run.
    blocks: parts of the layers that take turns, one a step; as many as layers
      at most.
    num_directions: m, directions a step: two passes each, or for one-sided
      one and for sharpness-aware four.
    epsilon_lsb: perturbation, in int8 steps.
    rho_lsb: how far uphill sharpness-aware looks, in int8 steps.
    learning_rate_lsb: first learning rate, in int8 steps; for closed-form,
      in safe steps of gradient descent; above 0.
    decay: "linear", "cosine" or "constant".
    momentum: 0 <= momentum < 1.
    optimizer: "sgd"; "sign", every number by the rate; or "frank-wolfe",
      towards a corner of the box, a number in its middle by the rate.
    rounding: of updates: "nearest", "stochastic" or "error-feedback".
    precision: "16w8a", or "8w8a" for kernels without a master.
    steps: count of steps.
    batch_size: samples a pass.
    seed: 0 <= seed < 2**64.
    validation_fraction: share of the training samples kept aside, to choose
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
  guidance: float = 0.0
  kernel_wise: bool = False
  sparsity: float = 0.0
  sparse_by: str = "magnitude"
  blocks: int = 1
  num_directions: int = None  # type: ignore[assignment]
  epsilon_lsb: float = None  # type: ignore[assignment]
  rho_lsb: float = 1.0
  learning_rate_lsb: float = None  # type: ignore[assignment]
  decay: str = "linear"
  momentum: float = None  # type: ignore[assignment]
  optimizer: str = "sgd"
  rounding: str = "nearest"
  precision: str = "16w8a"
  steps: int = None  # type: ignore[assignment]
  batch_size: int = None  # type: ignore[assignment]
  seed: int = 0
  validation_fraction: float = None  # type: ignore[assignment]
  validate_every: int = None  # type: ignore[assignment]
  patience: int = None  # type: ignore[assignment]
  anchor: float = 0.0

  def __post_init__(self) -> None:
    if self.method in DEFAULTS:
      for name, default in self._defaults().items():
        if getattr(self, name) is None:
          object.__setattr__(self, name, default)
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value is not None or field.default is not None:
        require_type(field.name, value, str(field.type))
        defaults.require_range(field.name, value)
    for name, known in _CHOICES:
      title = "direction" if name == "directions" else name
      require_one(title, getattr(self, name), known)
    self._require_fit()

  def _defaults(self) -> dict[str, Any]:
    """The method's own, under this optimizer."""
    own = DEFAULTS[self.method]._asdict()
    if self.is_exact and self.loss in ("mse", "huber"):
      own |= defaults.QUADRATIC
      own["validate_every"] = own["steps"]
    has_own_rate = self.is_exact or own["learning_rate_lsb"] is not None
    if has_own_rate and self.optimizer != "sgd":
      own["learning_rate_lsb"] = defaults.SIGN_RATE
    return own

  def require_use(self, methods: Collection[str]) -> None:
    """Refuses what was given and none of these methods takes."""
    own = self._defaults() if self.method in DEFAULTS else {}
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value not in (field.default, own.get(field.name)):
        defaults.require_taken(field.name, value, methods)

  def _require_fit(self) -> None:
    """Refuses what is fine alone and not together."""
    if self.method != "auto":
      self.require_use((self.method,))
    if self.sparse_by == "seed" and not self.sparsity:
      raise TflmFgError("sparse_by='seed': needs sparsity above 0, as 0.5")
    if self.huber_delta != Settings.huber_delta and self.loss != "huber":
      raise TflmFgError(
        f"huber_delta={self.huber_delta}: loss is {self.loss!r}, not huber"
      )
    if self.guidance and not self.momentum:
      raise TflmFgError(
        f"guidance={self.guidance}: follows the velocity, so it needs momentum "
        "above 0, as 0.9"
      )
    rate = self.learning_rate_lsb
    if self.optimizer == "frank-wolfe" and rate and abs(rate) > transforms.BOX:
      raise TflmFgError(
        f"learning_rate_lsb={rate}: optimizer frank-wolfe needs at most "
        f"{transforms.BOX}, the whole way to the corner"
      )
    most = MultiTangent.most_directions
    if self.method == "multi-tangent" and self.num_directions > most:
      raise TflmFgError(
        f"num_directions={self.num_directions}: multi-tangent needs 1 to "
        f"{most}, as it solves so many equations exactly"
      )

  def under(self, method: str, **own: Any) -> Settings:
    """These settings under a method of a phase, without what it ignores.

    Args:
      method: what the phase runs, or "auto".
      own: the phase's own values for what is not given here.
    """
    known = {k: v for k, v in own.items() if getattr(self, k) is None}
    known |= {k: getattr(Settings, k) for k in defaults.ignored_by(method)}
    return dataclasses.replace(self, method=method, **known)

  def step_rule(
    self,
    layout: Layout,
    batch_size: int,
    head: Head | None = None,
    centre: Sequence[int] = (),
  ) -> StepRule:
    """Builds estimator and optimizer for a layout.

    Args:
      layout: the trainable tensors.
      batch_size: samples that a pass really takes.
      head: what closed-form must know; None for replaying it.
      centre: the head's, or empty; see `optimizers.centred`.
    """
    optimizer = self._optimizer(layout, biases=not centre)
    if self.method == "closed-form":
      exact = ClosedFormHead(layout=layout, head=head)
      mean = np.array(centre, np.int64)
      return StepRule(exact, transforms.centred(optimizer, layout, mean))
    if self.method == "node":
      return self.node_step_rule(layout, (), None)
    if self.method == "statistics":
      return self.statistics_step_rule(layout, (), ())
    return StepRule(self.forward_gradient(layout, batch_size), optimizer)

  def node_step_rule(
    self, layout: Layout, layers: Sequence[Layer], loss: Loss | None
  ) -> StepRule:
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
    return StepRule(estimator, self._optimizer(layout))

  def statistics_step_rule(
    self, layout: Layout, sources: Sequence[int], targets: Sequence[Int64]
  ) -> StepRule:
    """Statistic matching with its optimizer; see `StatisticMatching`."""
    estimator = StatisticMatching(
      layout=layout, sources=sources, targets=targets
    )
    return StepRule(estimator, self._optimizer(layout))

  def _optimizer(self, layout: Layout, biases: bool = True) -> Transform:
    rate = schedule(self.learning_rate_lsb, self.decay, self.steps)
    whole = Rounding(
      layout=layout,
      kind=self.rounding,
      precision=self.precision,
      seed=self.seed,
    )
    make = transforms.KINDS[self.optimizer]
    optimizer = make(layout, rate, self.momentum, whole)
    if self.anchor:
      optimizer = transforms.anchored(optimizer, self.anchor, biases, whole)
    return optimizer

  def forward_gradient(
    self, layout: Layout, batch_size: int
  ) -> ForwardGradient:
    """The estimator of a method that perturbs weights along directions."""
    shared: dict[str, Any] = {
      "layout": layout,
      "directions": self._directions(layout),
      "epsilon_lsb": self.epsilon_lsb,
      "num_directions": self.num_directions,
      "batch_size": batch_size,
    }
    finest = min(self.epsilon_lsb, self.rho_lsb)  # rho is 1 where unused
    if self.rounding == "stochastic" and finest < 1:
      shared["dither"] = query_dither(layout, self.seed)
    if self.method == "one-sided":
      return OneSided(**shared)
    if self.method == "multi-tangent":
      return MultiTangent(**shared)
    if self.method == "sharpness-aware":
      return SharpnessAware(**shared, rho_lsb=self.rho_lsb)
    return CentralDifference(**shared, method=self.method)

  def require_layout(self, layout: Layout) -> None:
    """Refuses or warns of what does not suit how weights are held."""
    require_masters(self.precision, layout)
    if self.method in defaults.FORWARD and self.rounding != "stochastic":
      for name in ("epsilon_lsb", "rho_lsb"):
        warn_if_rounded_away(name, getattr(self, name), layout)

  def _directions(self, layout: Layout) -> Source:
    """Plain draws where nothing shapes them: those are the fastest."""
    drawn = Directions(layout, self.seed, self.directions)
    masks = None
    if self.sparsity or self.blocks > 1:
      masks = Masks(
        layout=layout,
        seed=self.seed,
        sparsity=self.sparsity,
        sparse_by=self.sparse_by,
        blocks=self.blocks,
      )
    if masks is None and not self.kernel_wise and not self.guidance:
      return drawn
    return Shaped(
      layout=layout,
      drawn=drawn,
      kernel_wise=self.kernel_wise,
      guidance=self.guidance,
      masks=masks,
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
    if self.runs_single_passes:
      return 1
    if self.method == "one-sided":
      return self.num_directions + 1
    return 2 * self.num_directions

  @property
  def steps_by_rate(self) -> bool:
    """Whether a number moves by about the rate, however steep the slope."""
    proportional = self.method in ("spsa", "multi-tangent")
    return self.optimizer != "sgd" or not proportional

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
    most = 1024
    if self.method == "multi-tangent":
      most = MultiTangent.most_directions
    return range(width, most * width + 1, width)
