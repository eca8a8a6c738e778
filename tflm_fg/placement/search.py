"""Choose where to put the trainable numbers, by trying and measuring.

A way of adapting is a front (nothing, an input prompt, a prompt with a gain,
the first layer's biases), found by forward gradients, and then a head (nothing,
the head, a wide head), found exactly. Each is tried on a part of the samples
and scored on the others, which are kept aside.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from tflm_fg.placement.candidates import (
  Candidate,
  Dropped,
  InputStage,
  candidate_of,
  parts_of,
)
from tflm_fg.placement.measure import measured
from tflm_fg.placement.phase import (
  OpenPhase,
  PhaseResult,
  TrainingData,
  open_for,
  run_phase,
)
from tflm_fg.placement.phase_record import Phase, masters_of, write_masters
from tflm_fg.placement.split_model import RuntimeOptions
from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.select_trainable import (
  GraphOptions,
  MarkedModel,
  mark_trainable,
)
from tflm_fg.tflite.split_graph import exact_tensors
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.defaults import AUTO_FORWARD
from tflm_fg.training.settings import Settings
from tflm_fg.types import NotApplicable, TrainableTensor

FEW_NUMBERS = 256
"""Up to so many numbers a few hundred steps of forward gradients do."""

MOST_WEIGHTS = 1 << 18
"""A wide head of more weights is tried only where a user asks for it."""

HARM = "it was worse than its start on the samples kept aside"
"""Why an input stage is dropped that trained."""

QUICK = {"steps": 200, "validate_every": 200}
"""A phase of forward gradients on few numbers."""

LONG = {"steps": 2000, "validate_every": 50, "patience": 10}
"""The same on many."""


def phases_of(
  marked: MarkedModel, settings: Settings, exact: bool = True
) -> list[Phase]:
  """The phases for a choice that the user made.

  Under "auto" whatever is not the head comes first, by forward gradients, and
  then the head, exactly where it can be.

  Args:
    marked: the marked file.
    settings: as the user gave them.
    exact: whether the loss has a gradient.
  """
  tensors = marked.mark.trainable
  everything = tuple(t.index for t in tensors)
  if settings.method != "auto":
    return [Phase(everything, settings.under(settings.method))]
  last = exact_tensors(marked.data, marked.mark)
  head = last if exact else ()
  rest = [t for t in tensors if t.index not in head]
  phases = []
  if rest:
    few = sum(t.numbers for t in rest) <= FEW_NUMBERS
    few &= all(t.index not in last for t in rest)  # a head has far to go
    own = settings.under(AUTO_FORWARD, **(QUICK if few else LONG))
    phases.append(Phase(tuple(t.index for t in rest), own))
  if head:
    phases.append(Phase(head, settings.under("closed-form")))
  return phases


def input_stages_of(
  model: bytes, labelled: bool, method: str
) -> tuple[list[InputStage], list[Dropped]]:
  """The input stages that a file and a method allow, the cheapest first.

  Returns:
    The input stages, and those that the file does not take.
  """
  if method != "auto":  # one method for all: what it trains is the back
    return [InputStage("")], []
  wanted = [
    InputStage("prompt"),
    InputStage("prompt", gain=True),
    InputStage("first-bias"),
  ]
  input_stages, dropped = [InputStage("")], []
  if not labelled:
    wanted = [InputStage("prompt")]
    own = training_metadata.read_mark(model)
    if own is not None and own.statistics:
      wanted.append(InputStage("inner-bias", method="statistics"))
  for front in wanted:
    # An input that is not int8 takes no prompt, an odd layer trains nothing.
    try:
      mark_trainable(model, front.trainable)
      input_stages.append(front)
    except NotApplicable as fault:
      dropped.append(Dropped(front.title, str(fault)))
  return input_stages, dropped


def try_candidates(
  model: bytes,
  training_data: TrainingData,
  settings: Settings,
  runtime_options: RuntimeOptions,
  graph_options: GraphOptions,
  callbacks: Sequence[Callback] = (),
) -> tuple[list[Candidate], list[Dropped]]:
  """Tries every way that the file allows.

  A front never sees the kept part. A head is cheap and exact, so with labels
  it is tried once for every fold of the samples; the kept part is one of them.

  Args:
    model: the plain file.
    training_data: the samples.
    settings: as the user gave them.
    runtime_options: the engine.
    graph_options: what a wide head joins, as the user gave it.
    callbacks: told of every step.

  Returns:
    The ways, the simpler first, and what was dropped: what the file does not
    take, and input stages that moved no output or did harm.
  """
  candidates = []
  input_stages, dropped = input_stages_of(
    model, training_data.labelled, settings.method
  )
  last = phases_of(
    mark_trainable(model, "head"), settings, training_data.task.is_exact
  )
  settings.require_use(
    [front.runs for front in input_stages if front.trainable]
    + [phase.settings.method for phase in last]
  )
  for front in input_stages:
    own = dataclasses.replace(graph_options, gain=front.gain)
    found, first = model, tuple[PhaseResult, ...]()
    if front.trainable:
      trial = Trial(
        model,
        front.trainable,
        own,
        front.settings(settings),
        runtime_options,
        training_data,
      )
      try:
        first = (trial.run(training_data, callbacks),)
      except NotApplicable as fault:  # it moves no output of these samples
        dropped.append(Dropped(front.title, str(fault)))
        continue
      if not first[0].record.kept_step:
        dropped.append(Dropped(front.title, HARM))
        continue  # worse than nothing, which has been tried
      found = trial.file(first[0])
    # Without an exact gradient thousands of weights are too many to try.
    may_widen = training_data.labelled and training_data.task.is_exact
    heads, without = _heads_of(found, may_widen, own)
    dropped += [d for d in without if d not in dropped]
    for head in heads:
      plan, measuring_passes = own, 0
      if head == "wide-head":
        plan, measuring_passes = measured(
          found, training_data.x, own, runtime_options
        )
      trial = Trial(found, head, plan, settings, runtime_options, training_data)
      parts = parts_of(training_data) if trial.is_exact else [training_data]
      tries = tuple(trial.run(part) for part in parts)
      candidates.append(
        candidate_of(
          front, head, plan, first, tries, training_data, measuring_passes
        )
      )
  return candidates, dropped


def _heads_of(
  model: bytes, may_widen: bool, graph_options: GraphOptions
) -> tuple[list[str], list[Dropped]]:
  """The heads that a file allows, the simpler first, and what it does not."""
  if not may_widen:
    return ["head"], []
  try:  # There may be no layer to join, or none of int8.
    wide = mark_trainable(model, "wide-head", graph_options=graph_options).mark
  except NotApplicable as fault:
    return ["head"], [Dropped("wide-head", str(fault))]
  if wide.numbers > MOST_WEIGHTS:
    reason = (
      f"{wide.numbers} numbers are more than {MOST_WEIGHTS}, which is tried "
      "with --trainable=wide-head alone"
    )
    return ["head"], [Dropped("wide-head", reason)]
  return ["head", "wide-head"], []


@dataclasses.dataclass(frozen=True)
class Trial:
  """One phase on a file that is marked for it alone."""

  model: bytes
  trainable: str
  graph_options: GraphOptions
  settings: Settings
  runtime_options: RuntimeOptions
  training_data: TrainingData

  @functools.cached_property
  def _marked(self) -> MarkedModel:
    return mark_trainable(
      self.model, self.trainable, graph_options=self.graph_options
    )

  @functools.cached_property
  def _open_phase(self) -> OpenPhase:
    marked = self._marked
    (phase,) = phases_of(
      marked, self.settings, self.training_data.task.is_exact
    )
    start = masters_of(marked.data, marked.mark)
    return open_for(
      phase,
      marked.data,
      marked.mark,
      start,
      self.training_data.x,
      self.runtime_options,
    )

  @property
  def tensors(self) -> tuple[TrainableTensor, ...]:
    """What is trainable in the file that is marked for it."""
    return self._marked.mark.trainable

  @property
  def is_exact(self) -> bool:
    """Whether its gradient has a closed form, so that a run costs little."""
    return self._open_phase.phase.settings.is_exact

  def run(
    self, training_data: TrainingData, callbacks: Sequence[Callback] = ()
  ) -> PhaseResult:
    """Runs it on some samples, each time from the start."""
    return run_phase(self._open_phase, training_data, callbacks)

  def file(self, phase_result: PhaseResult) -> bytes:
    """The plain file with what the phase found."""
    marked = self._marked
    written = write_masters(marked.data, marked.mark, phase_result.masters)
    return training_metadata.strip(written)
