"""Choose where to train by the loss over folds of all samples.

An input stage is found once, on all samples: a prompt has ten numbers or so,
and a direction for every sample finds them in 160 passes. Behind each of them
heads are fitted over the folds, without passes of an engine; a wide head takes
longer and is tried behind the best two alone. The candidate with the lowest
loss is trained. The untouched file is one of them, so that what would do harm
is mostly not chosen: the loss behind an input stage is a little too low, as the
stage has seen the samples of all folds (docs/results.md, small transformer).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tflm_fg.forgetting.class_folds import Judged, judged
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.method import fields_of
from tflm_fg.gradients.per_sample import PerSample
from tflm_fg.placement.candidates import (
  INPUT_STAGES,
  NOTHING,
  Candidate,
  Dropped,
  FoundCandidate,
  FoundInputStage,
  InputStage,
  heads_of,
  taken_by,
)
from tflm_fg.placement.head_folds import FoldScore, HeadFolds, room_note
from tflm_fg.placement.measure import answers_of
from tflm_fg.placement.request import BEST, Request, TrainingData
from tflm_fg.placement.run_plan import Trial
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.types import NotApplicable

WITHOUT_PROMPTS = InputStage("first-bias")
"""What is tried in a file that takes none of them, by directions for samples
unless a user has set what these do not take. It needs five times the passes,
and was no better beside a prompt where both were measured."""


WIDENED = 2
"""Input stages, the best ones, behind which a wide head is tried too."""


def try_by_folds(
  model: ModelFile, training_data: TrainingData, request: Request
) -> tuple[list[FoundCandidate], list[Dropped]]:
  """Tries every candidate that the file allows.

  Args:
    model: the plain file.
    training_data: labelled samples, under a loss that has a gradient.
    request: what the user asked for.

  Returns:
    The candidates, and what was dropped, with the reason.

  Raises:
    NotApplicable: if only an engine can compute the file's head.
  """
  kinds = [stage.kind for stage in (*INPUT_STAGES, WITHOUT_PROMPTS)]
  request.require_use([*kinds, ClosedForm])
  dropped: list[Dropped] = []
  found: list[FoundCandidate] = []
  _tell_plan(model, request)
  with request.stop.keeping():
    tried = []
    for stage in _stages(model, training_data, request, dropped):
      own = _behind(stage, training_data, request)
      tried.append((stage, own))
      found += own
      request.stop.check()
    if training_data.coverage is not None:
      return found, dropped  # imagined inputs say little of a wide head's
    tried.sort(key=lambda one: min(f.candidate.loss for f in one[1]))
    for stage, _ in tried[:WIDENED]:
      found += _widened(stage, training_data, request, dropped)
      request.stop.check()
  return found, dropped


def _stages(
  model: ModelFile,
  training_data: TrainingData,
  request: Request,
  dropped: list[Dropped],
) -> Iterator[FoundInputStage]:
  """No input stage, then those that the file takes, each found."""
  yield FoundInputStage(NOTHING, model)
  if _is_fresh(model):
    reason = "a head of zeros shows nothing of what is in front of it"
    for stage in INPUT_STAGES:
      dropped.append(Dropped(stage.title, reason))
    return
  if training_data.coverage is not None:
    yield from _kept_stage(model, training_data, request, dropped)
    return
  known = {*fields_of(PerSample), *fields_of(ClosedForm)}
  # What a user has set and these do not take is for the first biases.
  enough = set(request.method.given) <= known
  some = False
  for stage in (*INPUT_STAGES, WITHOUT_PROMPTS):
    if some and enough and stage is WITHOUT_PROMPTS:
      return
    asked = stage.request(request)
    try:
      trial = Trial(model, stage.trainable, asked, training_data)
      result = trial.run(training_data.whole(), request.callbacks)
    except NotApplicable as fault:
      dropped.append(Dropped(stage.title, str(fault)))
      continue
    some = True
    yield FoundInputStage(stage, trial.file(result), trial.tensors, result)


def _kept_stage(
  model: ModelFile,
  training_data: TrainingData,
  request: Request,
  dropped: list[Dropped],
) -> Iterator[FoundInputStage]:
  """The prompt that helps classes most that were left out, if one does."""
  best: tuple[float, InputStage, Trial] | None = None
  for stage in INPUT_STAGES:
    try:
      trial = Trial(
        model, stage.trainable, stage.request(request), training_data
      )
      found = _left_out(model, trial, training_data, request)
      request.stop.check()
    except NotApplicable as fault:
      dropped.append(Dropped(stage.title, str(fault)))
      continue
    if found.fault:
      dropped.append(Dropped(stage.title, found.fault))
    elif best is None or found.gain > best[0]:
      best = found.gain, stage, trial
  if best is not None:
    _, stage, trial = best
    result = trial.run(training_data.whole(), request.callbacks)
    yield FoundInputStage(stage, trial.file(result), trial.tensors, result)


def _left_out(
  model: ModelFile,
  trial: Trial,
  training_data: TrainingData,
  request: Request,
) -> Judged:
  """What an input stage does to classes that it is not shown."""
  coverage, task = training_data.coverage, training_data.task
  assert coverage is not None
  return judged(
    model,
    training_data.labels[: len(training_data.x)],
    coverage,
    lambda fit: trial.file(
      trial.run(training_data.only(fit), request.watchers)
    ),
    lambda file, rows: answers_of(
      file, training_data.x[rows], task, request.runtime_options
    ),
  )


def _is_fresh(model: ModelFile) -> bool:
  """Whether all weights of the head are zero, so that no output moves."""
  marked = mark_file(model, "head")
  held = zip(
    marked.mark.trainable, weights_of(marked.file, marked.mark.trainable)
  )
  return not any(np.any(w) for t, w in held if t.role != "bias")


def _behind(
  stage: FoundInputStage, training_data: TrainingData, request: Request
) -> list[FoundCandidate]:
  """The candidates of an input stage without a head, and with the file's."""
  options = stage.input_stage.request(request).graph_options
  with request.phase(_behind_title(stage.input_stage, "head"), "folds"):
    opened = HeadFolds.open(stage.file, "head", options, training_data, request)
    untouched = _found(stage, "", opened.untouched(), opened)
    if request.stop.interrupted:
      return [untouched]
    fitted = _fitted(stage, "head", opened)
  if training_data.coverage is not None and stage.result is not None:
    return fitted  # the stage leans to what is shown; such a head leans back
  return [untouched, *fitted]


def _behind_title(stage: InputStage, head: str) -> str:
  return ", ".join(part for part in (stage.title, head) if part)


def _tell_plan(model: ModelFile, request: Request) -> None:
  """Tells what will be tried, as far as that is known."""
  stages, _ = taken_by(model, INPUT_STAGES)
  parts = [("head", "folds")]
  for stage in stages or [WITHOUT_PROMPTS]:
    parts.append((stage.title, stage.kind.name))
    parts.append((_behind_title(stage, "head"), "folds"))
  parts += [("wide-head", "folds")] * WIDENED
  request.tell_plan(*parts, (BEST, ClosedForm.name))


def _widened(
  stage: FoundInputStage,
  training_data: TrainingData,
  request: Request,
  dropped: list[Dropped],
) -> list[FoundCandidate]:
  """The candidate of an input stage with a wide head, if the file has one."""
  options = stage.input_stage.request(request).graph_options
  heads, without = heads_of(stage.file, True, options)
  dropped += [d for d in without if d not in dropped]
  if "wide-head" not in heads:
    return []
  with request.phase("wide-head", "folds"):
    try:
      opened = HeadFolds.open(
        stage.file, "wide-head", options, training_data, request
      )
    except NotApplicable as fault:  # an engine does not run what it makes
      dropped.append(Dropped("wide-head", str(fault)))
      return []
    return _fitted(stage, "wide-head", opened)


def _fitted(
  stage: FoundInputStage, head: str, opened: HeadFolds
) -> list[FoundCandidate]:
  """The candidate of a head, and with room for its weights if that is better.

  Where weights have room that need none nothing is lost, but a file should not
  change for nothing.
  """
  score, is_open = opened.best(), opened.graph_options.head_room is None
  found = [_found(stage, head, score, opened)._replace(room_tried=is_open)]
  roomier = opened.roomier(score)
  if roomier is not None:
    better, own = roomier
    note = room_note(better, score.saturated)
    found.append(
      _found(stage, head, own, better)._replace(notes=(note,), room_tried=True)
    )
  return found


def _found(
  stage: FoundInputStage, head: str, fold_score: FoldScore, opened: HeadFolds
) -> FoundCandidate:
  candidate = Candidate(
    stage.input_stage,
    head,
    opened.graph_options,
    () if stage.result is None else (stage.result,),
    (),
    fold_score.losses,
    fold_score.accuracy,
    fold_score.losses,
    opened.measuring_passes if head == "wide-head" else 0,
    fold_score.pull,
    opened.graph,
  )
  return FoundCandidate(candidate, stage, opened.method(fold_score.pull))
