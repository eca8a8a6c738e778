"""Score what came and what was made of it, in all and class by class."""

from __future__ import annotations

import dataclasses
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
  names, counts = _names(came), _counts(samples)
  if held_back is not None:
    # Whole files, as they will be used: no cut and no other engine's prefix.
    task = samples.for_others(held_back[1])
    before, after = (
      score_file(file, runtime, held_back, task) for file in (came, adapted)
    )
    rows = class_rows(held_back[1], before, after, names, counts)
    return {**_both("test", before.score, after.score, True), **rows_of(rows)}
  part = "validation" if len(training_data.kept) else "train"
  known = samples.y is not None
  given = samples.y if samples.y is not None else training_data.labels
  data = dataclasses.replace(training_data, labels=given)
  indices, (before, after) = _ends(run_result, data, samples, runtime)
  rows = (
    class_rows(given[indices], before, after, names, counts) if known else []
  )
  return {**_both(part, before.score, after.score, known), **rows_of(rows)}


def forgetting(
  came: ModelFile,
  adapted: ModelFile,
  samples: CheckedSamples,
  old: tuple[Array, Array] | None,
  runtime: str,
) -> dict[str, Any] | None:
  """How samples of before are answered, by what came and what was made of it.

  Args:
    came: the user's file.
    adapted: what was made of it.
    samples: the user's samples; the last may be of before.
    old: samples of before that were not trained on, with their targets,
      checked; None for none.
    runtime: one of `runtimes.NAMES`.

  Returns:
    A report's `forgetting`; None where there are no samples of before.
  """
  told = "old_data"
  if old is None and samples.replayed and samples.y is not None:
    told = "replay"
    old = samples.x[-samples.replayed :], samples.y[-samples.replayed :]
  if old is None:
    return None
  task = samples.for_others(old[1])
  before, after = (
    score_file(file, runtime, old, task) for file in (came, adapted)
  )
  rows = class_rows(old[1], before, after, _names(came), _counts(samples))
  scored = _both(told, before.score, after.score, True)
  del scored["scored_on"]
  return {"measured_on": told, **scored, "classes": rows}


def _ends(
  run_result: RunResult,
  data: TrainingData,
  samples: CheckedSamples,
  runtime: str,
) -> tuple[Array, tuple[Scored, Scored]]:
  """The samples kept aside, before and after, from what training ran of them.

  Samples of before are told of elsewhere, so they are left out. Where training
  saw finer logits than the file gives, what is written is run.

  Returns:
    Which samples, and their scores.
  """
  ran = np.asarray(data.kept if len(data.kept) else data.fit, np.int64)
  new = ran < len(data.x) - samples.replayed
  if not new.any():
    new[:] = True
  indices, task = ran[new], samples.scored
  marked = run_result.marked
  if unmarked(marked.file).logits != marked.mark.logits:
    written = [marked.file] * 2
    if run_result.records:
      masters = run_result.tried[-1].masters
      written[1] = write_masters(marked.file, marked.mark, masters)
    seen = data.x[indices], data.labels[indices]
    first, last = (score_file(file, runtime, seen, task) for file in written)
    return indices, (first, last)
  start = run_result.tried[0].start_logits
  # Without a phase the file was left alone, whatever the trials ended at.
  end = run_result.tried[-1].logits if run_result.records else start
  graph = run_result.tried[0].graph
  labels = graph.targets(data.labels, task)[indices]
  loss = graph.loss(task)
  first, last = (
    _scored(score(logits, labels, loss), logits, labels, task)
    for logits in (start[new], end[new])
  )
  return indices, (first, last)


def _scored(own: Score, logits: Array, targets: Array, task: Task) -> Scored:
  if task.targets != CLASSES or targets.ndim != 1:
    return Scored(own, None)
  return Scored(own, np.asarray(logits.argmax(axis=1) == targets))


def class_rows(
  labels: Array,
  before: Scored,
  after: Scored,
  names: Sequence[str] | None,
  counts: Counts,
) -> Rows:
  """How many samples of each class were answered right, before and after.

  Args:
    labels: int64 [N], of the samples that were scored.
    before: of the file as it came.
    after: of the adapted one.
    names: of the classes, where the file says them.
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
        "name": names[label] if names else None,
        "train_samples": count,
        "replay_samples": again,
        "scored_samples": int(own.sum()),
        "accuracy_before": float(before.right[own].mean()) if some else None,
        "accuracy_after": float(after.right[own].mean()) if some else None,
      }
    )
  return rows


def rows_of(rows: Rows) -> dict[str, Any]:
  """The rows, and which classes had no sample to learn from."""
  absent = [
    row["class"]
    for row in rows
    if row["train_samples"] == 0 == row["replay_samples"]
  ]
  return {"classes": rows, "absent_classes": absent}


def _counts(samples: CheckedSamples) -> Counts:
  """Samples of each class that are learned from."""
  count = width(samples.output)
  if samples.y is None or samples.scored.targets != CLASSES:
    return [(None, 0)] * count
  new = len(samples.y) - samples.replayed
  parts = (samples.y[:new], samples.y[new:])
  mine, again = (np.bincount(y, minlength=count).tolist() for y in parts)
  return list(zip(mine, again, strict=True))


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
