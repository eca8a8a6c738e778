"""Run what a mark or a user says, or the best of all candidates."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from tflm_fg.placement.candidates import Candidate, Dropped, best_candidate
from tflm_fg.placement.checked_samples import CheckedSamples
from tflm_fg.placement.fold_search import run_found, try_by_folds
from tflm_fg.placement.measure import measured
from tflm_fg.placement.phase import TrainingData
from tflm_fg.placement.request import Request
from tflm_fg.placement.run_plan import RunPlan, RunResult, run_phases
from tflm_fg.placement.search import run_candidate, try_candidates
from tflm_fg.tflite.choice.own_mark import own_mark
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel, mark_file
from tflm_fg.types import NotApplicable, TflmFgError

KEPT_FRACTION, COMPARED_FRACTION = 0.15, 0.25
"""Share of the samples kept aside; more where candidates are compared."""


class Tried(NamedTuple):
  """What was compared before the run; nothing where a user chose.

  Attributes:
    candidates: those that were tried to their end.
    dropped: those that were not, each with the reason.
  """

  candidates: Sequence[Candidate] = ()
  dropped: Sequence[Dropped] = ()


Ran = tuple[RunResult, Tried, TrainingData]
"""What trained, what it was compared with, and the samples as they were cut."""


def run(
  model: ModelFile,
  trainable: str | None,
  samples: CheckedSamples,
  request: Request,
) -> Ran:
  """Trains what was chosen, or tries all candidates and trains the best.

  Args:
    model: the file, which may have a mark.
    trainable: as for `mark_trainable`, or "auto"; None for what the mark says,
      else for what the method allows.
    samples: the user's, checked against the file.
    request: what the user asked for.

  Raises:
    TflmFgError: in one line, if this does not fit the file.
  """
  weights = request.graph_options.weights
  if weights != "int8" and trainable in (None, "auto"):
    raise TflmFgError(
      f"--weights={weights} needs --trainable: which layers get them"
    )
  own = own_mark(model) if trainable is None else None
  if own is not None:
    training_data = samples.training_data(request.method, KEPT_FRACTION)
    given = MarkedModel(model, own, ())
    run_result = run_phases(given, None, training_data, request)
    return run_result, Tried(), training_data
  if trainable is None:
    trainable = "auto" if request.is_auto else "head"
  if trainable == "auto":
    training_data = samples.training_data(request.method, COMPARED_FRACTION)
    if len(training_data.kept):
      return _run_best(model, training_data, request)
    trainable = "head"  # too few samples to compare by
  training_data = samples.training_data(request.method, KEPT_FRACTION)
  plan, measuring_passes = _plan(model, trainable, training_data, request)
  marked = mark_file(model, plan.trainable, graph_options=plan.graph_options)
  run_result = run_phases(
    marked, plan, training_data, request, measuring_passes
  )
  return run_result, Tried(), training_data


def _run_best(
  model: ModelFile, training_data: TrainingData, request: Request
) -> Ran:
  """Compares candidates, by folds where the head is exact, and trains one."""
  task = training_data.task
  if request.is_auto and task.labelled and task.is_exact:
    # A head that only an engine can compute is tried phase by phase.
    with contextlib.suppress(NotApplicable):
      return _run_best_of_folds(model, training_data, request)
  candidates, dropped = try_candidates(model, training_data, request)
  best = best_candidate(candidates)
  run_result = run_candidate(model, best, training_data, request)
  return run_result, Tried(candidates, dropped), training_data


def _run_best_of_folds(
  model: ModelFile, training_data: TrainingData, request: Request
) -> Ran:
  """Compares candidates by folds, and trains the best.

  A wide head that the engine cannot train is dropped, and the next best taken.
  """
  found, dropped = try_by_folds(model, training_data, request)
  while True:
    candidates = [one.candidate for one in found]
    best = best_candidate(candidates)
    chosen = next(one for one in found if one.candidate is best)
    try:
      run_result = run_found(model, chosen, training_data, request)
    except NotApplicable as fault:
      if best.head != "wide-head":
        raise
      dropped.append(Dropped(best.title, str(fault)))
      found.remove(chosen)
    else:
      return run_result, Tried(candidates, dropped), training_data


def _plan(
  model: ModelFile,
  trainable: str,
  training_data: TrainingData,
  request: Request,
) -> tuple[RunPlan, int]:
  """A user's choice, with what a wide head must know, and the passes for it."""
  graph_options, measuring_passes = request.graph_options, 0
  if "wide-head" in [part.strip() for part in trainable.split(",")]:
    graph_options, measuring_passes = measured(
      model, training_data.x, graph_options, request.runtime_options
    )
  return RunPlan(trainable, graph_options), measuring_passes
