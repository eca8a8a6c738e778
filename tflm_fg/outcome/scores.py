"""Score what came and what was made of it, in all and class by class."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tflm_fg.placement.checked_samples import CheckedSamples
from tflm_fg.placement.phase_record import write_masters
from tflm_fg.placement.request import TrainingData
from tflm_fg.placement.run_plan import RunResult
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.training.file_scores import (
  Rows,
  Scored,
  both,
  class_rows,
  names_of,
  score_file,
  scored,
)
from tflm_fg.training.metrics import score
from tflm_fg.types import Array


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
  counts = samples.class_counts()
  names = names_of(came, len(counts))
  if held_back is not None:
    # Whole files, as they will be used: no cut and no other engine's prefix.
    task = samples.for_others(held_back[1])
    before, after = (
      score_file(file, runtime, held_back, task) for file in (came, adapted)
    )
    rows = class_rows(held_back[1], before, after, names, counts)
    return _told("test", before, after, True, rows)
  part = "validation" if len(training_data.kept) else "train"
  known = samples.y is not None
  given = samples.y if samples.y is not None else training_data.labels
  data = dataclasses.replace(training_data, labels=given)
  indices, (before, after) = _ends(run_result, data, samples, runtime)
  rows = (
    class_rows(given[indices], before, after, names, counts) if known else []
  )
  return _told(part, before, after, known, rows)


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
  new = ran < len(data.labels) - samples.replayed
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
    scored(score(logits, labels, loss), logits, labels, task)
    for logits in (start[new], end[new])
  )
  return indices, (first, last)


def _told(
  part: str, before: Scored, after: Scored, known: bool, rows: Rows
) -> dict[str, Any]:
  """Fields of a report, with the classes without a sample."""
  absent = [
    row["class"]
    for row in rows
    if row["train_samples"] == 0 == row["replay_samples"]
  ]
  return {
    "scored_on": part,
    **both(before.score, after.score, known),
    "classes": rows,
    "absent_classes": absent,
  }
