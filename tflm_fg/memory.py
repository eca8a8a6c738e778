"""Count the bytes that training adds to inference."""

from __future__ import annotations

import dataclasses

from tflm_fg.base import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerBytes:
  """What a step needs beyond inference, by part, on a microcontroller.

  The high byte of a master is the weight that the engine holds, and biases
  are trained where they stand. Directions are drawn again, never stored.

  Attributes:
    low_bytes: one byte a kernel weight, the master's lower half.
    momentum: two bytes a kernel weight and four a bias, if momentum is on.
    best: copy of the best weights and biases so far, if they are kept.
    loss: per-clip terms of the loss: one 32-bit word a class and one a side.
  """

  low_bytes: int
  momentum: int
  best: int
  loss: int

  @property
  def total(self) -> int:
    """All parts together."""
    return self.low_bytes + self.momentum + self.best + self.loss


def trainer_bytes(
  params: Params, classes: int, momentum: bool, keeps_best: bool
) -> TrainerBytes:
  """Counts the trainer's memory for a trained state.

  Args:
    params: the state.
    classes: count of classes.
    momentum: whether the optimizer keeps a velocity.
    keeps_best: whether the best weights are kept for rolling back.
  """
  kernels, biases = params.kernels.size, params.biases.size
  wide = params.biases.itemsize
  return TrainerBytes(
    low_bytes=kernels,
    momentum=(2 * kernels + 4 * biases) if momentum else 0,
    best=(2 * kernels + wide * biases) if keeps_best else 0,
    loss=4 * (classes + 2),
  )
