"""What a scheme is: which sums a round asks for, and what becomes of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tflm_fg.federated.fields import Field, Sums
from tflm_fg.federated.privacy import Privacy
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Passes, TrainState
from tflm_fg.gradients.head_input import HeadInput
from tflm_fg.gradients.method import Method
from tflm_fg.losses.base import LOSS_BITS, Loss
from tflm_fg.training.trainer import StepRule
from tflm_fg.types import Array, Int64, Params, TensorSpec

MEASURED, SLOPES, MASTERS = 1, 2, 3
"""What a step may hold: what the head's input is like, slopes, or masters."""


class Standing(NamedTuple):
  """Where training stands, as a scheme looks at it.

  Attributes:
    method: the plan's.
    layout: of the tensors that are shared.
    state: the shared masters and what the optimizer carries.
    start: the shared masters before any step.
    rule: how slopes become the next state.
    head: what was measured of the head's input; None before that.
    loss: on the logits.
    classes: C.
    inputs: D, how many numbers the head reads; 0 where no kernel trains.
    head_input: the tensor that the head reads.
    privacy: of the plan; None for exact sums.
    noise: the standard deviation of the noise in each field's sum; empty for
      exact sums.
  """

  method: Method
  layout: Layout
  state: TrainState
  start: Params
  rule: StepRule
  head: HeadInput | None
  loss: Loss
  classes: int
  inputs: int
  head_input: TensorSpec
  privacy: Privacy | None = None
  noise: tuple[int, ...] = ()


class Share(NamedTuple):
  """Which part of a round's work a client does, where it is divided.

  Attributes:
    position: of the client among those of the round, from 0.
    clients: how many they are.
  """

  position: int = 0
  clients: int = 1


class Part(NamedTuple):
  """Some samples of a client, at the layers that train.

  Attributes:
    passes: on these samples.
    samples: their count.
    inputs: integers [N, ...], what flows into the trained part.
    labels: int64 [N], classes.
    first: the number of the first sample's direction, where each has its own.
    share: of the round's work.
  """

  passes: Passes
  samples: int
  inputs: Array
  labels: Array
  first: int
  share: Share


class Scheme:
  """One way to learn together; it looks at where training stands.

  Attributes:
    at: where that is.
  """

  def __init__(self, standing: Standing) -> None:
    self.at = standing

  def fields(self) -> tuple[Field, ...]:
    """What the present round sums up."""
    raise NotImplementedError

  def sums(self, part: Part) -> list[Int64]:
    """The sums of some samples, one array a field."""
    raise NotImplementedError

  def fault(self, samples: int, sums: Sums) -> str:
    """What no such samples can give, beyond each number's bounds.

    Args:
      samples: that the sums are of.
      sums: arrays that fit the fields.

    Returns:
      A few words; empty for nothing.
    """
    del samples, sums
    return ""

  def step(self, samples: int, sums: Sums) -> list[Int64]:
    """What a round's sums over all clients become: the arrays of a step.

    Args:
      samples: of all clients.
      sums: of all clients.
    """
    raise NotImplementedError

  def mean_loss(self, samples: int, sums: Sums) -> float | None:
    """The mean loss that the sums tell of, in nats; None where they do not."""
    del samples, sums
    return None


def most_loss(loss: Loss, classes: int) -> int:
  """More than the loss of one sample can be, in its units.

  Cross-entropy is largest where the true class has the lowest logit and all
  others the highest. One bit more covers the rounding of tables.

  Args:
    loss: of integer logits.
    classes: how many.
  """
  ends = np.iinfo(np.int8 if getattr(loss, "bits", 8) == 8 else np.int16)
  worst = np.full((1, classes), ends.max, ends.dtype)
  worst[0, 0] = ends.min
  found = int(loss.per_sample(worst, np.zeros(1, np.int64))[0])
  return found + (1 << LOSS_BITS)


def in_turn(count: int, share: Share, round_number: int) -> list[int]:
  """Which of some blocks a client takes, dealt anew every round.

  Where there are more clients than blocks, several take the same one.

  Args:
    count: of blocks.
    share: the client's.
    round_number: from 0.
  """
  at = share.position + round_number
  if share.clients >= count:
    return [at % count]
  mine = at % share.clients
  return [b for b in range(count) if b % share.clients == mine]


def one(number: int) -> Int64:
  """A number as a field of one."""
  return np.array([number], np.int64)
