"""Score whole files, in all and class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.contents.class_names import class_names
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import whole
from tflm_fg.training.metrics import Score, logits_of, score
from tflm_fg.training.objective import (
  CLASSES,
  Task,
  loss_of,
  seen_by,
  spec_for,
)
from tflm_fg.types import Array

Rows = list[dict[str, Any]]
"""A table a class; see `class_rows`."""

Counts = Sequence[tuple[int | None, int]]
"""For each class its samples to learn from, None where that is not known, and
those of before among what is learned from."""


class Scored(NamedTuple):
  """How a file does on some samples.

  Attributes:
    score: over all of them.
    right: bool [N], which were answered right; None where there is no one
      class a sample.
  """

  score: Score
  right: NDArray[np.bool_] | None


def score_file(
  model: ModelFile, runtime: str, samples: tuple[Array, Array], task: Task
) -> Scored:
  """Scores a whole file on samples on its input's grid, in a new session.

  Args:
    model: a sound .tflite.
    runtime: one of `runtimes.NAMES`.
    samples: x [N, ...] and targets, both checked.
    task: what they are.
  """
  mark = unmarked(model)
  session = open_session(runtime, whole(model, mark))
  logits = logits_of(session, (samples[0],))
  output = spec_for(task, model, mark, "model")
  targets = seen_by(output, samples[1], task)
  loss = loss_of(output, task)
  return scored(score(logits, targets, loss), logits, targets, task)


def scored(own: Score, logits: Array, targets: Array, task: Task) -> Scored:
  """A score with the samples that were answered right.

  Args:
    own: the score.
    logits: integers [N, C].
    targets: as the loss has them.
    task: what they are.
  """
  if task.targets != CLASSES or targets.ndim != 1:
    return Scored(own, None)
  return Scored(own, np.asarray(logits.argmax(axis=1) == targets))


def class_rows(
  labels: Array,
  before: Scored,
  after: Scored,
  names: Sequence[str | None],
  counts: Counts,
) -> Rows:
  """How many samples of each class were answered right, before and after.

  Args:
    labels: int64 [N], of the samples that were scored.
    before: of the file as it came.
    after: of the adapted one.
    names: of the classes, None where the file does not say.
    counts: of the samples that were learned from.

  Returns:
    A table for each class: `class` (its number), `name`, `train_samples`,
    `replay_samples` (those of before that were trained on too),
    `scored_samples`, and `accuracy_before` and `accuracy_after` on them, which
    are null where none was scored. Nothing where a sample has not one class.
  """
  if before.right is None or after.right is None:
    return []
  rows: Rows = []
  for label, (count, again) in enumerate(counts):
    own = labels == label
    some = bool(own.any())
    rows.append(
      {
        "class": label,
        "name": names[label],
        "train_samples": count,
        "replay_samples": again,
        "scored_samples": int(own.sum()),
        "accuracy_before": float(before.right[own].mean()) if some else None,
        "accuracy_after": float(after.right[own].mean()) if some else None,
      }
    )
  return rows


def names_of(file: ModelFile, classes: int) -> list[str | None]:
  """What a file calls its classes; None for each where it does not say."""
  names = class_names(file, classes)
  return [None if name == str(n) else name for n, name in enumerate(names)]


def both(before: Score, after: Score, known: bool) -> dict[str, Any]:
  """Two scores as a report has them.

  Args:
    before: of the file as it came.
    after: of the adapted one.
    known: whether classes are known, so that accuracies say something.
  """
  return {
    "scored_samples": before.samples,
    "accuracy_before": before.accuracy if known else None,
    "accuracy_after": after.accuracy if known else None,
    "mae_before": before.mae,
    "mae_after": after.mae,
    "loss_before": before.loss,
    "loss_after": after.loss,
  }
