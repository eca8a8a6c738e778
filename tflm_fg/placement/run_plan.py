"""Run the phases of an adaptation to their end, on all clips in the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from tflm_fg.placement.candidates import Way
from tflm_fg.placement.measure import measured
from tflm_fg.placement.phase import Material, Outcome, perform, set_stage
from tflm_fg.placement.phase_record import Masters, Record, masters_of
from tflm_fg.placement.search import Trial, phases_of
from tflm_fg.placement.split_model import Host
from tflm_fg.tflite.select_trainable import Marked, Surgery, mark
from tflm_fg.tflite.split_graph import last_tensors
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.settings import Settings

WORTHWHILE = 0.1
"""Nats that information maximisation must gain on the clips kept aside."""


class Grown(NamedTuple):
  """A choice for `mark`, made.

  Attributes:
    trainable: what trains.
    surgery: how the file grew.
  """

  trainable: str
  surgery: Surgery


@dataclasses.dataclass(frozen=True)
class Course:
  """What a whole adaptation leaves behind.

  Attributes:
    marked: the file before training, marked.
    grown: how `marked` came from the plain file; None where it was given.
    masters: of its marked tensors, after training.
    tried: the phases as they ran with clips kept aside: scores and curves.
    outcomes: the phases as they made the masters.
    surveyed: passes that only measured what a wide head joins.
  """

  marked: Marked
  grown: Grown | None
  masters: Masters
  tried: tuple[Outcome, ...]
  outcomes: tuple[Outcome, ...]
  surveyed: int

  @property
  def records(self) -> tuple[Record, ...]:
    """Of the phases, to replay them."""
    return tuple(outcome.record for outcome in self.outcomes)


def follow(
  marked: Marked,
  grown: Grown | None,
  material: Material,
  settings: Settings,
  host: Host,
  callbacks: Sequence[Callback] = (),
  surveyed: int = 0,
) -> Course:
  """Runs the phases of a choice that the user made.

  Args:
    marked: the marked file.
    grown: how it came from the plain file; None where it was given.
    material: the clips.
    settings: as the user gave them.
    host: the engine.
    callbacks: told of every step.
    surveyed: passes that measured what a wide head joins.
  """
  masters = masters_of(marked.data, marked.mark)
  course = Course(marked, grown, masters, (), (), surveyed)
  phases = phases_of(marked, settings, material.task.is_exact)
  settings.require_use([phase.settings.method for phase in phases])
  for phase in phases:
    stage = set_stage(
      phase, marked.data, marked.mark, course.masters, material.x, host
    )
    outcome = perform(
      stage,
      material,
      callbacks,
      passes_before=sum(o.graph.forward_passes for o in course.outcomes),
    )
    last = outcome
    stopped = any(callback.stop_training for callback in callbacks)
    if _is_exact(outcome) and len(material.kept) and not stopped:
      # An exact phase needs clips kept aside but to see that it helps, and
      # every clip counts where there are few.
      last = perform(stage, material.whole(), callbacks)
    course = dataclasses.replace(
      course,
      masters=last.masters,
      tried=(*course.tried, outcome),
      outcomes=(*course.outcomes, last),
    )
  return course


def _is_exact(outcome: Outcome) -> bool:
  """Whether an exact phase ran, and was kept."""
  record = outcome.record
  return record.phase.settings.is_exact and record.kept_step > 0


def finish(
  model: bytes,
  way: Way,
  material: Material,
  settings: Settings,
  host: Host,
  callbacks: Sequence[Callback] = (),
) -> Course:
  """Goes a way that was tried once more, now with all clips.

  A phase that was worse than its start on the kept part is left out. Without
  labels nothing is done where there is nothing to gain: a model that is sure
  of its clips already would but drift.

  Args:
    model: the plain file.
    way: what was tried.
    material: the clips that it was tried on.
    settings: as the user gave them.
    host: the engine.
    callbacks: told of every step of forward gradients.
  """
  # A long search without a gradient needs clips to choose its best step by.
  everything = material.whole() if material.task.is_exact else material
  worth = material.labelled or way.start_loss - way.loss > WORTHWHILE
  helped = [worth and o.record.kept_step > 0 for o in way.outcomes]
  front = way.front.trainable if helped[0] and way.front.trainable else ""
  back = way.back if helped[-1] else ""
  found, surgery, outcomes, surveyed = model, way.surgery, [], 0
  if front:
    own = way.front.settings(settings)
    trial = Trial(model, front, surgery, own, host, material)
    outcomes.append(trial.run(everything, callbacks))
    found = trial.file(outcomes[0])
  if back == "wide-head":
    surgery, surveyed = measured(found, material.x, surgery, host)
  parts = [part for part in (front, back) if part]
  grown = Grown(",".join(parts) or "head", surgery)
  marked = mark(model, grown.trainable, surgery=surgery)
  masters = masters_of(marked.data, marked.mark)
  if front:  # its tensors have the same indices in the file that grew further
    for index in outcomes[0].record.phase.tensors:
      masters[index] = outcomes[0].masters[index]
  if back:
    tensors = tuple(t.index for t in last_tensors(marked.mark))
    phase = way.outcomes[-1].record.phase._replace(tensors=tensors)
    stage = set_stage(
      phase, marked.data, marked.mark, masters, material.x, host
    )
    outcomes.append(perform(stage, everything))
    masters = outcomes[-1].masters
  return Course(marked, grown, masters, way.outcomes, tuple(outcomes), surveyed)
