"""Say what is learned from samples: from which targets, lowering which loss.

Targets are classes (int64 [N]), labels of 0 and 1 for outputs that each stand
alone (int64 [N, C]), real numbers (float64), or none. Whoever trains, splits or
scores asks the task and need not know which it is.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflm_fg.losses.base import LossFunction, name_of
from tflm_fg.samples.targets import one_column
from tflm_fg.types import Array, Int64, TensorSpec, TflmFgError, require_one

CLASSES, BINARY, REALS, NOTHING = "classes", "binary", "reals", "none"

NATURAL = (
  "cross-entropy",
  "binary-cross-entropy",
  "information-maximisation",
)
"""Losses that are counted in nats."""

LOSSES = ("cross-entropy", "binary-cross-entropy", "mse", "huber")

LABELS = ("auto", "given", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
  """What a user wants to be lowered.

  Attributes:
    loss: one of `LOSSES`; the last two also for real y. Cross-entropy becomes
      the binary one by itself, see `task_of`.
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
    targets: "classes", "binary" for labels of 0 and 1 an output, "reals", or
      "none" to learn without labels.
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
  def answers(self) -> bool:
    """Whether outputs are answers, right or wrong."""
    return self.targets in (CLASSES, BINARY)

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
    return not self.judged_by_loss and self.loss in NATURAL

  @property
  def is_binary(self) -> bool:
    """Whether outputs each stand alone, as in front of a LOGISTIC."""
    return self.function is None and self.loss == NATURAL[1]

  @property
  def title(self) -> str:
    """The loss's name, for people."""
    if self.function is not None:
      return name_of(self.function)
    return self.loss if self.labelled else NATURAL[2]

  def strata(self, targets: Array) -> Int64:
    """What to split samples evenly by, int64 [N]: classes, where there are.

    Of labels of 0 and 1 it is which of them hold together; what is rarer than
    a split can share out counts as one.
    """
    if self.targets == CLASSES:
      return targets.astype(np.int64)
    if self.targets == BINARY:
      _, alike, counts = np.unique(
        targets, axis=0, return_inverse=True, return_counts=True
      )
      own = alike.reshape(-1).astype(np.int64)
      return np.where(counts[own] < _SHARED_OUT, -1, own)
    return np.zeros(len(targets), np.int64)


_SHARED_OUT = 4
"""Samples with the same labels that a split can share out."""

CLASSIFY = Task()
"""Classes under cross-entropy."""


def task_of(
  objective: Objective, y: Array | None, output: TensorSpec, behind: str = ""
) -> Task:
  """The task that an objective and data make up.

  Whole numbers [N] are classes where the model has several outputs; under any
  loss but cross-entropy everything else is real. In front of a LOGISTIC
  cross-entropy is the binary one, unless y is classes [N] of several outputs.

  Args:
    objective: what the user wants.
    y: as the user gave it; None for none.
    output: of the model.
    behind: the operator behind its logits, see `bend_of`.

  Raises:
    TflmFgError: if they contradict each other.
  """
  own = objective.function is not None or objective.loss not in NATURAL
  alone = not own and behind == "LOGISTIC"
  if not own and objective.loss == NATURAL[1]:
    if behind not in ("", "LOGISTIC"):
      raise TflmFgError(
        f"loss {objective.loss!r} is for outputs that each stand alone, and "
        f"this model's end in {behind}: leave the loss out"
      )
    alone = True
  if y is None or objective.labels == "none":
    if own:
      raise TflmFgError(
        f"loss {objective.title!r} needs y and labels; without them the loss "
        "is information maximisation: drop it, or give y"
      )
    return Task(targets=NOTHING, loss=NATURAL[alone])
  if not alone:  # a column for sigmoids may lack its other labels
    y = one_column(y, width(output))
  wide = width(output) > 1
  is_class = y.ndim == 1 and wide and objective.loss != NATURAL[1]
  if alone and not is_class:
    return Task(targets=BINARY, loss=NATURAL[1])
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
