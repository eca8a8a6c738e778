"""Choose where to put the trainable numbers, by trying and measuring.

A candidate is an input stage (nothing, an input prompt, a prompt with a gain,
the first layer's biases), found by forward gradients, and then a head (none,
the file's own, a wide one), found exactly. Each is tried on a part of the
samples and scored on the others, which are kept aside; `run_candidate` trains
the best one again, on all samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from tflm_fg.gradients.method import Method
from tflm_fg.placement.candidates import (
  HARM,
  NOTHING,
  Candidate,
  Dropped,
  InputStage,
  best_candidate,
  candidate_of,
  heads_of,
  parts_of,
  taken_by,
)
from tflm_fg.placement.measure import measured
from tflm_fg.placement.phase import PhaseResult, open_marked, run_phase
from tflm_fg.placement.phase_record import masters_of, matched
from tflm_fg.placement.request import BEST, Request, TrainingData
from tflm_fg.placement.run_plan import (
  RunPlan,
  RunResult,
  Trial,
  phases_of,
)
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import last_tensors
from tflm_fg.types import NotApplicable


def input_stages_of(
  model: ModelFile, method: Method
) -> tuple[list[InputStage], list[Dropped]]:
  """The input stages that a file and a method allow, the cheapest first.

  Returns:
    The input stages, and those that the file does not take.
  """
  if method.name != "auto":  # one method for all: what it trains is the head
    return [NOTHING], []
  wanted = [
    InputStage("prompt"),
    InputStage("prompt", gain=True),
    InputStage("first-bias"),
  ]
  stages, dropped = taken_by(model, wanted)
  return [NOTHING, *stages], dropped


def run_best_tried(
  model: ModelFile, training_data: TrainingData, request: Request
) -> tuple[RunResult, tuple[list[Candidate], list[Dropped]]]:
  """Tries every candidate that the file allows, and trains the best.

  Args:
    model: the plain file.
    training_data: samples with targets.
    request: what the user asked for.

  Returns:
    What trained; the candidates, and what was dropped, with the reason.
  """
  candidates, dropped = try_candidates(model, training_data, request)
  stop = request.stop
  with stop.keeping():
    stop.check()
    best = best_candidate(candidates)
    run_result = run_candidate(model, best, training_data, request)
    stop.check()
    return run_result, (candidates, dropped)
  finished = [_finished(one) for one in candidates if one.is_whole]
  if not finished:
    stop.check()
  best = min(finished, key=lambda one: one.loss)
  run_result = run_candidate(model, best, training_data, request, again=False)
  return run_result, (finished, dropped)


def try_candidates(
  model: ModelFile, training_data: TrainingData, request: Request
) -> tuple[list[Candidate], list[Dropped]]:
  """Tries every candidate that the file allows.

  An input stage never sees the kept part. A head is cheap and exact, so with
  labels it is tried once for every fold of the samples; the kept part is one
  of them.

  Args:
    model: the file before it was marked.
    training_data: samples with targets.
    request: what the user asked for.

  Returns:
    The candidates, the simpler first, and what was dropped: what the file does
    not take, and input stages that moved no output or did harm.
  """
  candidates = []
  stages, dropped = input_stages_of(model, request.method)
  last = phases_of(mark_file(model, "head"), request.method, request.objective)
  request.require_use(
    [stage.kind for stage in stages if stage.trainable]
    + [type(phase.method) for phase in last]
  )
  parts: list[tuple[str, str]] = []
  for stage in stages:
    if stage.trainable:
      parts.append((stage.title, stage.kind.name))
    parts.append(("head", last[0].method.name))
  request.tell_plan(*parts, (BEST, last[0].method.name))
  with request.stop.keeping():
    for stage in stages:
      for candidate in _behind(model, stage, training_data, request, dropped):
        candidates.append(candidate)
      request.stop.check()
  return candidates, dropped


def _behind(
  model: ModelFile,
  stage: InputStage,
  training_data: TrainingData,
  request: Request,
  dropped: list[Dropped],
) -> Iterator[Candidate]:
  """The candidates of an input stage, or of none.

  Where a signal comes the last of them is what was finished by then.
  """
  own = stage.request(request)
  found, first = model, tuple[PhaseResult, ...]()
  if stage.trainable:
    trial = Trial(model, stage.trainable, own, training_data)
    try:
      first = (trial.run(training_data, request.callbacks),)
    except NotApplicable as fault:  # it moves no output of these samples
      dropped.append(Dropped(stage.title, str(fault)))
      return
    if not first[0].record.kept_step:
      dropped.append(Dropped(stage.title, HARM, first[0].graph))
      return
    found = trial.file(first[0])
  # Without an exact gradient thousands of weights are too many to try.
  may_widen = training_data.task.is_exact
  heads, without = heads_of(found, may_widen, own.graph_options)
  dropped += [d for d in without if d not in dropped]
  with request.stop.keeping():
    for head in heads:
      request.stop.check()
      graph_options, measuring_passes = own.graph_options, 0
      try:
        if head == "wide-head":
          graph_options, measuring_passes = measured(
            found,
            training_data.x,
            graph_options,
            request.runtime_options,
            request.memo,
          )
        asked = dataclasses.replace(request, graph_options=graph_options)
        trial = Trial(found, head, asked, training_data)
        tries = _tries(trial, training_data, request)
      except NotApplicable as fault:
        if head == "head":  # there is nothing smaller to try
          raise
        dropped.append(Dropped(head, str(fault)))
        continue
      if request.stop.interrupted:
        yield _cut_short(stage, head, graph_options, (*first, tries[0]))
        continue
      yield candidate_of(
        stage,
        head,
        graph_options,
        first,
        tries,
        training_data,
        measuring_passes,
      )
  if request.stop.interrupted and first:
    yield _cut_short(stage, "", own.graph_options, first)


def _tries(
  trial: Trial, training_data: TrainingData, request: Request
) -> tuple[PhaseResult, ...]:
  """A head's phase with each part of the samples kept aside in turn."""
  parts = parts_of(training_data) if trial.is_exact else [training_data]
  tries = list[PhaseResult]()
  for part in parts:
    tries.append(trial.run(part, request.watchers))
    if request.stop.interrupted:
      break
  return tuple(tries)


def _cut_short(
  stage: InputStage,
  head: str,
  graph_options: GraphOptions,
  phase_results: tuple[PhaseResult, ...],
) -> Candidate:
  """A candidate whose phases were scored on the kept part alone."""
  losses = np.array([phase_results[-1].after.loss])
  options = graph_options, phase_results, ()
  return Candidate(stage, head, *options, losses, math.nan, losses)


def _finished(candidate: Candidate) -> Candidate:
  """What of a candidate needs no more training.

  The masters of a head behind an input stage are those of another file.
  """
  stage, results = candidate.input_stage, candidate.phase_results
  head = "" if stage.trainable else candidate.head
  ran = results[:1] if stage.trainable else results
  return _cut_short(stage, head, candidate.graph_options, ran)


def run_candidate(
  model: ModelFile,
  candidate: Candidate,
  training_data: TrainingData,
  request: Request,
  again: bool = True,
) -> RunResult:
  """Trains a candidate once more, now on all samples.

  A phase that was worse than its start on the kept part is left out.

  Args:
    model: the file before it was marked.
    candidate: what was tried.
    training_data: the samples that it was tried on.
    request: what the user asked for.
    again: False takes the phases as they were tried; an input stage then has no
      head behind it.
  """
  # A long search without a gradient needs samples to choose its best step by.
  everything = (
    training_data.whole() if training_data.task.is_exact else training_data
  )
  helped = [o.record.kept_step > 0 for o in candidate.phase_results]
  stage = candidate.input_stage.trainable if helped[0] else ""
  head = candidate.head if helped[-1] else ""
  graph_options, measuring_passes = candidate.graph_options, 0
  found, phase_results = model, list[PhaseResult]()
  if stage:
    own = dataclasses.replace(
      candidate.input_stage.request(request), graph_options=graph_options
    )
    trial = Trial(model, stage, own, training_data)
    phase_results.append(
      trial.run(everything, request.callbacks)
      if again
      else candidate.phase_results[0]
    )
    found = trial.file(phase_results[0])
  if head == "wide-head":
    graph_options, measuring_passes = measured(
      found,
      training_data.x,
      graph_options,
      request.runtime_options,
      request.memo,
    )
  parts = [part for part in (stage, head) if part]
  plan = RunPlan(",".join(parts) or "head", graph_options)
  marked = mark_file(model, plan.trainable, graph_options=graph_options)
  masters = masters_of(marked.file, marked.mark)
  if stage:
    first = phase_results[0]
    indices = matched(trial.tensors, marked.mark.trainable)
    masters |= {indices[i]: values for i, values in first.masters.items()}
    phase_results[0] = dataclasses.replace(
      first, record=first.record.moved(indices), masters=masters
    )
  if head:
    tensors = tuple(t.index for t in last_tensors(marked.mark))
    phase = candidate.phase_results[-1].record.phase._replace(tensors=tensors)
    if again:
      with request.phase(BEST, phase.method.name):
        opened = open_marked(phase, marked, masters, training_data, request)
        phase_results.append(run_phase(opened, everything, request.watchers))
    else:
      phase_results.append(candidate.phase_results[-1])
    masters = phase_results[-1].masters
  return RunResult(
    marked,
    plan,
    masters,
    candidate.phase_results,
    tuple(phase_results),
    measuring_passes,
  )
