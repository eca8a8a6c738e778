"""Run the phases of an adaptation to their end, on all samples in the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from tflm_fg.placement.candidates import Candidate
from tflm_fg.placement.measure import measured
from tflm_fg.placement.phase import (
  PhaseResult,
  TrainingData,
  open_for,
  run_phase,
)
from tflm_fg.placement.phase_record import (
  Masters,
  Record,
  masters_of,
  matched,
)
from tflm_fg.placement.search import Trial, phases_of
from tflm_fg.placement.split_model import RuntimeOptions
from tflm_fg.tflite.select_trainable import (
  GraphOptions,
  MarkedModel,
  mark_trainable,
)
from tflm_fg.tflite.split_graph import last_tensors
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.settings import Settings

WORTHWHILE = 0.1
"""Nats that information maximisation must gain on the samples kept aside."""


class RunPlan(NamedTuple):
  """A choice for `mark`, made.

  Attributes:
    trainable: what trains.
    graph_options: how the file grew.
  """

  trainable: str
  graph_options: GraphOptions


@dataclasses.dataclass(frozen=True)
class RunResult:
  """What a whole adaptation leaves behind.

  Attributes:
    marked: the file before training, marked.
    plan: how `marked` came from the plain file; None where it was given.
    masters: of its marked tensors, after training.
    tried: the phases as they ran with samples kept aside: scores and curves.
    phase_results: the phases as they made the masters.
    measuring_passes: passes that only measured what a wide head joins.
  """

  marked: MarkedModel
  plan: RunPlan | None
  masters: Masters
  tried: tuple[PhaseResult, ...]
  phase_results: tuple[PhaseResult, ...]
  measuring_passes: int

  @property
  def records(self) -> tuple[Record, ...]:
    """Of the phases, to replay them."""
    return tuple(phase_result.record for phase_result in self.phase_results)


def run_phases(
  marked: MarkedModel,
  plan: RunPlan | None,
  training_data: TrainingData,
  settings: Settings,
  runtime_options: RuntimeOptions,
  callbacks: Sequence[Callback] = (),
  measuring_passes: int = 0,
) -> RunResult:
  """Runs the phases of a choice that the user made.

  Args:
    marked: the marked file.
    plan: how it came from the plain file; None where it was given.
    training_data: the samples.
    settings: as the user gave them.
    runtime_options: the engine.
    callbacks: told of every step.
    measuring_passes: passes that measured what a wide head joins.
  """
  masters = masters_of(marked.data, marked.mark)
  run_result = RunResult(marked, plan, masters, (), (), measuring_passes)
  phases = phases_of(marked, settings, training_data.task.is_exact)
  settings.require_use([phase.settings.method for phase in phases])
  for phase in phases:
    open_phase = open_for(
      phase,
      marked.data,
      marked.mark,
      run_result.masters,
      training_data.x,
      runtime_options,
    )
    phase_result = run_phase(
      open_phase,
      training_data,
      callbacks,
      passes_before=sum(
        o.graph.forward_passes for o in run_result.phase_results
      ),
    )
    last = phase_result
    stopped = any(callback.stop_training for callback in callbacks)
    if _is_exact(phase_result) and len(training_data.kept) and not stopped:
      # An exact phase needs samples kept aside but to see that it helps, and
      # every sample counts where there are few.
      last = run_phase(open_phase, training_data.whole(), callbacks)
    run_result = dataclasses.replace(
      run_result,
      masters=last.masters,
      tried=(*run_result.tried, phase_result),
      phase_results=(*run_result.phase_results, last),
    )
  return run_result


def _is_exact(phase_result: PhaseResult) -> bool:
  """Whether an exact phase ran, and was kept."""
  record = phase_result.record
  return record.phase.settings.is_exact and record.kept_step > 0


def run_candidate(
  model: bytes,
  candidate: Candidate,
  training_data: TrainingData,
  settings: Settings,
  runtime_options: RuntimeOptions,
  callbacks: Sequence[Callback] = (),
) -> RunResult:
  """Goes a way that was tried once more, now with all samples.

  A phase that was worse than its start on the kept part is left out. Without
  labels nothing is done where there is nothing to gain: a model that is sure
  of its samples already would but drift.

  Args:
    model: the plain file.
    candidate: what was tried.
    training_data: the samples that it was tried on.
    settings: as the user gave them.
    runtime_options: the engine.
    callbacks: told of every step of forward gradients.
  """
  # A long search without a gradient needs samples to choose its best step by.
  everything = (
    training_data.whole() if training_data.task.is_exact else training_data
  )
  worth = (
    training_data.labelled or candidate.start_loss - candidate.loss > WORTHWHILE
  )
  helped = [worth and o.record.kept_step > 0 for o in candidate.phase_results]
  front = (
    candidate.front.trainable if helped[0] and candidate.front.trainable else ""
  )
  head = candidate.head if helped[-1] else ""
  found, graph_options, phase_results, measuring_passes = (
    model,
    candidate.graph_options,
    [],
    0,
  )
  if front:
    own = candidate.front.settings(settings)
    trial = Trial(
      model, front, graph_options, own, runtime_options, training_data
    )
    phase_results.append(trial.run(everything, callbacks))
    found = trial.file(phase_results[0])
  if head == "wide-head":
    graph_options, measuring_passes = measured(
      found, training_data.x, graph_options, runtime_options
    )
  parts = [part for part in (front, head) if part]
  plan = RunPlan(",".join(parts) or "head", graph_options)
  marked = mark_trainable(model, plan.trainable, graph_options=graph_options)
  masters = masters_of(marked.data, marked.mark)
  if front:
    first = phase_results[0]
    indices = matched(trial.tensors, marked.mark.trainable)
    masters |= {indices[i]: values for i, values in first.masters.items()}
    phase_results[0] = dataclasses.replace(
      first, record=first.record.moved(indices), masters=masters
    )
  if head:
    tensors = tuple(t.index for t in last_tensors(marked.mark))
    phase = candidate.phase_results[-1].record.phase._replace(tensors=tensors)
    open_phase = open_for(
      phase, marked.data, marked.mark, masters, training_data.x, runtime_options
    )
    phase_results.append(run_phase(open_phase, everything))
    masters = phase_results[-1].masters
  return RunResult(
    marked,
    plan,
    masters,
    candidate.phase_results,
    tuple(phase_results),
    measuring_passes,
  )
