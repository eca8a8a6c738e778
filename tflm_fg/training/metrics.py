"""Turn a session's outputs over a set of samples into loss and accuracy.

Real targets have no accuracy; there it is the mean absolute error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tflm_fg.losses.base import Loss
from tflm_fg.runtimes.session import Session
from tflm_fg.types import Array, Tensors

BATCH = 256
"""Samples an evaluating call of the engine takes at most."""

AT_ONCE = 1 << 21
"""Bytes of samples that such a call takes at most."""


class Score(NamedTuple):
  """How a model does on some samples.

  Attributes:
    loss: mean over the samples: cross-entropy in nats, a squared error in the
      square of the outputs' units, or whatever the loss is in.
    accuracy: share of samples whose largest logit is the label's, or of all
      labels where every output has its own; None where targets are real.
    total: the loss as the integer sum that training compares.
    correct: count of right samples, or labels; 0 where targets are real.
    answers: count of classes that were answered at all, or of zeros and ones
      that outputs with labels of their own gave.
    samples: count of all.
    mae: mean absolute error in the outputs' units; None for classes.
  """

  loss: float
  accuracy: float | None
  total: int
  correct: int
  answers: int
  samples: int
  mae: float | None = None


def batch_of(inputs: Tensors) -> int:
  """Samples that a call takes: `BATCH`, or fewer of large samples.

  An engine holds every activation of a batch at once, so its memory grows with
  the bytes that flow in.
  """
  samples = max(1, len(inputs[0]))
  each = max(1, sum(x.nbytes for x in inputs) // samples)
  return max(1, min(BATCH, AT_ONCE // each))


def run_all(
  session: Session, inputs: Tensors, batch: int | None = None
) -> Tensors:
  """Runs every sample, in batches; arrays [N, ...] in and out."""
  samples, batch = len(inputs[0]), batch or batch_of(inputs)
  outputs = [
    session.run(tuple(x[i : i + batch] for x in inputs))
    for i in range(0, samples, batch)
  ]
  return tuple(np.concatenate(column) for column in zip(*outputs))


def logits_of(session: Session, inputs: Tensors) -> Array:
  """Integer logits [N, C] of every sample."""
  outputs, *_ = run_all(session, inputs)
  return outputs.reshape(len(outputs), -1)


def score(logits: Array, labels: Array, loss: Loss) -> Score:
  """Scores integer outputs [N, C] against targets as the loss takes them."""
  total = loss(logits, labels)
  right = loss.right(logits, labels)
  correct = 0 if right is None else int(right.sum())
  samples = len(labels)
  return Score(
    loss=loss.mean(total, samples),
    accuracy=None if right is None else correct / right.size,
    total=total,
    correct=correct,
    answers=loss.answers(logits),
    samples=samples,
    mae=loss.mean_absolute(logits, labels) if right is None else None,
  )
