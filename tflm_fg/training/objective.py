"""Say what is learned from samples: from which targets, lowering which loss.

Targets are classes (int64 [N]), real numbers (float64), or none. Real ones come
onto the fine grid of `losses.squared_error` where a loss looks at them: a file
and its marked copy with finer weights have outputs of different grids. Whoever
trains, splits or scores asks the task and need not know which it is.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from numpy.typing import NDArray

from tflm_fg.gradients.method import require_one
from tflm_fg.losses.base import Loss
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.losses.custom import BlackBox, LossFunction, name_of
from tflm_fg.losses.information_maximization import InformationMaximisation
from tflm_fg.losses.squared_error import Grid, SquaredError, huber
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.surgery.signed_output import signed
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training import data
from tflm_fg.training.data import Dataset
from tflm_fg.types import Array, Int64, Mark, TensorSpec, TflmFgError

CLASSES, REALS, NOTHING = "classes", "reals", "none"

NATURAL = ("cross-entropy", "information-maximisation")
"""Losses that are counted in nats."""

LOSSES = ("cross-entropy", "mse", "huber")

LABELS = ("auto", "given", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
  """What a user wants to be lowered.

  Attributes:
    loss: one of `LOSSES`; the last two also for real y.
    huber_delta: the error up to which huber is a square, in the outputs' units.
    labels: "given"; "none" to use no labels; "auto" for what the data has.
    function: a loss of the user's own, in place of `loss`; see `BlackBox`.
  """

  loss: str = "cross-entropy"
  huber_delta: float = 1.0
  labels: str = "auto"
  function: LossFunction | None = None

  def __post_init__(self) -> None:
    require_one("loss", self.loss, LOSSES)
    require_one("labels", self.labels, LABELS)
    delta = self.huber_delta
    if isinstance(delta, bool) or not isinstance(delta, int | float):
      raise TflmFgError(f"huber_delta={delta!r}: need a number")
    if not 1e-12 <= delta <= 1e12:
      raise TflmFgError(f"huber_delta={delta}: need 1e-12 to 1e+12")
    if delta != Objective.huber_delta and self.loss != "huber":
      raise TflmFgError(
        f"huber_delta={delta}: loss is {self.loss!r}, not huber"
      )
    if self.function is not None and not callable(self.function):
      raise TflmFgError(
        f"loss={self.function!r}: need one of {', '.join(LOSSES)}, or a "
        "function of outputs and y"
      )

  @classmethod
  def of(
    cls,
    loss: str | LossFunction,
    huber_delta: float = 1.0,
    labels: str = "auto",
  ) -> Objective:
    """The objective of a built-in loss's name or a user's function."""
    if isinstance(loss, str):
      return cls(loss=loss, huber_delta=huber_delta, labels=labels)
    return cls(function=loss, huber_delta=huber_delta, labels=labels)

  @property
  def has_gradient(self) -> bool:
    """Whether a head's gradient has a closed form under the loss."""
    return self.function is None

  @property
  def is_quadratic(self) -> bool:
    """Whether the loss bends alike everywhere."""
    return self.function is None and self.loss in ("mse", "huber")

  @property
  def title(self) -> str:
    """The loss's name, for people."""
    return self.loss if self.function is None else name_of(self.function)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """What training is after.

  Attributes:
    targets: "classes", "reals", or "none" to learn without labels.
    loss: one of `LOSSES`.
    huber_delta: in the outputs' real units.
    function: a user's own loss, in place of `loss`; None for none.
  """

  targets: str = CLASSES
  loss: str = "cross-entropy"
  huber_delta: float = 1.0
  function: LossFunction | None = None

  @property
  def labelled(self) -> bool:
    """Whether there is anything to be right or wrong about."""
    return self.targets != NOTHING

  @property
  def is_exact(self) -> bool:
    """Whether a head's gradient has a closed form under the loss."""
    return self.function is None

  @property
  def judged_by_loss(self) -> bool:
    """Whether the loss alone tells better from worse, not right samples."""
    return self.targets == REALS or self.function is not None

  @property
  def is_probabilistic(self) -> bool:
    """Whether outputs are log-probabilities of classes."""
    return self.judged_by_loss is False and self.loss == "cross-entropy"

  @property
  def title(self) -> str:
    """The loss's name, for people."""
    if self.function is not None:
      return name_of(self.function)
    return self.loss if self.labelled else NATURAL[1]

  def strata(self, targets: Array) -> Int64:
    """What to split samples evenly by, int64 [N]: classes, where there are."""
    if self.targets == CLASSES:
      return targets.astype(np.int64)
    return np.zeros(len(targets), np.int64)


CLASSIFY = Task()
"""Classes under cross-entropy."""


def task_of(objective: Objective, y: Array | None, output: TensorSpec) -> Task:
  """The task that an objective and data make up.

  Whole numbers [N] are classes where the model has several outputs; under any
  loss but cross-entropy everything else is real.

  Args:
    objective: what the user wants.
    y: as the user gave it; None for none.
    output: of the model.

  Raises:
    TflmFgError: if they contradict each other.
  """
  own = objective.function is not None or objective.loss != "cross-entropy"
  if y is None or objective.labels == "none":
    if own:
      raise TflmFgError(
        f"loss {objective.title!r} needs y and labels; without them the loss "
        "is information maximisation: drop it, or give y"
      )
    return Task(targets=NOTHING)
  wide = width(output) > 1
  classes = not own or (y.ndim == 1 and y.dtype.kind in "iu" and wide)
  return Task(
    targets=CLASSES if classes else REALS,
    loss=objective.loss,
    huber_delta=objective.huber_delta,
    function=objective.function,
  )


def width(output: TensorSpec) -> int:
  """Count of a sample's outputs."""
  return int(np.prod(output.shape[1:], dtype=np.int64))


def output_spec(marked: Source, mark: Mark, name: str = "model") -> TensorSpec:
  """The tensor that a loss looks at: logits, or a regression's output.

  Args:
    marked: the file.
    mark: says which tensor it is.
    name: what to call the file in errors.

  Raises:
    TflmFgError: if it is not quantized, or not [1] or [1, C].
  """
  spec = signed(tensor_spec(marked, mark.logits))
  if spec.dtype not in ("int8", "int16") or spec.scale <= 0:
    raise TflmFgError(
      f"{name}: the logits are {spec.dtype}; need a model quantized to int8 or "
      "int16x8: convert with a representative dataset"
    )
  # [1], or [1, ..., C] with nothing but ones between.
  if spec.shape != (1,) and (
    len(spec.shape) < 2 or not 0 < width(spec) == spec.shape[-1]
  ):
    raise TflmFgError(
      f"{name}: the output has shape {list(spec.shape)}; need a classifier "
      "with [1, classes], or [1] or [1, numbers] for real targets"
    )
  return spec


def logits_spec(marked: Source, mark: Mark, name: str = "model") -> TensorSpec:
  """A classifier's logits.

  Raises:
    TflmFgError: if they are not quantized, or not [1, classes].
  """
  spec = output_spec(marked, mark, name)
  if width(spec) < 2:
    raise TflmFgError(
      f"{name}: the output has shape {list(spec.shape)}; need a classifier "
      "with [1, classes], or --loss=mse or huber with real y"
    )
  return spec


def spec_for(task: Task, model: Source, mark: Mark, name: str) -> TensorSpec:
  """The tensor that a task's loss looks at, checked for the task.

  Raises:
    TflmFgError: if the model's output is not what the task is about.
  """
  if task.targets != REALS:
    return logits_spec(model, mark, name)
  behind = _bend(model)
  if behind and task.function is None:
    raise TflmFgError(
      f"{name}: ends in {behind}, whose input training looks at; real targets "
      "need a linear output: give classes, or a loss of your own"
    )
  return output_spec(model, mark, name)


def _bend(model: Source) -> str:
  """The operator behind the logits that bends them; empty for none."""
  for name in reversed(ModelFile.of(model).operator_names):
    if name in ("SOFTMAX", "LOG_SOFTMAX", "LOGISTIC"):
      return name
    if name not in _STRAIGHT:
      break
  return ""


_STRAIGHT = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def _grid(spec: TensorSpec) -> Grid:
  bits = 8 if spec.dtype == "int8" else 16
  return Grid(scale=spec.scale, zero_point=spec.zero_point, bits=bits)


def loss_of(spec: TensorSpec, task: Task = CLASSIFY) -> Loss:
  """A task's loss on outputs of this grid."""
  grid = _grid(spec)
  if task.function is not None:
    return BlackBox(function=task.function, grid=grid)
  if not task.labelled:
    return InformationMaximisation(spec.scale, grid.bits)
  if task.loss == "mse":
    return SquaredError(grid=grid)
  if task.loss == "huber":
    return huber(grid, task.huber_delta)
  return CrossEntropy(spec.scale, grid.bits)


def checked(
  part: Dataset,
  inputs: TensorSpec,
  output: TensorSpec,
  name: str,
  task: Task = CLASSIFY,
) -> tuple[Array, Array]:
  """Samples on the model's input grid, and targets that suit the task.

  Returns:
    [N, ...], and int64 [N] for classes or float64 [N, ...]; see `seen_by`.

  Raises:
    TflmFgError: naming the array that does not fit.
  """
  if part.y is None:
    raise TflmFgError(f"{name}: holds no array 'y'")
  x = data.model_input(part.x, inputs, f"{name} x")
  return x, _targets(part.y, len(x), output, f"{name} y", task)


def _targets(
  y: Array, samples: int, output: TensorSpec, name: str, task: Task
) -> Array:
  if task.targets != REALS:
    return data.class_labels(y, samples, width(output), name)
  if task.function is not None:
    return data.real_targets(y, samples, width(output), name, any_shape=True)
  real = data.real_targets(y, samples, width(output), name)
  _require_near(real, _grid(output), name)
  return real


def seen_by(spec: TensorSpec, targets: Array, task: Task) -> Array:
  """Checked targets as the loss on outputs of this grid has them."""
  if task.targets != REALS or task.function is not None:
    return targets
  return _grid(spec).put(targets.astype(np.float64, copy=False))


def _require_near(y: NDArray[np.float64], grid: Grid, name: str) -> None:
  """Refuses targets in other units; says where some cannot be reached."""
  low, high = grid.ends
  reach = f"what the output can give ({low:.3g} to {high:.3g})"
  far = np.count_nonzero((y < low - grid.range) | (y > high + grid.range))
  if 2 * far > y.size:
    raise TflmFgError(
      f"{name}: {far / y.size:.0%} of the targets lie far beyond {reach}; give "
      "them in the units that the model was trained on"
    )
  if far:
    warnings.warn(
      f"{name}: {far} targets lie more than a whole range beyond {reach}; they "
      "count as lying there",
      stacklevel=4,
    )
  beyond = np.count_nonzero((y < low) | (y > high)) / y.size
  if beyond > _BEYOND_SHARE:
    warnings.warn(
      f"{name}: {beyond:.0%} of the targets lie beyond {reach}; are they in "
      "the units it was trained on?",
      stacklevel=4,
    )


_BEYOND_SHARE = 0.1
