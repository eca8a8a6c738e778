"""The loss of a row over time, and its exact gradient, in integers.

A stream that holds the word is heard if it is heard anywhere. So it is charged
for its best window alone: softplus(target - max over time of the window's mean
log odds). The target is the cutoff's log odds and a margin. A stream without
the word must not be heard anywhere, so each of its steps is charged by binary
cross-entropy, softplus(log odds + margin).

The loss is the mean over positives, the mean over keepers times their weight,
the mean over the negatives' steps times how many of them weigh as much as a
positive, and a pull back to the start. Where windows are equal, the first one
is the best. Sums are int64, means Q24, and everything comes from int8 inputs
and int8 weights, so that the same samples give the same bits on any machine.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.detection.row import Row, in_bits, sigmoid, softplus
from tflm_fg.detection.rule import Rule
from tflm_fg.detection.settings import Settings
from tflm_fg.fixed_point.arithmetic import round_divide, round_shift
from tflm_fg.fixed_point.one_thread import exact_product
from tflm_fg.fixed_point.spread import MEAN_SQUARE_BITS, Spread
from tflm_fg.losses.base import LOSS_BITS, NATS_PER_UNIT
from tflm_fg.types import Int8, Int64

GRADIENT_BITS = 24
_MORE = GRADIENT_BITS - LOSS_BITS
_WEIGHT_BITS = 16


class Charge(NamedTuple):
  """What some streams cost, and what their gradient is.

  Attributes:
    loss: in Q16 bits, times the group's weight.
    kernel: int64 [D], by the weights, in Q24 nats a unit of the accumulator.
    bias: by the bias, the same.
  """

  loss: int
  kernel: Int64
  bias: int

  def __add__(self, other: object) -> Charge:
    """Both together."""
    if not isinstance(other, Charge):
      return NotImplemented
    return Charge(
      self.loss + other.loss,
      self.kernel + other.kernel,
      self.bias + other.bias,
    )

  @property
  def nats(self) -> float:
    """The loss for people."""
    return self.loss * NATS_PER_UNIT


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
  """Streams that hold the word, as windows.

  Attributes:
    row: of the head.
    sums: float64 [N, D], whole numbers: what the steps of each window read, in
      steps from the zero point, summed up.
    offsets: int64 [N], means over the windows; see `Row.offsets`.
    starts: int64 [S], where each stream's windows begin.
    window: steps of a window.
    target: in Q16 bits.
    weight: of the whole group.
  """

  row: Row
  sums: NDArray[np.float64]
  offsets: Int64
  starts: Int64
  window: int
  target: int
  weight: float

  @classmethod
  def of(
    cls,
    row: Row,
    streams: Sequence[Int8],
    rule: Rule,
    settings: Settings,
    weight: float,
  ) -> Words:
    """Adds up the windows that can be heard.

    Args:
      row: of the head.
      streams: int8 [T, D] each, of at least warm-up and window steps.
      rule: says what a window is, and the cutoff.
      settings: its margin is added to the cutoff.
      weight: of the whole group.
    """
    found = [
      _windows(row, s, rule.window, settings.settled(rule)) for s in streams
    ]
    counts = [len(offsets) for _, offsets in found]
    return cls(
      row,
      np.concatenate([sums for sums, _ in found]),
      np.concatenate([offsets for _, offsets in found]),
      np.cumsum([0, *counts[:-1]]),
      rule.window,
      in_bits(target_of(row, rule, settings)),
      weight,
    )

  def log_odds(self, weights: Int8, bias: int) -> Int64:
    """Mean log odds of every window: int64 [N], Q16 bits."""
    found = exact_product(self.sums, weights[:, None])[:, 0]
    return self.row.log_odds(
      found + self.window * bias, self.offsets, self.window
    )

  def best(self, log_odds: Int64) -> Int64:
    """Each stream's window with the highest odds, the first of equal ones."""
    ends = [*self.starts[1:], len(log_odds)]
    return np.array(
      [a + int(log_odds[a:b].argmax()) for a, b in zip(self.starts, ends)]
    )

  def longest(self, spread: Spread) -> int:
    """The longest windows' squared length, a mean over the streams, in Q16.

    A word is louder than most of what is said, and the window that trains is
    mostly among the longest: steps that suit the mean of all would be too long.

    Args:
      spread: of the input; gives the metric.
    """
    away = self.sums.astype(np.int64) - self.window * spread.centre
    squares = ((away * away) << MEAN_SQUARE_BITS >> (2 * spread.bits)).sum(
      axis=1
    )
    longest = np.maximum.reduceat(squares, self.starts) // self.window**2
    return int(longest.sum()) // len(longest)

  def charge(self, weights: Int8, bias: int) -> Charge:
    """What the streams cost."""
    log_odds = self.log_odds(weights, bias)
    best = self.best(log_odds)
    short = self.target - log_odds[best]
    residual = -sigmoid(short)
    return _charge(
      softplus(short),
      residual,
      self.sums[best],
      len(best),
      self.window,
      self.weight,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Others:
  """Steps of streams that do not hold the word.

  Attributes:
    row: of the head.
    inputs: float64 [N, D], whole numbers in steps from the zero point.
    offsets: int64 [N]; see `Row.offsets`.
    steps: how many there are in all, with those that are left out here.
    margin: in Q16 bits.
    weight: of the whole group.
  """

  row: Row
  inputs: NDArray[np.float64]
  offsets: Int64
  steps: int
  margin: int
  weight: float

  def charge(self, weights: Int8, bias: int) -> Charge:
    """What the steps cost; those that are left out cost nothing."""
    sums = exact_product(self.inputs, weights[:, None])[:, 0]
    above = self.row.log_odds(sums + bias, self.offsets, 1) + self.margin
    return _charge(
      softplus(above), sigmoid(above), self.inputs, self.steps, 1, self.weight
    )


def target_of(row: Row, rule: Rule, settings: Settings) -> float:
  """The log odds that a positive should reach, in nats.

  It is no more than what the logit's own tensor holds.
  """
  cutoff = min(max(rule.cutoff, _SURE), 1 - _SURE)
  target = math.log(cutoff / (1 - cutoff)) + settings.margin
  return min(target, row.highest)


_SURE = 1 / 512
"""A cutoff of 0 or 1 counts as half a step of a probability."""


def _windows(
  row: Row, stream: Int8, window: int, first: int
) -> tuple[NDArray[np.float64], Int64]:
  """Sums over the windows from one on, and the means of their offsets.

  Args:
    row: of the head.
    stream: int8 [T, D].
    window: its steps.
    first: where the first window ends.
  """
  begin = first + 1 - window
  steps = stream[begin:].astype(np.int64) - row.head.input_zero_point
  parts = []
  for values in (steps, row.offsets(stream[begin:])):
    sums = np.cumsum(values, axis=0)
    sums[window:] -= sums[:-window].copy()
    parts.append(sums[window - 1 :])
  return parts[0].astype(np.float64), round_divide(parts[1], window)


def _charge(
  losses: Int64,
  residual: Int64,
  inputs: NDArray[np.float64],
  count: int,
  window: int,
  weight: float,
) -> Charge:
  """Means over a group, times its weight.

  Args:
    losses: int64 [N], Q16.
    residual: int64 [N], Q16, up to one either way.
    inputs: whole numbers [N, D].
    count: what the means are over.
    window: how many steps each of the inputs is the sum of.
    weight: of the group, at most 2**24.
  """
  products = exact_product(residual[None], inputs)[0]
  share = round(weight * (1 << _WEIGHT_BITS))

  def mean(sums: Int64, over: int) -> Int64:
    return round_shift(round_divide(sums << _MORE, over) * share, _WEIGHT_BITS)

  loss = int(round_divide(losses.sum(keepdims=True), count)[0]) * share
  return Charge(
    loss >> _WEIGHT_BITS,
    mean(products, count * window),
    int(mean(residual.sum(keepdims=True), count)[0]),
  )
