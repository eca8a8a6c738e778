"""Count the bytes that training adds to inference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tflm_fg.base import TrainableTensor
from tflm_fg.phases import Phase


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerBytes:
  """What a step needs beyond inference, by part, on a microcontroller.

  The engine's own copy of a weight is perturbed during a pass, and an int8
  that saturates cannot be brought back by subtracting; so masters are whole
  numbers beside it. Directions are drawn again, never stored.

  Attributes:
    masters: two bytes a kernel weight, four a bias, eight where it is int64.
    momentum: two bytes a kernel weight and four a bias, if momentum is on.
    gradient: four bytes a trainable number where the method sums an exact
      gradient over a batch (closed-form).
    best: copy of the best masters so far, if they are kept.
    loss: one clip's terms, a 32-bit word a class, and a 64-bit sum.
  """

  masters: int
  momentum: int
  gradient: int
  best: int
  loss: int

  @property
  def total(self) -> int:
    """All parts together."""
    return sum(dataclasses.astuple(self))


def trainer_bytes(
  tensors: Sequence[TrainableTensor], phases: Sequence[Phase], classes: int
) -> TrainerBytes:
  """Counts the trainer's memory for a whole adaptation.

  Masters live from the first phase to the last, the rest as long as a phase:
  the largest counts.

  Args:
    tensors: all that the phases train.
    phases: what runs, one behind the other.
    classes: count of classes.
  """
  masters = _masters(tensors)
  parts = [_of_phase(tensors, phase) for phase in phases]
  momentum, gradient, best = max(parts, key=sum, default=(0, 0, 0))
  return TrainerBytes(
    masters=masters,
    momentum=momentum,
    gradient=gradient,
    best=best,
    loss=4 * (classes + 2),
  )


def _of_phase(
  tensors: Sequence[TrainableTensor], phase: Phase
) -> tuple[int, int, int]:
  """Bytes of velocity, gradient sums and best masters."""
  own = [t for t in tensors if t.index in phase.tensors]
  settings = phase.settings
  velocity = sum(t.numbers * (2 if t.has_master else 4) for t in own)
  return (
    velocity if settings.momentum else 0,
    4 * sum(t.numbers for t in own) if settings.is_exact else 0,
    _masters(own) if settings.validation_fraction else 0,
  )


def _masters(tensors: Sequence[TrainableTensor]) -> int:
  return sum(
    t.numbers * (2 if t.has_master else 8 if t.dtype == "int64" else 4)
    for t in tensors
  )
