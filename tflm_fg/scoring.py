"""Score what came and what was made of it, in all and class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.placement.checked_samples import CheckedSamples
from tflm_fg.placement.phase import TrainingData
from tflm_fg.placement.phase_record import write_masters
from tflm_fg.placement.run_plan import RunResult
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.training.metrics import Score, logits_of, score
from tflm_fg.training.objective import (
  CLASSES,
  Task,
  loss_of,
  seen_by,
  spec_for,
  width,
)
from tflm_fg.types import Array

Rows = list[dict[str, Any]]
"""A table a class; see `class_rows`."""


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
  return _scored(score(logits, targets, loss), logits, targets, task)


def scores(
  came: ModelFile,
  run_result: RunResult,
  samples: CheckedSamples,
  training_data: TrainingData,
  held_back: tuple[Array, Array] | None,
  adapted: ModelFile,
  runtime: str,
) -> dict[str, Any]:
  """Before and after, on test samples or else on those kept aside.

  Args:
    came: the user's file.
    run_result: what was done.
    samples: the user's samples.
    training_data: the same, with a share kept aside.
    held_back: test samples and their targets, checked; None for none.
    adapted: what was made of the file.
    runtime: one of `runtimes.NAMES`.

  Returns:
    Fields of a report.
  """
  names = _names(came)
  count = width(samples.output)
  counts = _counts(samples, count)
  if held_back is not None:
    # Whole files, as they will be used: no cut and no other engine's prefix.
    task = samples.for_others(held_back[1])
    before, after = (
      score_file(file, runtime, held_back, task) for file in (came, adapted)
    )
    rows = class_rows(held_back[1], before, after, names, counts)
    return {**_both("test", before.score, after.score, True), **rows_of(rows)}
  part = "validation" if len(training_data.kept) else "train"
  indices = training_data.kept if len(training_data.kept) else training_data.fit
  known = samples.y is not None
  given = samples.y if samples.y is not None else training_data.labels
  before, after = _ends(
    run_result,
    (training_data.x[indices], given[indices]),
    given,
    indices,
    samples.scored,
    runtime,
  )
  rows = (
    class_rows(given[indices], before, after, names, counts) if known else []
  )
  return {**_both(part, before.score, after.score, known), **rows_of(rows)}


def _ends(
  run_result: RunResult,
  seen: tuple[Array, Array],
  given: Array,
  indices: Array,
  task: Task,
  runtime: str,
) -> tuple[Scored, Scored]:
  """The samples kept aside before and after, from what training ran of them.

  Where training saw finer logits than the file gives, what is written is run.
  """
  marked = run_result.marked
  if unmarked(marked.file).logits != marked.mark.logits:
    written = [marked.file] * 2
    if run_result.records:
      masters = run_result.tried[-1].masters
      written[1] = write_masters(marked.file, marked.mark, masters)
    first, last = (score_file(file, runtime, seen, task) for file in written)
    return first, last
  start = run_result.tried[0].start_logits
  # Without a phase the file was left alone, whatever the trials ended at.
  end = run_result.tried[-1].logits if run_result.records else start
  graph = run_result.tried[0].graph
  labels = graph.targets(given, task)[indices]
  loss = graph.loss(task)
  first, last = (
    _scored(score(logits, labels, loss), logits, labels, task)
    for logits in (start, end)
  )
  return first, last


def _scored(own: Score, logits: Array, targets: Array, task: Task) -> Scored:
  if task.targets != CLASSES or targets.ndim != 1:
    return Scored(own, None)
  return Scored(own, np.asarray(logits.argmax(axis=1) == targets))


def class_rows(
  labels: Array,
  before: Scored,
  after: Scored,
  names: Sequence[str] | None,
  counts: Sequence[int | None],
) -> Rows:
  """How many samples of each class were answered right, before and after.

  Args:
    labels: int64 [N], of the samples that were scored.
    before: of the file as it came.
    after: of the adapted one.
    names: of the classes, where the file says them.
    counts: samples of each class that were learned from, None where that is
      not known.

  Returns:
    A table for each class: `class` (its number), `name`, `train_samples`,
    `scored_samples`, `accuracy_before` and `accuracy_after`, which are null
    where none was scored. Nothing where there is no one class a sample.
  """
  if before.right is None or after.right is None:
    return []
  rows: Rows = []
  for label, count in enumerate(counts):
    own = labels == label
    some = bool(own.any())
    rows.append(
      {
        "class": label,
        "name": names[label] if names else None,
        "train_samples": count,
        "scored_samples": int(own.sum()),
        "accuracy_before": float(before.right[own].mean()) if some else None,
        "accuracy_after": float(after.right[own].mean()) if some else None,
      }
    )
  return rows


def rows_of(rows: Rows) -> dict[str, Any]:
  """The rows, and which classes had no sample to learn from."""
  absent = [row["class"] for row in rows if row["train_samples"] == 0]
  return {"classes": rows, "absent_classes": absent}


def _counts(samples: CheckedSamples, count: int) -> list[int | None]:
  """Samples of each class that are learned from; None where none says."""
  if samples.y is None or samples.scored.targets != CLASSES:
    return [None] * count
  return np.bincount(samples.y, minlength=count).tolist()


def _names(file: ModelFile) -> Sequence[str] | None:
  """What a file calls its classes."""
  mark = read_mark(file)
  return None if mark is None else mark.classes


def _both(
  part: str, before: Score, after: Score, known: bool
) -> dict[str, Any]:
  return {
    "scored_on": part,
    "scored_samples": before.samples,
    "accuracy_before": before.accuracy if known else None,
    "accuracy_after": after.accuracy if known else None,
    "mae_before": before.mae,
    "mae_after": after.mae,
    "loss_before": before.loss,
    "loss_after": after.loss,
  }
