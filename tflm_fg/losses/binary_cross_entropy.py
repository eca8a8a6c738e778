"""Turn integer logits and labels of 0 and 1 into one fixed-point loss.

Every output stands alone, as those in front of a sigmoid do: one for a wake
word, or one a label where several labels may hold at once. The loss of an
output is log2(1 + 2**-|k z|), and |k z| more where the sign of z is wrong, with
z the steps from the zero point and k = scale * log2(e). A sample's loss is the
mean over its outputs, as Keras has it. The tables are those of softmax
cross-entropy, and the error against float64 is under its bound.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import round_divide
from tflm_fg.losses.base import (
  LOSS_BITS,
  NATS_PER_UNIT,
  Entropies,
  Loss,
)
from tflm_fg.losses.cross_entropy import (
  TERM_BITS,
  bits_a_step,
  distances,
  exp2_negative,
  log2_of,
)
from tflm_fg.losses.squared_error import Grid
from tflm_fg.types import Array, Int64

_ONE = 1 << TERM_BITS


class Sigmoid:
  """Tables over the steps d that a logit lies away from its zero point.

  Attributes:
    distance: int64 [2**bits], d in Q16 bits.
    tail: int64 [2**bits], log2(1 + 2**-distance) in Q16.
    sure: int64 [2**bits], the sigmoid of d steps in Q16: 1/2 to 1.
  """

  def __init__(self, grid: Grid) -> None:
    self.distance = distances(grid.scale, grid.bits)
    total = exp2_negative(self.distance) + _ONE
    self.tail = log2_of(total)
    self.sure = (_ONE << LOSS_BITS) // total

  def probability(self, steps: Int64) -> Int64:
    """Sigmoids of logits in steps from the zero point, in Q16."""
    sure = self.sure[np.abs(steps)]
    return np.where(steps < 0, (1 << LOSS_BITS) - sure, sure)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bernoulli(Loss):
  """What losses of outputs that each stand alone share.

  Attributes:
    grid: of the logits.
    table: see `Sigmoid`.
  """

  grid: Grid
  table: Sigmoid = dataclasses.field(init=False, repr=False, compare=False)

  def __post_init__(self) -> None:
    object.__setattr__(self, "table", Sigmoid(self.grid))

  @property
  def reach_of_outputs(self) -> float:
    """Nats that an output can stand away from 0, about, on either side."""
    return ((1 << self.grid.bits) - 1) * self.grid.scale / 2

  def magnified(self, gain: float) -> Bernoulli:
    """The same of logits that count `gain` times as much."""
    if gain == 1:
      return self
    grid = dataclasses.replace(self.grid, scale=self.grid.scale * gain)
    return dataclasses.replace(self, grid=grid)

  def residual_of_unit(self, outputs: int) -> float:
    """Real residual where a real unit of an output costs one unit of loss."""
    return 2 * self.unit * outputs

  def right(self, logits: Array, labels: Array) -> NDArray[np.bool_]:
    """Which answers are right, bool [N, C]; a logit above 0 answers 1."""
    return (self.steps(logits) > 0) == labels.reshape(len(labels), -1)

  def answers(self, logits: Array) -> int:
    """How many answers occur: up to two an output."""
    said = self.steps(logits) > 0
    return int((said.any(axis=0) * 1 + ~said.all(axis=0)).sum())

  def steps(self, logits: Array) -> Int64:
    """Steps from the zero point, int64 of the same shape."""
    return logits.astype(np.int64) - self.grid.zero_point


class BinaryCrossEntropy(Bernoulli):
  """Sigmoid cross-entropy of integer logits against labels of 0 and 1.

  Example:
    >>> loss = BinaryCrossEntropy(grid=Grid(scale=0.1, zero_point=0, bits=8))
    >>> loss.mean(loss(np.int8([[0]]), np.int64([[1]])), 1)  # log 2
    0.693...
  """

  def per_sample(self, logits: Array, labels: Array) -> Int64:
    """Losses of single samples.

    Args:
      logits: int8 or int16 [N, C].
      labels: integers 0 and 1, [N, C].

    Returns:
      int64 [N] in Q16 bits, the mean over the outputs.
    """
    steps = self.steps(logits)
    away = np.abs(steps)
    wrong = (steps > 0) != labels
    losses = self.table.tail[away] + wrong * self.table.distance[away]
    return round_divide(losses.sum(axis=1), steps.shape[1])

  def residual(self, logits: Array, labels: Array) -> Int64:
    """Twice sigmoid minus label: int64 [N, C] in Q16.

    That is the gradient by the outputs times 2 C, whose slope is at most 1/2.
    So one output trains as the difference of two outputs under a softmax does,
    and each of several outputs as long a step as one alone.

    Args:
      logits: int8 or int16 [N, C].
      labels: integers 0 and 1, [N, C].
    """
    sigmoid = self.table.probability(self.steps(logits))
    return 2 * (sigmoid - (labels.astype(np.int64) << LOSS_BITS))


class BernoulliInformation(Bernoulli):
  """Sure of each sample and varied over all, for outputs that stand alone.

  The mean over the outputs of each sample's entropy less the entropy of the
  mean sigmoid: information maximisation as `InformationMaximisation` has it.
  Always answering alike is its worst value, 0; both answers equally often, each
  of them sure, is its best. Labels are taken and not looked at.
  """

  def per_sample(self, logits: Array, labels: Array) -> Int64:
    """Each sample's entropy minus the batch's: int64 [N] in Q16 bits."""
    del labels
    own, entropy = self._terms(logits)
    return round_divide((own - entropy).sum(axis=1), own.shape[1])

  def entropies(self, logits: Array) -> Entropies:
    """Both of its parts, means over the outputs.

    Args:
      logits: integers [N, C] of the samples that are compared.
    """
    own, of_mean = (
      float(a.mean()) * NATS_PER_UNIT for a in self._terms(logits)
    )
    share = (self.steps(logits) > 0).mean(axis=0)
    both = np.clip(np.stack([share, 1 - share]), 1e-300, None)
    of_answers = -float((both * np.log(both)).sum(axis=0).mean())
    return Entropies(own, of_mean, of_answers, math.log(2))

  def _terms(self, logits: Array) -> tuple[Int64, Int64]:
    """In Q16 bits: entropies of answers [N, C], and of their means [C]."""
    steps = self.steps(logits)
    away = np.abs(steps)
    unsure = (1 << LOSS_BITS) - self.table.sure[away]
    own = self.table.tail[away]
    own = own + ((unsure * self.table.distance[away]) >> LOSS_BITS)
    mean = self._mean(steps)
    rest = (1 << LOSS_BITS) - mean
    entropy = (mean * _surprise(mean) + rest * _surprise(rest)) >> LOSS_BITS
    return own, entropy

  def differences(self, some: Array, others: Array, labels: Array) -> Int64:
    """What each sample's logits change the loss of the whole batch by.

    Each sample moves the mean sigmoid, so its part is its own gradient, the
    mean of the two ends', times what its logits move by: int64 [N] in Q16 bits,
    to the first order.
    """
    del labels
    nats = self._gradient(some) + self._gradient(others)
    moved = some.astype(np.int64) - others.astype(np.int64)
    # Q16 nats by half a step each, times bits in Q30 that a step is worth.
    bits = ((nats * moved).sum(axis=1) * self._rate) >> 31
    return round_divide(bits, some.shape[1])

  def residual(self, logits: Array, labels: Array) -> Int64:
    """Twice the gradient by each output, times C: int64 [N, C] in Q16."""
    del labels
    return 2 * self._gradient(logits)

  def _gradient(self, logits: Array) -> Int64:
    """The exact gradient by the logits, times C: int64 [N, C] in Q16 nats.

    With p a sample's sigmoid, z its logit and m the mean sigmoid, it is
    p (1 - p) (log(m / (1 - m)) - z).
    """
    steps = self.steps(logits)
    p = self.table.probability(steps)
    mean = self._mean(steps)
    of_mean = _surprise((1 << LOSS_BITS) - mean) - _surprise(mean)
    own = np.sign(steps) * self.table.distance[np.abs(steps)]
    slope = (p * ((1 << LOSS_BITS) - p)) >> LOSS_BITS
    return (((slope * (of_mean - own)) >> LOSS_BITS) * _LN2) >> LOSS_BITS

  @property
  def _rate(self) -> int:
    """A logit step in Q30; nats times real logits make nats, so as bits."""
    return bits_a_step(self.grid.scale)

  def _mean(self, steps: Int64) -> Int64:
    """The mean sigmoid of each output, int64 [C] in Q16."""
    return self.table.probability(steps).sum(axis=0) // len(steps)


_LN2 = round(np.log(2) * (1 << LOSS_BITS))


def _surprise(share: Int64) -> Int64:
  """Gives -log2 of shares in Q16, at least one unit, as Q16 bits."""
  # log2_of takes Q24 from 1 on, so a unit counts as 1 and 16 is taken off.
  return (16 << LOSS_BITS) - log2_of(np.maximum(share, 1) << TERM_BITS)
