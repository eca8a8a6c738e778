"""Losses of samples that were kept aside, to compare candidates by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.losses.base import Loss
from tflm_fg.losses.custom import BlackBox
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.training.objective import Task
from tflm_fg.types import Array

SURELY = 1.64
"""Standard errors that leave one chance in twenty."""

STAGE_SURELY = 3.5
"""The same of an input stage that was found on the samples that judge it.

On samples as the model knows them such stages gained up to 3.0 standard errors
and harmed; those that undid a shift gained 5 and more (docs/forgetting.md).
"""


CLEARLY = 0.01
"""Share of a loss that a gain must be where one number is for all samples."""

FOLDS = 3
"""Parts of the samples, each kept aside once when heads are compared."""


def losses_of(
  logits: Sequence[Array],
  labels: Sequence[Array],
  graph: SplitModel,
  task: Task,
) -> NDArray[np.float64]:
  """Losses of samples that each trial kept aside, to compare by.

  Args:
    logits: integers [N, C], one array a trial.
    labels: of as many arrays of samples, or more.
    graph: gave the logits.
    task: what is learned.
  """
  if task.is_probabilistic:
    few, spec = labels[: len(logits)], graph.logits
    if task.is_binary:
      return cooled_binary_losses(logits, few, spec.scale, spec.zero_point)
    return cooled_losses(logits, few, spec.scale)
  loss = graph.loss(task)
  return np.concatenate(
    [_single_losses(z, y, loss) for z, y in zip(logits, labels)]
  )


def _single_losses(
  logits: Array, labels: Array, loss: Loss
) -> NDArray[np.float64]:
  """Each sample's loss, or the one of all where no sample has its own."""
  if isinstance(loss, BlackBox) and not loss.is_per_sample(logits, labels):
    return np.array([loss.mean(loss(logits, labels), len(logits))])
  return loss.per_sample(logits, labels).astype(np.float64) * loss.unit


def cooled_losses(
  logits: Sequence[Array], labels: Sequence[Array], scale: float
) -> NDArray[np.float64]:
  """Cross-entropies at the temperature that suits the samples best, in nats.

  A head that fits its samples exactly is too sure of others. That is no fault
  of its answers, so each candidate is judged at its own best temperature.

  Args:
    logits: integers [N, C], some arrays.
    labels: int64 [N], as many.
    scale: real value of a logit step.
  """
  y = np.concatenate(labels)
  z = np.concatenate(logits).astype(np.float64) * scale
  z -= z.max(axis=1, keepdims=True)
  own = z[np.arange(len(y)), y]
  cooled = (np.log(np.exp(z * t).sum(axis=1)) - own * t for t in _COOLINGS)
  return min(cooled, key=np.mean)


def cooled_binary_losses(
  logits: Sequence[Array],
  labels: Sequence[Array],
  scale: float,
  zero_point: int,
) -> NDArray[np.float64]:
  """The same of outputs that each stand alone, means over them, in nats.

  Args:
    logits: integers [N, C], some arrays.
    labels: 0 and 1, int64 [N, C], as many.
    scale: real value of a logit step.
    zero_point: what stands for 0.
  """
  signs = 1 - 2 * np.concatenate(labels).astype(np.int64)
  z = signs * (np.concatenate(logits).astype(np.float64) - zero_point) * scale
  cooled = (np.logaddexp(0, z * t).mean(axis=1) for t in _COOLINGS)
  return min(cooled, key=np.mean)


_COOLINGS = 2.0 ** np.arange(-4, 3.25, 0.25)


def surely_lower(
  some: NDArray[np.float64], others: NDArray[np.float64], errors: float = SURELY
) -> bool:
  """Whether paired losses are lower by more than chance would have them.

  One number for all samples has no spread to measure chance by: then the loss
  must be lower by a share of itself.

  Args:
    some: of samples, float64 [N].
    others: of the same samples.
    errors: standard errors of the difference that they must be lower by.
  """
  difference = others - some
  if len(difference) == 1:
    return bool(difference[0] > CLEARLY * abs(others[0]))
  error = difference.std() / math.sqrt(len(difference))
  return bool(difference.mean() > errors * error)
