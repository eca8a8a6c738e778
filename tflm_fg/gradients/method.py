"""What a method of training is: its settings, checked, and what it asks for.

A method is one frozen dataclass. A new one is a subclass in a file of its own
with `@register` above it, imported by `tflm_fg.methods`: nothing else names it.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimator, Transform
from tflm_fg.losses.base import Loss
from tflm_fg.optimizers import kinds
from tflm_fg.optimizers.schedules import DECAYS
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.types import Mark, Samples, TflmFgError, require_one

CHOSEN: Any = None
"""The value of a setting that is chosen while adapting."""

SIGN_RATE = 1.0
"""The learning rate, in int8 steps, of a method whose own rate counts in
gradients, under an optimizer that looks at signs alone."""

_RANGES: dict[str, tuple[float, float]] = {
  "num_directions": (1, 1024),
  "epsilon_lsb": (1 / 256, 127),
  "steps": (1, 2**31 - 1),
  "batch_size": (1, 2**31 - 1),
  "seed": (0, 2**64 - 1),
  "validate_every": (1, 2**31 - 1),
  "patience": (0, 2**31 - 1),
  "blocks": (1, 1024),
  "pull": (0, 10),
}

_SHARES = ("validation_fraction", "momentum", "anchor", "guidance", "sparsity")
"""Settings from 0 to below 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedPart:
  """What a method may look at before it trains.

  Attributes:
    marked: the marked file.
    mark: its mark, with the tensors of the phase alone.
    shown: tensor indices of what `Passes.activations` gives.
    samples: what is trained on, at the trained part's inputs.
    loss: on the logits.
    is_head: whether the head alone trains.
  """

  marked: ModelFile
  mark: Mark
  shown: Sequence[int]
  samples: Samples
  loss: Loss
  is_head: bool


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Method:
  """The settings that every method takes.

  What is left out is chosen: by the method's own defaults, or by measuring
  while adapting.

  Attributes:
    learning_rate_lsb: the first learning rate, above 0, in int8 steps; for the
      closed form in safe steps of gradient descent.
    decay: "linear", "cosine" or "constant".
    momentum: 0 <= momentum < 1, as Keras has it.
    optimizer: "sgd"; "sign", every number moves by the rate; "rms", by its
      slope over the slope's root mean square; or "frank-wolfe", towards a
      corner of the box that weights can be in.
    rounding: of updates: "nearest", "stochastic" or "error-feedback".
    precision: "16w8a", or "8w8a" for kernels without a master.
    steps: how many steps.
    batch_size: samples a pass.
    seed: 0 <= seed < 2**64. One seed gives one file, byte for byte.
    validation_fraction: the share of the samples that is kept aside, to choose
      by and to roll back to; 0 keeps the last step.
    validate_every: steps between validations.
    patience: validations without a new lowest loss before training stops; 0
      never stops.
    anchor: how much of the distance from the start every step takes back, 0
      to below 1: what is trained stays near what it was.
  """

  learning_rate_lsb: float = CHOSEN
  decay: str = "linear"
  momentum: float = CHOSEN
  optimizer: str = "sgd"
  rounding: str = "nearest"
  precision: str = "16w8a"
  steps: int = CHOSEN
  batch_size: int = CHOSEN
  seed: int = 0
  validation_fraction: float = CHOSEN
  validate_every: int = CHOSEN
  patience: int = CHOSEN
  anchor: float = 0.0

  name: ClassVar[str]
  is_exact: ClassVar[bool] = False
  """Whether one pass gives the whole gradient."""
  takes_loss: ClassVar[bool] = True
  """Whether it looks at a loss at all."""
  runs_single_passes: ClassVar[bool] = False
  """Whether a step has no two passes that could run side by side."""
  weights_are_inputs: ClassVar[bool] = False
  """Whether what it trains flows in as data, a value for every sample."""
  label_free_stage: ClassVar[str] = ""
  """What it trains before the head where a file holds `Mark.statistics` and
  there are no labels; empty for methods that need no such measure."""
  choices: ClassVar[Mapping[str, Collection[str]]] = {
    "decay": DECAYS,
    "optimizer": kinds.OPTIMIZERS,
    "rounding": kinds.ROUNDINGS,
    "precision": kinds.PRECISIONS,
  }
  ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
  """The lowest and the highest value of the fields that it alone has."""
  defaults: ClassVar[Mapping[str, Any]] = {
    "momentum": 0.0,
    "validation_fraction": 0.15,
    "patience": 0,
  }
  """What is not given becomes; what is not here is measured."""

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value is not None or field.default is not None:
        _require_type(field.name, value, str(field.type))
        _require_range(field.name, value, {**_RANGES, **self.ranges})
      if field.name in self.choices:
        require_one(field.name, value, self.choices[field.name])
    most = kinds.OPTIMIZERS[self.optimizer].most_rate
    rate = self.learning_rate_lsb
    if most is not None and rate is not None and rate > most:
      raise TflmFgError(
        f"learning_rate_lsb={rate}: optimizer {self.optimizer} needs at most "
        f"{most}, the whole way to the corner"
      )

  def __repr__(self) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in self.given.items())
    return f"{type(self).__name__}({given})"

  def defaults_for(self, quadratic: bool) -> dict[str, Any]:
    """The defaults under a loss.

    Args:
      quadratic: whether the loss bends alike everywhere, as a square does.
    """
    del quadratic
    own = {**Method.defaults, **self.defaults}
    has_own_rate = self.is_exact or own.get("learning_rate_lsb") is not None
    if has_own_rate and self.optimizer != "sgd":
      own["learning_rate_lsb"] = SIGN_RATE
    return own

  def filled(self: Self, quadratic: bool = False) -> Self:
    """The method with values for what was not given.

    Args:
      quadratic: see `defaults_for`.
    """
    values = self.defaults_for(quadratic)
    missing = {n: v for n, v in values.items() if getattr(self, n) is None}
    return dataclasses.replace(self, **missing)

  def for_layout(self, layout: Layout) -> Method:
    """The method with what depends on the tensors that train; here itself.

    Args:
      layout: of the phase's tensors.
    """
    del layout
    return self

  def as_phase(self, kind: type[Method], **own: Any) -> Method:
    """The method that a phase of this one runs; here itself.

    Args:
      kind: what a phase would run under "auto".
      own: what such a phase takes where nothing is given.
    """
    del kind, own
    return self

  @property
  def given(self) -> dict[str, Any]:
    """The settings that differ from what they are by default."""
    return {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if getattr(self, field.name) != field.default
    }

  @property
  def steps_by_rate(self) -> bool:
    """Whether a number moves by about the rate, however steep the slope."""
    return True

  def passes_at_once(self) -> int:
    """Passes of a step that do not wait for each other."""
    return 1

  def slopes_a_step(self, layout: Layout, step: int) -> range:
    """How many slopes a step's estimate may hold; none if it does not fit."""
    raise NotImplementedError

  def require_layout(self, layout: Layout) -> None:
    """Refuses or warns of what does not suit how weights are held."""

  def taps(self, graph: Subgraph, operators: Sequence[int]) -> list[int]:
    """The activations that it looks at beside the logits, tensor indices."""
    del graph, operators
    return []

  def around(self, optimizer: Transform, layout: Layout) -> Transform:
    """The optimizer as the method's estimates need it; here itself."""
    del layout
    return optimizer

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> Estimator:
    """What turns the passes of a step into a gradient.

    Args:
      layout: the tensors of the phase.
      batch_size: samples that a pass really takes.
      part: what is trained; None for an estimator that only replays.

    Raises:
      TflmFgError: if the method does not fit what is trained.
    """
    raise NotImplementedError


Self = TypeVar("Self", bound=Method)

_REGISTERED: dict[str, type[Method]] = {}


def register(kind: type[Self]) -> type[Self]:
  """Makes a method known by its name: to journals, flags and `named`."""
  _REGISTERED[kind.name] = kind
  return kind


def registered() -> Mapping[str, type[Method]]:
  """All methods by name."""
  return types.MappingProxyType(_REGISTERED)


def named(name: str, /, **settings: Any) -> Method:
  """The method of a name with some settings.

  Raises:
    TflmFgError: if the name is unknown, a setting does nothing under the
      method, or a value does not fit.
  """
  require_one("method", name, _REGISTERED)
  kind = _REGISTERED[name]
  for setting, value in settings.items():
    if setting not in fields_of(kind):
      require_taken({setting: value}, [kind])
  return kind(**settings)


def fields_of(kind: type[Method]) -> list[str]:
  """The names of a method's settings."""
  return [field.name for field in dataclasses.fields(kind)]


def require_taken(
  given: Mapping[str, Any], kinds: Sequence[type[Method]]
) -> None:
  """Refuses a setting that would do nothing.

  Args:
    given: settings that differ from their defaults.
    kinds: all methods that run.
  """
  for setting, value in given.items():
    if not any(setting in fields_of(kind) for kind in kinds):
      ran = " and ".join(repr(kind.name) for kind in dict.fromkeys(kinds))
      takers = [n for n, k in _REGISTERED.items() if setting in fields_of(k)]
      cure = f", or use one of {', '.join(takers)}" if takers else ""
      raise TflmFgError(
        f"{setting}={value!r}: does nothing under method {ran}; leave it "
        f"out{cure}"
      )


def _require_range(
  name: str, value: Any, ranges: Mapping[str, tuple[float, float]]
) -> None:
  """Refuses a number out of its range; None is none yet."""
  if value is None:
    return
  if name in ranges:
    low, high = ranges[name]
    if not low <= value <= high:
      raise TflmFgError(f"{name}={value}: need {low} to {high}")
  if name in _SHARES and not 0 <= value < 1:
    raise TflmFgError(f"{name}={value}: need 0 <= {name} < 1")
  if name == "learning_rate_lsb" and not 0 < value < float("inf"):
    raise TflmFgError(f"{name}={value}: need a finite number above 0")


def _require_type(name: str, value: object, wanted: str) -> None:
  """Whole numbers where whole numbers are meant: a bool or 2.0 is none."""
  kinds: tuple[type, ...] = {"int": (int,), "str": (str,), "bool": (bool,)}.get(
    wanted, (int, float)
  )
  fine = isinstance(value, kinds) and isinstance(value, bool) == (
    wanted == "bool"
  )
  if not fine:
    raise TflmFgError(f"{name}={value!r}: need {wanted}")
