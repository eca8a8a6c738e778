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
    masters: two bytes a kernel weight (one where all phases are 8w8a), a bias
      at its own width.
    momentum: two bytes a kernel weight and four a bias, if momentum is on.
    residue: with error feedback, one byte a number, two a kernel weight of
      8w8a.
    start: the masters before the first step, where an anchor pulls back to
      them; of biases alone where Frank-Wolfe's box lies around them.
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
  residue: int = 0
  start: int = 0

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
  coarse = bool(phases) and all(map(_is_coarse, phases))
  masters = _masters(tensors, coarse)
  parts = [_of_phase(tensors, phase) for phase in phases]
  nothing = (0, 0, 0, 0, 0)
  momentum, gradient, best, residue, start = max(
    parts, key=sum, default=nothing
  )
  return TrainerBytes(
    masters=masters,
    momentum=momentum,
    gradient=gradient,
    best=best,
    loss=4 * (classes + 2),
    residue=residue,
    start=start,
  )


def _of_phase(
  tensors: Sequence[TrainableTensor], phase: Phase
) -> tuple[int, int, int, int, int]:
  """Bytes of velocity, gradient sums, best masters, residue and start."""
  own = [t for t in tensors if t.index in phase.tensors]
  settings = phase.settings
  velocity = sum(t.size * (2 if t.has_master else 4) for t in own)
  coarse = _is_coarse(phase)
  residue = sum(t.size * (1 + (coarse and t.has_master)) for t in own)
  kept = own
  if not settings.anchor:
    boxed = settings.optimizer == "frank-wolfe"
    kept = [t for t in own if boxed and not t.has_master]
  return (
    velocity if settings.momentum else 0,
    4 * sum(t.size for t in own) if settings.is_exact else 0,
    _masters(own, coarse) if settings.validation_fraction else 0,
    residue if settings.rounding == "error-feedback" else 0,
    _masters(kept, coarse),
  )


def _is_coarse(phase: Phase) -> bool:
  return phase.settings.precision == "8w8a"


def _masters(tensors: Sequence[TrainableTensor], coarse: bool) -> int:
  widths = {"int8": 1 if coarse else 2, "int32": 4, "int64": 8}
  return sum(t.size * widths[t.dtype] for t in tensors)
