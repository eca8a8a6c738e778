"""Count the bytes that training adds to inference."""

from __future__ import annotations

import dataclasses

from tflm_fg.base import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerBytes:
  """What a step needs beyond inference, by part, on a microcontroller.

  The engine's own copy of a weight is perturbed during a pass, and an int8
  that saturates cannot be brought back by subtracting; so masters are whole
  numbers beside it. Directions are drawn again, never stored.

  Attributes:
    masters: two bytes a kernel weight, a bias at its own width.
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
  params: Params,
  classes: int,
  momentum: bool,
  keeps_best: bool,
  exact: bool = False,
) -> TrainerBytes:
  """Counts the trainer's memory for a trained state.

  Args:
    params: the state.
    classes: count of classes.
    momentum: whether the optimizer keeps a velocity.
    keeps_best: whether the best masters are kept for rolling back.
    exact: whether the method sums an exact gradient.
  """
  masters = params.kernels.nbytes + params.biases.nbytes
  velocity = 2 * params.kernels.size + 4 * params.biases.size
  numbers = params.kernels.size + params.biases.size
  return TrainerBytes(
    masters=masters,
    momentum=velocity if momentum else 0,
    gradient=4 * numbers if exact else 0,
    best=masters if keeps_best else 0,
    loss=4 * (classes + 2),
  )
