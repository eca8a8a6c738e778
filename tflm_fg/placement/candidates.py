"""Compare candidates by samples that they have not seen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.gradients.method import Method
from tflm_fg.gradients.per_sample import PerSample
from tflm_fg.gradients.spsa import SignSPSA
from tflm_fg.placement.fold_losses import (
  FOLDS,
  STAGE_SURELY,
  SURELY,
  losses_of,
  surely_lower,
)
from tflm_fg.placement.phase import PhaseResult
from tflm_fg.placement.request import Request, TrainingData
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.tflite.graph_options import GraphOptions, bits_of_room
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.training.data import folds
from tflm_fg.types import NotApplicable, TrainableTensor

MOST_WEIGHTS = 1 << 18
"""A wide head of more weights is tried only where a user asks for it."""


HARM = "it was worse than its start on the samples kept aside"
"""Why a stage or a head is dropped that trained."""


class InputStage(NamedTuple):
  """What is found first, by forward gradients.

  Attributes:
    trainable: as for `mark_trainable`; empty for nothing.
    gain: of a prompt, whether it has one.
    kind: the method that finds it.
    common_gain: whether that gain is one number for all channels.
  """

  trainable: str
  gain: bool = False
  kind: type[Method] = SignSPSA
  common_gain: bool = False

  def request(self, request: Request) -> Request:
    """A user's request, for this stage."""
    method = request.method
    if self.kind is not SignSPSA:
      method = method.as_phase(self.kind)
    graph_options = dataclasses.replace(
      request.graph_options, gain=self.gain, common_gain=self.common_gain
    )
    return dataclasses.replace(
      request, method=method, graph_options=graph_options
    )

  @property
  def title(self) -> str:
    """Its name, for people."""
    if self.kind not in (SignSPSA, PerSample):
      return f"{self.trainable} by {self.kind.name}"
    return self.trainable + ("+gain" if self.gain else "")


class Candidate(NamedTuple):
  """Where to train, and what trying it on parts of the samples gave.

  Attributes:
    input_stage: what was found first.
    head: what was found then: "head", "wide-head" or empty for nothing.
    graph_options: how the file grew.
    phase_results: of both, with the kept part kept aside.
    others: of the head with each of the other folds kept aside.
    losses: float64 [N] with labels, of all samples, each kept aside once from
      the head, see `cooled_losses` (of classes in nats, else the loss as it
      is); [1] on the kept part without, or where a loss is of all samples.
    accuracy: on the kept part; nan without classes.
    unseen: those of the losses that are of the kept part, which no phase saw.
    measuring_passes: passes that measured what a wide head joins.
    pull: of the head, where it was fitted without an engine.
    graph: ran the samples up to such a head; None where phases did.
  """

  input_stage: InputStage
  head: str
  graph_options: GraphOptions
  phase_results: tuple[PhaseResult, ...]
  others: tuple[PhaseResult, ...]
  losses: NDArray[np.float64]
  accuracy: float
  unseen: NDArray[np.float64]
  measuring_passes: int = 0
  pull: float = 0.0
  graph: SplitModel | None = None

  @property
  def loss(self) -> float:
    """Mean of the losses."""
    return float(self.losses.mean())

  @property
  def is_whole(self) -> bool:
    """Whether no phase was worse than its start on the kept part."""
    return all(
      phase_result.record.kept_step for phase_result in self.phase_results
    )

  @property
  def trainable(self) -> str:
    """As for `mark_trainable`."""
    return ",".join(p for p in (self.input_stage.trainable, self.head) if p)

  @property
  def title(self) -> str:
    """Its name, for people."""
    parts = [p for p in (self.input_stage.title, self.head) if p]
    roomy = self.head and self.graph_options.head_room
    with_room = f" with {bits_of_room(self.graph_options)}" if roomy else ""
    return (", ".join(parts) or "nothing") + with_room


NOTHING = InputStage("")

INPUT_STAGES = (
  InputStage("prompt", kind=PerSample),
  InputStage("prompt", gain=True, kind=PerSample, common_gain=True),
)
"""What is tried in front of a head, the cheapest first."""


class FoundInputStage(NamedTuple):
  """An input stage that was found, or none.

  Attributes:
    input_stage: which.
    file: the plain file with what was found.
    tensors: what trained.
    result: what training them gave; None for none.
  """

  input_stage: InputStage
  file: ModelFile
  tensors: tuple[TrainableTensor, ...] = ()
  result: PhaseResult | None = None


class FoundCandidate(NamedTuple):
  """A candidate with what it takes to train it.

  Attributes:
    candidate: what was tried.
    found_stage: its input stage.
    head_method: fits its head.
    notes: of it, for people.
    room_tried: whether its head was tried with room for its weights too.
  """

  candidate: Candidate
  found_stage: FoundInputStage
  head_method: Method
  notes: tuple[str, ...] = ()
  room_tried: bool = False


class Dropped(NamedTuple):
  """What was not tried to its end, or not to be chosen.

  Attributes:
    candidate: its name, for people.
    reason: why.
    graph: ran the samples until then; None where nothing ran.
  """

  candidate: str
  reason: str
  graph: SplitModel | None = None


def taken_by(
  model: ModelFile, wanted: Iterable[InputStage]
) -> tuple[list[InputStage], list[Dropped]]:
  """The input stages that a file takes, and those that it does not."""
  stages, dropped = list[InputStage](), list[Dropped]()
  for stage in wanted:
    # An input that is not int8 takes no prompt, an odd layer trains nothing.
    try:
      mark_file(model, stage.trainable)
      stages.append(stage)
    except NotApplicable as fault:
      dropped.append(Dropped(stage.title, str(fault)))
  return stages, dropped


def parts_of(training_data: TrainingData) -> list[TrainingData]:
  """The samples with each fold kept aside in turn, the kept part first."""
  if not training_data.labelled:
    return [training_data]
  strata = training_data.task.strata(training_data.labels)
  others = folds(strata[training_data.fit], FOLDS - 1, 0)
  kept = [
    training_data.kept,
    *(training_data.fit[others == n] for n in range(FOLDS - 1)),
  ]
  everything = np.arange(len(training_data.x))
  return [
    dataclasses.replace(
      training_data, fit=np.setdiff1d(everything, part), kept=part
    )
    for part in kept
  ]


def candidate_of(
  input_stage: InputStage,
  head: str,
  graph_options: GraphOptions,
  first: tuple[PhaseResult, ...],
  tries: tuple[PhaseResult, ...],
  training_data: TrainingData,
  measuring_passes: int,
) -> Candidate:
  """Scores what was tried.

  Args:
    input_stage: what was found first.
    head: what was found then.
    graph_options: how the file grew.
    first: the input stage's result, if there is one.
    tries: the last phase's results, the one on the kept part first.
    training_data: the samples.
    measuring_passes: passes that measured what a wide head joins.
  """
  kept, *others = tries
  losses, accuracy = np.array([kept.after.loss]), math.nan
  if training_data.labelled:
    targets = kept.graph.targets(training_data.labels, training_data.task)
    labels = [targets[part.kept] for part in parts_of(training_data)]
    losses = losses_of(
      [t.logits for t in tries], labels, kept.graph, training_data.task
    )
    if kept.after.accuracy is not None:
      accuracy = kept.after.accuracy
  return Candidate(
    input_stage,
    head,
    graph_options,
    (*first, kept),
    tuple(others),
    losses,
    accuracy,
    losses[: len(kept.logits)] if training_data.labelled else losses,
    measuring_passes,
  )


def heads_of(
  model: ModelFile, may_widen: bool, graph_options: GraphOptions
) -> tuple[list[str], list[Dropped]]:
  """The heads that a file allows, the simpler first, and what it does not."""
  if not may_widen:
    return ["head"], []
  try:  # There may be no layer to join, or none of int8.
    wide = mark_file(model, "wide-head", graph_options=graph_options).mark
  except NotApplicable as fault:
    return ["head"], [Dropped("wide-head", str(fault))]
  if wide.numbers > MOST_WEIGHTS:
    reason = (
      f"{wide.numbers} numbers are more than {MOST_WEIGHTS}, which is tried "
      "with --trainable=wide-head alone"
    )
    return ["head"], [Dropped("wide-head", reason)]
  return ["head", "wide-head"], []


def best_candidate(candidates: Sequence[Candidate]) -> Candidate:
  """The best candidate: for each input stage its better head, then the best.

  A wide head has more to learn from the samples that were kept aside than a
  head has, so it is taken unless the head is surely better: by more than
  `SURELY` standard errors of the difference. An input stage has seen all
  samples but the kept part, so it is taken only where it is surely better than
  none there.

  Candidates that would be left out in part are taken where there are no others.
  Where all samples were kept aside in folds, the lowest loss is the best of
  those that are surely better than the untouched file.

  Args:
    candidates: as `try_candidates` gives them.
  """
  if all(candidate.graph is not None for candidate in candidates):
    return min(_sure(candidates), key=lambda candidate: candidate.loss)
  candidates = [
    candidate for candidate in candidates if candidate.is_whole
  ] or candidates
  finalists = []
  for stage in dict.fromkeys(c.input_stage for c in candidates):
    best, *wider = (c for c in candidates if c.input_stage == stage)
    for candidate in wider:
      if not surely_lower(best.losses, candidate.losses):
        best = candidate
    finalists.append(best)
  bare, *others = finalists
  if bare.input_stage.trainable:  # no head helps alone
    return min(finalists, key=lambda candidate: candidate.loss)
  better = [c for c in others if surely_lower(c.unseen, bare.unseen)]
  return min(better, key=lambda candidate: candidate.loss, default=bare)


def _sure(candidates: Sequence[Candidate]) -> list[Candidate]:
  """The untouched file and what is surely better; all where it is not there.

  Without labels one number judges, and what is no gain was dropped before.
  """
  untouched = [c for c in candidates if not c.trainable and len(c.losses) > 1]
  if not untouched:
    return list(candidates)
  start = untouched[0]
  return [start] + [
    candidate
    for candidate in candidates
    if surely_lower(
      candidate.losses,
      start.losses,
      STAGE_SURELY if candidate.input_stage.trainable else SURELY,
    )
  ]
