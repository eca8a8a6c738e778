"""Turn a session's outputs over a set of clips into loss and accuracy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tflm_fg.base import Array, Session, Tensors
from tflm_fg.losses import CrossEntropy, mean_nats

BATCH = 256
"""Clips an evaluating call of the engine takes at most."""


class Score(NamedTuple):
  """How a model does on some clips.

  Attributes:
    loss: mean cross-entropy in nats.
    accuracy: share of clips whose largest logit is the label's.
    total: the loss as the integer sum that training compares, in Q16 bits.
    correct: count of right clips.
    answers: count of classes that were answered at all.
    clips: count of all.
  """

  loss: float
  accuracy: float
  total: int
  correct: int
  answers: int
  clips: int


def run_all(session: Session, inputs: Tensors, batch: int = BATCH) -> Tensors:
  """Runs every clip, in batches; arrays [N, ...] in and out."""
  clips = len(inputs[0])
  outputs = [
    session.run(tuple(x[i : i + batch] for x in inputs))
    for i in range(0, clips, batch)
  ]
  return tuple(np.concatenate(column) for column in zip(*outputs))


def logits_of(session: Session, inputs: Tensors) -> Array:
  """Integer logits [N, C] of every clip."""
  outputs, *_ = run_all(session, inputs)
  return outputs.reshape(len(outputs), -1)


def score(logits: Array, labels: Array, loss: CrossEntropy) -> Score:
  """Scores integer logits [N, C] against labels [N]."""
  total = loss(logits, labels)
  answered = logits.argmax(axis=1)
  correct = int((answered == labels).sum())
  clips = len(labels)
  return Score(
    loss=mean_nats(total, clips),
    accuracy=correct / clips,
    total=total,
    correct=correct,
    answers=len(np.unique(answered)),
    clips=clips,
  )
