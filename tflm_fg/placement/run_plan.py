"""Run the phases of an adaptation, one behind the other.

A phase is a set of tensors and one method. `phases_of` says which phases a
choice of tensors has; `run_phases` runs them from the marked file to the
masters that the adapted file is made of.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tflm_fg.fixed_point.arithmetic import saturated_share
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.method import Method, fields_of
from tflm_fg.gradients.per_sample import PerSample
from tflm_fg.gradients.sample_slopes import FLOWING
from tflm_fg.gradients.spsa import SignSPSA
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
  write_masters,
)
from tflm_fg.placement.request import Request, TrainingData
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel, mark_file
from tflm_fg.tflite.split_graph import exact_tensors
from tflm_fg.tflite.training_metadata import stripped
from tflm_fg.training.alternating import alternating
from tflm_fg.training.auto import Auto
from tflm_fg.training.callbacks import Callback, History
from tflm_fg.training.metrics import logits_of, score
from tflm_fg.training.objective import Objective
from tflm_fg.types import TrainableTensor

FEW_NUMBERS = 256
"""Up to so many numbers a few hundred steps of forward gradients do."""

QUICK = {"steps": 200, "validate_every": 200}
"""A phase of forward gradients on few numbers."""

LONG = {"steps": 2000, "validate_every": 50, "patience": 10}
"""The same on many."""


def phases_of(
  marked: MarkedModel,
  method: Method,
  objective: Objective,
  pull: float | None = None,
) -> list[Phase]:
  """The phases for a choice that the user made.

  Under "auto" whatever is not the head comes first, by forward gradients, and
  then the head, exactly where it can be. Numbers of layers and the head take
  turns, see `alternating`.

  Args:
    marked: the marked file.
    method: as the user gave it.
    objective: what is lowered.
    pull: of the closed form where the user has set none; None for its own.
  """
  tensors = marked.mark.trainable
  pulled = {} if pull is None else {"pull": pull}
  quadratic = objective.is_quadratic

  def phase(indices: Sequence[int], own: Method) -> Phase:
    layout = Layout(tuple(t for t in tensors if t.index in indices))
    whole = own.filled(quadratic).for_layout(layout)
    return Phase(tuple(indices), whole, objective)

  if not isinstance(method, Auto):
    if pull is not None and isinstance(method, ClosedForm) and not method.pull:
      method = dataclasses.replace(method, pull=pull)
    return [phase([t.index for t in tensors], method)]
  last = exact_tensors(marked.file, marked.mark)
  head = last if objective.has_gradient else ()
  rest = [t for t in tensors if t.index not in head]
  phases = []
  of_layers = any(t.role in ("bias", "scale") for t in rest)
  if of_layers and objective.has_gradient and flows_in(rest, method):
    inner = method.as_phase(PerSample)
    ends = alternating(
      inner, rest, method.as_phase(ClosedForm, **pulled) if head else None
    )
    own_tensors = [t.index for t in rest]
    return [phase(head if own.is_exact else own_tensors, own) for own in ends]
  if rest:
    few = sum(t.numbers for t in rest) <= FEW_NUMBERS
    few &= all(t.index not in last for t in rest)  # a head has far to go
    own = method.as_phase(SignSPSA, **(QUICK if few else LONG))
    if few and objective.has_gradient and flows_in(rest, method):
      own = method.as_phase(PerSample)
    phases.append(phase([t.index for t in rest], own))
  if head:
    phases.append(phase(head, method.as_phase(ClosedForm, **pulled)))
  return phases


def flows_in(tensors: Sequence[TrainableTensor], method: Method) -> bool:
  """Whether every sample can have a direction of its own in these tensors.

  A user who has set what only one direction for all samples takes has that.
  """
  known = {*fields_of(PerSample), *fields_of(ClosedForm)}
  return all(t.role in FLOWING for t in tensors) and set(method.given) <= known


@dataclasses.dataclass(frozen=True)
class Trial:
  """One phase on a file that is marked for it alone.

  Attributes:
    model: the file before it was marked.
    trainable: as for `mark_trainable`.
    request: its method trains the phase.
    training_data: the samples.
  """

  model: ModelFile
  trainable: str
  request: Request
  training_data: TrainingData

  @functools.cached_property
  def _marked(self) -> MarkedModel:
    return mark_file(
      self.model, self.trainable, graph_options=self.request.graph_options
    )

  @functools.cached_property
  def _phase(self) -> Phase:
    (phase,) = phases_of(
      self._marked,
      self.request.method,
      self.request.objective,
      self.training_data.pull,
    )
    return phase

  @functools.cached_property
  def _open_phase(self) -> OpenPhase:
    marked = self._marked
    return open_marked(
      self._phase,
      marked,
      masters_of(marked.file, marked.mark),
      self.training_data,
      self.request,
    )

  @property
  def tensors(self) -> tuple[TrainableTensor, ...]:
    """What is trainable in the file that is marked for it."""
    return self._marked.mark.trainable

  @property
  def is_exact(self) -> bool:
    """Whether its gradient has a closed form, so that a run costs little."""
    return self._open_phase.phase.method.is_exact

  def run(
    self, training_data: TrainingData, callbacks: Sequence[Callback] = ()
  ) -> PhaseResult:
    """Runs it on some samples, each time from the start."""
    gained = self.trainable == "prompt" and self.request.graph_options.gain
    title = self.trainable + "+gain" * gained
    with self.request.phase(title, self._phase.method.name):
      return run_phase(self._open_phase, training_data, callbacks)

  def file(self, phase_result: PhaseResult) -> ModelFile:
    """The plain file with what the phase found."""
    marked = self._marked
    found = write_masters(marked.file, marked.mark, phase_result.masters)
    return stripped(found)


class RunPlan(NamedTuple):
  """What `mark_trainable` is asked for, chosen.

  Attributes:
    trainable: what trains.
    graph_options: how the file grew.
    output: position of the output that is meant, in a file of several.
  """

  trainable: str
  graph_options: GraphOptions
  output: int | None = None


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
    room_tried: whether more room for the head's weights was tried too.
  """

  marked: MarkedModel
  plan: RunPlan | None
  masters: Masters
  tried: tuple[PhaseResult, ...]
  phase_results: tuple[PhaseResult, ...]
  measuring_passes: int
  room_tried: bool = False

  @property
  def has_helped(self) -> bool:
    """Whether the last phase was kept."""
    return self.phase_results[-1].record.kept_step > 0

  @property
  def records(self) -> tuple[Record, ...]:
    """Of the phases, to replay them."""
    return tuple(phase_result.record for phase_result in self.phase_results)

  def saturated(self, record: Record) -> float:
    """Share of a phase's kernels that ended at -127 or 127 and began inside."""
    start = masters_of(self.marked.file, self.marked.mark)
    own = [
      t.index
      for t in self.marked.mark.trainable
      if t.role == "kernel" and t.index in record.phase.tensors
    ]
    ends = ([_EMPTY, *(m[i] for i in own)] for m in (start, self.masters))
    return saturated_share(*map(np.concatenate, ends))

  @property
  def history(self) -> History:
    """The curves of the phases one behind the other."""
    joined, passes = History(), 0
    for phase_result in self.tried:
      own = phase_result.history
      joined.batches += [(passes + n, loss) for n, loss in own.batches]
      joined.tests += [(passes + n, loss, a) for n, loss, a in own.tests]
      joined.measured = own.measured
      passes += phase_result.graph.forward_passes
    return joined


_EMPTY = np.zeros(0, np.int16)


def run_phases(
  marked: MarkedModel,
  plan: RunPlan | None,
  training_data: TrainingData,
  request: Request,
  measuring_passes: int = 0,
  opened: OpenPhase | None = None,
) -> RunResult:
  """Runs the phases of a choice that the user made.

  Args:
    marked: the marked file.
    plan: how it came from the plain file; None where it was given.
    training_data: the samples.
    request: what the user asked for.
    measuring_passes: passes that measured what a wide head joins.
    opened: the first phase, where it is open already.
  """
  masters = masters_of(marked.file, marked.mark)
  run_result = RunResult(marked, plan, masters, (), (), measuring_passes)
  phases = phases_of(
    marked, request.method, request.objective, training_data.pull
  )
  request.require_use([type(phase.method) for phase in phases])
  with request.stop.keeping():
    title = plan.trainable if plan else "as marked"
    for phase in request.each(title, phases):
      open_phase, opened = opened, None
      if open_phase is None:
        open_phase = open_marked(
          phase, marked, run_result.masters, training_data, request
        )
      phase_result = run_phase(
        open_phase,
        training_data,
        request.callbacks,
        passes_before=sum(
          o.graph.forward_passes for o in run_result.phase_results
        ),
      )
      last = phase_result
      stopped = any(callback.stop_training for callback in request.callbacks)
      ends = phase is phases[-1] and _is_exact(phase_result, request.is_dry)
      if ends and len(training_data.kept) and not stopped:
        # An exact phase needs samples kept aside but to see that it helps, and
        # every sample counts where there are few.
        with request.stop.keeping():
          whole = run_phase(open_phase, training_data.whole(), request.watchers)
          request.stop.check()  # no sample is aside to judge a part of it by
          last = whole
      run_result = dataclasses.replace(
        run_result,
        masters=last.masters,
        tried=(*run_result.tried, phase_result),
        phase_results=(*run_result.phase_results, last),
      )
      request.stop.check()
  if not run_result.tried:
    request.stop.check()
  return run_result


def _is_exact(phase_result: PhaseResult, is_dry: bool) -> bool:
  """Whether an exact phase ran, and was kept."""
  record = phase_result.record
  return record.phase.method.is_exact and (is_dry or record.kept_step > 0)


def from_the_file(
  model: ModelFile,
  result: PhaseResult,
  training_data: TrainingData,
  request: Request,
) -> tuple[PhaseResult, int]:
  """A head's phase whose start is the file as it came; the passes it took."""
  marked = mark_file(model, "head")
  graph = SplitModel(marked.file, marked.mark, request.runtime_options)
  kept, task = training_data.kept, training_data.task
  logits = logits_of(graph.suffix, graph.features(training_data.x[kept]))
  labels = graph.targets(training_data.labels, task)[kept]
  before = score(logits, labels, graph.loss(task))
  own = dataclasses.replace(result, start_logits=logits, before=before)
  return own, graph.forward_passes
