"""Solve a head in one pass, from sums over the samples.

The sums are integers and add up: a device keeps one matrix of inputs by inputs
and one of classes by inputs, and no sample. Those of a fold are the whole less
the fold's own. From them a ridge regression onto raised classes gives the head
at once, by Cholesky's factors in float64; it is pulled towards the head it
starts from in the closed form's metric. Behind a shift that a prompt has
undone it does a little worse than 42 steps of the closed form with a pull, and
for a wide head on raw samples a little better (docs/results.md), so it is not
a default.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg import limits
from tflm_fg.fixed_point.arithmetic import WEIGHT_MAX, saturate
from tflm_fg.fixed_point.layout import along_channels
from tflm_fg.types import (
  Array,
  Int64,
  Params,
  TflmFgError,
  TrainableTensor,
)

HEIGHT = 12.0
"""How far the logit of a sample's class shall stand above the others.

A kernel whose scale is too small to reach that saturates: see `quantized`.
"""

_FLOOR = 20
"""No input counts as spread less than 1/20 of the most spread one."""


class Sums(NamedTuple):
  """What a ridge regression must know of some samples.

  Attributes:
    samples: their count.
    inputs: int64 [D], sums of the inputs in steps from their zero point.
    squares: int64 [D, D], sums of their products.
    classes: int64 [C], samples of each class.
    by_class: int64 [C, D], sums of the inputs of each class.
  """

  samples: int
  inputs: Int64
  squares: Int64
  classes: Int64
  by_class: Int64

  def less(self, others: Sums) -> Sums:
    """The sums of the samples that are not among others."""
    return Sums(
      self.samples - others.samples,
      self.inputs - others.inputs,
      self.squares - others.squares,
      self.classes - others.classes,
      self.by_class - others.by_class,
    )


def sums_of(
  inputs: Array, zero_point: int, labels: Array, classes: int
) -> Sums:
  """Sums over samples: exact, as float64 holds products of 16 bits whole.

  Args:
    inputs: integers [N, ...], what the head reads.
    zero_point: of the inputs.
    labels: int64 [N].
    classes: count of classes.
  """
  flat = inputs.reshape(len(inputs), -1)
  found = (
    _sums(
      flat[rows].astype(np.float64) - zero_point,
      np.eye(classes)[labels[rows]],
    )
    for rows in limits.parts(flat, 1 << 20)
  )
  return functools.reduce(lambda one, other: _added([one, other]), found)


def _sums(x: NDArray[np.float64], one_hot: NDArray[np.float64]) -> Sums:
  return Sums(
    len(x),
    x.sum(axis=0).astype(np.int64),
    (x.T @ x).astype(np.int64),
    one_hot.sum(axis=0).astype(np.int64),
    (one_hot.T @ x).astype(np.int64),
  )


class Solution(NamedTuple):
  """A head in real numbers, for inputs in steps from their zero point.

  Attributes:
    kernel: float64 [C, D], logits a step.
    bias: float64 [C], logits.
  """

  kernel: NDArray[np.float64]
  bias: NDArray[np.float64]


def solve(
  sums: Sums,
  pull: float,
  start: NDArray[np.float64] | None = None,
  height: float = HEIGHT,
  floor: float = 0.0,
) -> Solution:
  """The ridge regression onto classes raised by a height.

  Args:
    sums: of the samples to learn from.
    pull: lambda, above 0, as a share of each input's own mean square.
    start: float64 [C, D], the kernel that is pulled to; None for zeros.
    height: of a sample's class above the others, in logits.
    floor: what is added to every input's own pull, as a mean square: that of
      the noise in sums that have some.

  Raises:
    TflmFgError: if there is no sample, or no pull to make it solvable.
  """
  if not sums.samples or pull <= 0:
    raise TflmFgError(
      f"ridge head: {sums.samples} samples and pull={pull}; need at least one "
      "sample and a pull above 0"
    )
  mean = sums.inputs / sums.samples
  squares = sums.squares / sums.samples - np.outer(mean, mean)
  own = np.maximum(np.diag(squares), 0)
  spread = np.sqrt(own) + np.sqrt(own.max()) / _FLOOR + 1e-9
  metric = pull * spread**2 + floor
  shares = sums.classes / sums.samples
  aims = height * (sums.by_class / sums.samples - np.outer(shares, mean))
  if start is not None:
    aims = aims + metric * start
  lower = np.linalg.cholesky(squares + np.diag(metric))
  kernel = np.linalg.solve(lower.T, np.linalg.solve(lower, aims.T)).T
  bias = height * (shares - 1 / len(shares)) - kernel @ mean
  return Solution(kernel, bias)


def best_pull(
  parts: Sequence[tuple[Array, Array]],
  zero_point: int,
  classes: int,
  pulls: Sequence[float],
  start: NDArray[np.float64] | None = None,
) -> float:
  """The pull with the lowest squared error over folds, the stronger of equals.

  Args:
    parts: inputs and labels of each fold, each left out once.
    zero_point: of the inputs.
    classes: count of classes.
    pulls: to choose from.
    start: as for `solve`.
  """
  own = [sums_of(x, zero_point, y, classes) for x, y in parts]
  whole = _added(own)
  errors = {}
  for pull in sorted(pulls, reverse=True):
    errors[pull] = sum(
      _error(solve(whole.less(part), pull, start), x, zero_point, y)
      for part, (x, y) in zip(own, parts)
    )
  return min(errors, key=lambda pull: errors[pull])


def _added(parts: Sequence[Sums]) -> Sums:
  return Sums(*(sum(columns[1:], columns[0]) for columns in zip(*parts)))


def _error(
  solution: Solution, inputs: Array, zero_point: int, labels: Array
) -> float:
  x = inputs.reshape(len(inputs), -1).astype(np.float64) - zero_point
  aims = HEIGHT * (np.eye(len(solution.bias))[labels] - 1 / len(solution.bias))
  return float(((x @ solution.kernel.T + solution.bias - aims) ** 2).sum())


def quantized(
  solution: Solution,
  kernel: TrainableTensor,
  bias: TrainableTensor,
  input_scale: float,
  mean: NDArray[np.float64],
) -> tuple[Params, float]:
  """Rounds a solution into the masters of a head.

  The bias takes up what rounding and saturating the kernel moves the logits by
  at the mean input.

  Args:
    solution: of `solve`.
    kernel: its tensor, of shape [C, ..., D].
    bias: its tensor.
    input_scale: of the inputs.
    mean: float64 [D], the mean input in steps.

  Returns:
    The masters, and the share of the weights that saturate.
  """
  units = np.array(kernel.scales) / kernel.units_a_scale * input_scale
  steps = along_channels(kernel, units).reshape(solution.kernel.shape)
  whole = np.rint(solution.kernel / steps)
  most = WEIGHT_MAX << 8
  held = np.clip(whole, -most, most)
  lost = (solution.kernel - held * steps) @ mean
  moved = np.rint((solution.bias + lost) / np.array(bias.scales))
  params = Params(
    held.astype(np.int16).reshape(-1), saturate(moved, bias.dtype)
  )
  return params, float((np.abs(whole) > most).mean())
