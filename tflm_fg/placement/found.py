"""Train what was found: an input stage's numbers, and a head behind them."""

from __future__ import annotations

import dataclasses

from tflm_fg.placement.candidates import (
  Candidate,
  Dropped,
  Found,
  Stage,
  best_candidate,
)
from tflm_fg.placement.phase import (
  OpenPhase,
  PhaseResult,
  TrainingData,
  open_for,
  run_phase,
)
from tflm_fg.placement.phase_record import Masters, Phase, masters_of, matched
from tflm_fg.placement.request import Request
from tflm_fg.placement.run_plan import RunPlan, RunResult
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel, mark_file
from tflm_fg.tflite.split_graph import last_tensors
from tflm_fg.training.metrics import score
from tflm_fg.types import NotApplicable


def run_best(
  model: ModelFile,
  found: list[Found],
  dropped: list[Dropped],
  training_data: TrainingData,
  request: Request,
) -> tuple[RunResult, tuple[list[Candidate], list[Dropped]]]:
  """Trains the best of what was found.

  A wide head that the engine cannot train is dropped, and the next best taken.

  Args:
    model: the plain file.
    found: the candidates, one at least.
    dropped: what was not tried to its end, with the reason.
    training_data: the samples.
    request: what the user asked for.

  Returns:
    What trained; the candidates, and what was dropped, with the reason.
  """
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
      return run_result, (candidates, dropped)


def run_found(
  model: ModelFile,
  best: Found,
  training_data: TrainingData,
  request: Request,
) -> RunResult:
  """Puts a candidate's input stage and head into one file and trains it.

  The head is run twice, with samples kept aside for the report's scores and
  with all of them for the file.
  """
  candidate, stage = best.candidate, best.stage
  parts = [p for p in (stage.stage.trainable, candidate.head) if p]
  plan = RunPlan(",".join(parts) or "head", candidate.graph_options)
  marked = mark_file(model, plan.trainable, graph_options=plan.graph_options)
  masters, kept, results = _with_stage(stage, marked, training_data)
  if candidate.head or not results:
    opened = _open_head(best, marked, masters, training_data, request)
    kept.append(run_phase(opened, training_data))
    if candidate.head:
      results.append(run_phase(opened, training_data.whole()))
      masters = results[-1].masters
  return RunResult(marked, plan, masters, tuple(kept), tuple(results), 0)


def _open_head(
  best: Found,
  marked: MarkedModel,
  masters: Masters,
  training_data: TrainingData,
  request: Request,
) -> OpenPhase:
  """The head's phase, behind what the input stage has found."""
  phase = Phase(
    tuple(t.index for t in last_tensors(marked.mark)),
    best.head_method,
    request.objective,
  )
  return open_for(
    phase,
    marked.file,
    marked.mark,
    masters,
    training_data.x,
    request.runtime_options,
  )


def _with_stage(
  stage: Stage, marked: MarkedModel, training_data: TrainingData
) -> tuple[Masters, list[PhaseResult], list[PhaseResult]]:
  """The masters behind an input stage, and its phase as the file has it.

  Returns:
    The masters; the phase as samples kept aside see it; the phase.
  """
  masters = masters_of(marked.file, marked.mark)
  if stage.result is None:
    return masters, [], []
  indices = matched(stage.tensors, marked.mark.trainable)
  own = stage.result.masters.items()
  masters |= {indices[i]: values for i, values in own}
  result = dataclasses.replace(
    stage.result, record=stage.result.record.moved(indices), masters=masters
  )
  return masters, [_seen_by_kept(result, training_data)], [result]


def _seen_by_kept(
  result: PhaseResult, training_data: TrainingData
) -> PhaseResult:
  """A phase that ran on all samples, scored on those kept aside.

  It has seen them: its few numbers hardly fit single samples, and the head
  behind it has not seen them.
  """
  kept, task = training_data.kept, training_data.task
  labels = result.graph.targets(training_data.labels, task)[kept]
  before, after = result.start_logits[kept], result.logits[kept]
  loss = result.graph.loss(task)
  return dataclasses.replace(
    result,
    start_logits=before,
    logits=after,
    before=score(before, labels, loss),
    after=score(after, labels, loss),
  )
