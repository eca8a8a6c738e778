"""Train what was found: an input stage's numbers, and a head behind them."""

from __future__ import annotations

import dataclasses
import warnings

from tflm_fg.fixed_point.arithmetic import SATURATED
from tflm_fg.placement.candidates import (
  HARM,
  Candidate,
  Dropped,
  FoundCandidate,
  FoundInputStage,
  best_candidate,
)
from tflm_fg.placement.interrupted import is_worse, on_all_samples
from tflm_fg.placement.phase import (
  OpenPhase,
  PhaseResult,
  open_marked,
  run_phase,
)
from tflm_fg.placement.phase_record import (
  Masters,
  Phase,
  Record,
  masters_of,
  matched,
)
from tflm_fg.placement.request import BEST, Request, TrainingData
from tflm_fg.placement.run_plan import RunPlan, RunResult, from_the_file
from tflm_fg.tflite.graph_options import MOST_ROOM
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel, mark_file
from tflm_fg.tflite.split_graph import last_tensors
from tflm_fg.training.metrics import score
from tflm_fg.types import NotApplicable


def run_best(
  model: ModelFile,
  found: list[FoundCandidate],
  dropped: list[Dropped],
  training_data: TrainingData,
  request: Request,
) -> tuple[RunResult, tuple[list[Candidate], list[Dropped]]]:
  """Trains the best of what was found.

  A wide head that the engine cannot train is dropped, and the next best taken;
  so is a head with room that was no better than its start. Where a signal has
  ended the search, the best by then is trained: its head was fitted many times
  over the folds, and is once more.

  Args:
    model: the plain file.
    found: the candidates, one at least, unless a signal came.
    dropped: what was not tried to its end, with the reason.
    training_data: the samples.
    request: what the user asked for.

  Returns:
    What trained; the candidates, and what was dropped, with the reason.
  """
  if not found:
    request.stop.check()
  while True:
    finishing = request.finishing()
    candidates = [one.candidate for one in found]
    best = best_candidate(candidates)
    chosen = next(one for one in found if one.candidate is best)
    try:
      with request.stop.keeping():
        run_result = run_found(model, chosen, training_data, finishing)
        if best.graph_options.head_room and not run_result.has_helped:
          # The wider scale alone would change the file for nothing.
          raise NotApplicable(HARM)
        if best.head and is_worse(run_result.tried, training_data):
          finishing.stop.check()  # a part of a head is worse than none
        return run_result, (candidates, dropped)
    except NotApplicable as fault:
      if best.head != "wide-head" and not best.graph_options.head_room:
        raise
      dropped.append(Dropped(best.title, str(fault)))
      found.remove(chosen)


def run_found(
  model: ModelFile,
  best: FoundCandidate,
  training_data: TrainingData,
  request: Request,
) -> RunResult:
  """Puts a candidate's input stage and head into one file and trains it.

  The head is run twice, with samples kept aside for the report's scores and
  with all of them for the file.
  """
  candidate, stage = best.candidate, best.found_stage
  parts = [p for p in (stage.input_stage.trainable, candidate.head) if p]
  plan = RunPlan(",".join(parts) or "head", candidate.graph_options)
  marked = mark_file(model, plan.trainable, graph_options=plan.graph_options)
  marked = marked._replace(notes=(*best.notes, *marked.notes))
  masters, kept, results = _with_stage(stage, marked, training_data)
  passes = 0
  if candidate.head or not results:
    with request.phase(BEST, best.head_method.name):
      opened = _open_head(best, marked, masters, training_data, request)
      first = run_phase(opened, training_data, request.watchers)
      kept.append(first)
      if candidate.graph_options.head_room and not results:
        kept[0], passes = from_the_file(model, kept[0], training_data, request)
      if candidate.head:
        results.append(on_all_samples(opened, first, training_data, request))
        masters = results[-1].masters
  ran = tuple(kept), tuple(results)
  return RunResult(marked, plan, masters, *ran, passes, best.room_tried)


def _open_head(
  best: FoundCandidate,
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
  return open_marked(phase, marked, masters, training_data, request)


def _with_stage(
  stage: FoundInputStage, marked: MarkedModel, training_data: TrainingData
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


def saturation_notes(run_result: RunResult) -> list[str]:
  """Says where many weights have reached an end of int8."""
  notes = []
  for record in run_result.records:
    if (share := run_result.saturated(record)) > SATURATED:
      notes.append(
        f"{100 * share:.0f} % of the kernel weights of the phase "
        f"'{record.phase.method.name}' ended at -127 or 127: their scale is "
        f"small for what they learn; {_cure(run_result, record)}"
      )
      warnings.warn(notes[-1], stacklevel=3)
  return notes


def idle_notes(run_result: RunResult, came: ModelFile) -> list[str]:
  """Says where a file has operators more and nothing that was learned.

  Args:
    run_result: what was done.
    came: the user's file.
  """
  if any(record.kept_step for record in run_result.records):
    return []
  grown = run_result.marked.file.operator_names
  if len(grown) <= len(came.operator_names):
    return []
  return [
    "nothing that was learned is kept: use the file that came, which needs "
    "none of the operators that were added"
  ]


def _cure(run_result: RunResult, record: Record) -> str:
  """What helps such weights, or what was tried."""
  plan = run_result.plan
  if run_result.room_tried:
    return "more room for them was tried, and served other samples no better"
  kernels = [
    t.index for t in last_tensors(run_result.marked.mark) if t.role == "kernel"
  ]
  room = (plan and plan.graph_options.head_room) or 0
  if not {*kernels} & {*record.phase.tensors} or room == MOST_ROOM:
    return (
      "try a lower learning rate, or convert the model with larger weights "
      "there"
    )
  file = "" if plan else "the file from before it was marked, with "
  # Without --trainable the room would be refused.
  trainable = plan.trainable if plan else "head"
  bits = min(room + 2, MOST_ROOM)
  return f"try {file}--trainable={trainable} --head_room={bits}"
