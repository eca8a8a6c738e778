"""What a loss is: integers a sample, what a unit is worth, and a residual."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import Array, Int64, TflmFgError

LOSS_BITS = 16
"""Fraction bits of a loss: one unit is 2**-16 bits."""

NATS_PER_UNIT = math.log(2) / (1 << LOSS_BITS)
"""For reports only: a loss in units times this is in nats."""


LossFunction = Callable[[Any, Any], Any]
"""(outputs float64 [N, C], targets) -> a number, or numbers [N].

Targets are int64 [N] for classes and float64 [N, ...] otherwise.
"""


class Entropies(NamedTuple):
  """How sure a model is of some samples, and how varied its answers are.

  Attributes:
    own: mean entropy of single samples, in nats; low where it is sure.
    of_mean: entropy of the mean answer, in nats; high where they are varied.
    of_answers: entropy of the shares of samples that get each answer, in nats,
      however sure the model is of them.
    most: the highest that the last two can be, for as many samples and outputs.
  """

  own: float
  of_mean: float
  of_answers: float
  most: float

  @property
  def information(self) -> float:
    """What is maximised: how much an answer tells of its sample, in nats."""
    return self.of_mean - self.own

  @property
  def variety(self) -> float:
    """How varied the answers are, as a share of what they can be."""
    return self.of_answers / self.most if self.most else 0.0


class Loss:
  """Integer outputs and targets to one integer a sample, which training lowers.

  What an integer unit is worth is the loss's own affair: estimators compare
  losses, and `mean` tells people.
  """

  @property
  def unit(self) -> float:
    """Real value of one integer unit of a loss."""
    return NATS_PER_UNIT

  @property
  def reach(self) -> float:
    """Real value of 1.0 (65536) in a residual, in units of the outputs."""
    return 1.0

  def residual_of_unit(self, outputs: int) -> float:
    """Real residual where a real unit of an output costs one unit of loss."""
    del outputs
    return self.unit

  @property
  def is_quadratic(self) -> bool:
    """Whether its bend is the largest everywhere, not under a bound."""
    return False

  @property
  def reach_of_outputs(self) -> float:
    """Nats that the largest output can stand above the smallest.

    It is infinite where a loss is no worse for outputs that reach less far.
    """
    return math.inf

  def magnified(self, gain: float) -> Loss:
    """The same loss of outputs that count `gain` times as much.

    Raises:
      TflmFgError: if outputs of the loss cannot count more or less.
    """
    if gain == 1:
      return self
    raise TflmFgError(
      f"logit_gain={gain:g}: only cross-entropy knows it; leave it out"
    )

  def per_sample(self, logits: Array, labels: Array) -> Int64:
    """Losses of single samples: int64 [N] in units."""
    raise NotImplementedError

  def entropies(self, logits: Array) -> Entropies:
    """How sure and how varied logits are; of losses that take no labels.

    Args:
      logits: integers [N, C] of the samples that are compared.
    """
    raise NotImplementedError

  def differences(self, some: Array, others: Array, labels: Array) -> Int64:
    """What single samples lose at some logits more than at others.

    Args:
      some: integers [N, C], logits.
      others: integers [N, C], other logits of the same samples.
      labels: of the samples.

    Returns:
      int64 [N] in units.
    """
    return self.per_sample(some, labels) - self.per_sample(others, labels)

  def residual(self, logits: Array, labels: Array) -> Int64:
    """The gradient by the outputs, Q16 of `reach`: int64 [N, C].

    It is scaled so that its own slope by an output is at most 1/2, as the
    slope of softmax cross-entropy's is.
    """
    raise NotImplementedError

  def right(self, logits: Array, labels: Array) -> NDArray[np.bool_] | None:
    """Which answers are right; None where targets are no classes.

    Returns:
      bool [N] for classes, or [N, C] where every output has its own label.
    """
    if labels.ndim != 1 or labels.dtype.kind != "i":
      return None
    return np.asarray(logits.argmax(axis=1) == labels)

  def answers(self, logits: Array) -> int:
    """How many different answers these outputs give."""
    return len(np.unique(logits.argmax(axis=1)))

  def by_output(self, logits: Array, labels: Array) -> Int64 | None:
    """The loss's slope by each output, in Q16 of its real unit a step.

    Args:
      logits: integers [N, C].
      labels: of the samples.

    Returns:
      int64 [N, C]; None where the loss does not say.
    """
    del logits, labels
    return None

  def mean_absolute(self, logits: Array, labels: Array) -> float | None:
    """Mean distance of outputs from real targets; None where there is none."""
    del logits, labels
    return None

  def ledger(
    self, passes: int, samples: int, classes: int
  ) -> Callable[[Sequence[Array], Array], Int64]:
    """Prepares summing the losses of one batch under several weights.

    Returns:
      (one array of logits a pass, labels) -> int64 [P].
    """
    del passes, samples, classes
    return lambda logits, labels: np.array(
      [self(rows, labels) for rows in logits], np.int64
    )

  def __call__(self, logits: Array, labels: Array) -> int:
    """Sum of the losses of a batch, in units."""
    return int(self.per_sample(logits, labels).sum())

  def mean(self, total: int, samples: int) -> float:
    """A batch's loss for people: mean over samples, in real units."""
    return total * self.unit / samples


def mean_nats(total: int, samples: int) -> float:
  """A batch's loss for people: mean over samples, in nats."""
  return total * NATS_PER_UNIT / samples


def name_of(function: LossFunction) -> str:
  """What a function is called, for reports and errors."""
  return str(getattr(function, "__name__", type(function).__name__))
