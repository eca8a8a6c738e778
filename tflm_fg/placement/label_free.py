"""Choose where to train without labels, by how sure and varied answers get.

Information maximisation follows whatever it is shown: samples of two classes
are spread over all classes, and the model forgets what it knew. No label says
so, but two facts tell the cases apart. An input stage has few numbers and sees
every sample: where it undoes a shift, the model gets surer of single samples
and more varied at once; where it only spreads answers, the model gets less
sure. A head has numbers enough to be sure of anything, so it is trained where
the answers in front of it are varied already, and pulled to its start the more,
the fewer the samples are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.method import Method, registered
from tflm_fg.gradients.per_sample import PerSample
from tflm_fg.losses.base import Entropies
from tflm_fg.placement.candidates import (
  HARM,
  INPUT_STAGES,
  NOTHING,
  Candidate,
  Dropped,
  FoundCandidate,
  FoundInputStage,
  InputStage,
  taken_by,
)
from tflm_fg.placement.request import BEST, Request, TrainingData
from tflm_fg.placement.run_plan import Trial, phases_of
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.training.metrics import logits_of
from tflm_fg.types import Array, NotApplicable

GAINED = 0.04
"""Information that an input stage must gain, as a share of the most there can
be; a tenth of a nat for twelve classes. A nat for every number that it has, by
the number of samples, is what it gains where there is nothing to find."""

VARIED, ENOUGH = 0.85, 0.7
"""How varied answers must be, as a share of what they can be, for a head to
train freely, and to train at all. Two thirds of twelve classes give 0.84."""

REACHED = 0.65
"""Share of the best information that outputs of two answers must reach."""

PULL, PULL_SAMPLES = 0.3, 10
"""Lambda of a head's pull where answers are not varied. Where they are, it is
as if so many samples said that the head should stay, and at most as much."""


class Seen(NamedTuple):
  """An input stage, or none, with the model's answers behind it.

  Attributes:
    stage: what was found.
    graph: gave the answers.
    logits: integers [N, C] of all samples.
    entropies: of these.
  """

  stage: FoundInputStage
  graph: SplitModel
  logits: Array
  entropies: Entropies

  @property
  def by_chance(self) -> float:
    """Nats that an input stage gains on samples with nothing to find."""
    numbers = sum(tensor.numbers for tensor in self.stage.tensors)
    return numbers / len(self.logits)


def try_label_free(
  model: ModelFile, training_data: TrainingData, request: Request
) -> tuple[list[FoundCandidate], list[Dropped]]:
  """Finds the best input stage, if one helps, and tries a head behind it.

  Args:
    model: the plain file.
    training_data: samples without labels.
    request: what the user asked for.

  Returns:
    The untouched file, the input stage that helps most and the head behind it,
    as far as they may be trained; what was dropped, with the reason.
  """
  stages, dropped = input_stages_of(model, request)
  last = phases_of(mark_file(model, "head"), request.method, request.objective)
  kinds = [stage.kind for stage in stages]
  request.require_use([*kinds, *(type(phase.method) for phase in last)])
  request.tell_plan(
    *[(stage.title, stage.kind.name) for stage in stages],
    ("head", last[0].method.name),
    (BEST, last[0].method.name),
  )
  start = _untouched(model, training_data, request)
  found = []
  cures = [start]
  with request.stop.keeping():
    for seen in _found(model, stages, training_data, request, dropped):
      fault = _fault(seen, start, cures[-1], training_data)
      if fault:
        title = seen.stage.input_stage.title
        dropped.append(Dropped(title, fault, seen.graph))
      else:
        cures.append(seen)
      request.stop.check()
    found = _with_head(cures[-1], training_data, request, dropped)
  alone = [_without_head(seen, training_data, request) for seen in cures]
  return alone + found, dropped


def _fault(
  seen: Seen, start: Seen, best: Seen, training_data: TrainingData
) -> str:
  """Why an input stage is not taken; empty where it is.

  Args:
    seen: it, with the answers behind it.
    start: the untouched file.
    best: the best so far.
    training_data: the samples.
  """
  fault = no_gain(best.entropies, seen.entropies, seen.by_chance)
  if not fault and seen.stage.input_stage.kind is PerSample:
    fault = spreads(start.entropies, seen.entropies)
  if not fault and training_data.task.is_binary:
    fault = unsure(seen.entropies.information)
  return fault


def input_stages_of(
  model: ModelFile, request: Request
) -> tuple[list[InputStage], list[Dropped]]:
  """The input stages that a file and a method allow, the cheapest first.

  Returns:
    The input stages, and those that the file does not take.
  """
  if not request.is_auto:  # one method for all: what it trains is the head
    return [], []
  wanted = list(INPUT_STAGES)
  own = read_mark(model)
  if own is not None and own.statistics:
    wanted += [
      InputStage(kind.label_free_stage, kind=kind)
      for kind in registered().values()
      if kind.label_free_stage
    ]
  return taken_by(model, wanted)


def no_gain(best: Entropies, stage: Entropies, by_chance: float) -> str:
  """Says where an input stage gains too little; empty where it gains enough.

  Args:
    best: of the best file so far.
    stage: behind the input stage.
    by_chance: nats that it gains where there is nothing to find.
  """
  wanted = best.information + max(GAINED * best.most, by_chance)
  if stage.information > wanted:
    return ""
  return (
    f"its answers tell {stage.information:.2f} nats of a sample; more than "
    f"{wanted:.2f} would be worth a change"
  )


def spreads(start: Entropies, stage: Entropies) -> str:
  """Says where an input stage has maximised information to no good.

  Args:
    start: of the untouched file.
    stage: behind the input stage.
  """
  if stage.own > start.own:
    return (
      "the model got less sure of single samples (entropy "
      f"{start.own:.2f} -> {stage.own:.2f} nats): it spreads its answers, as "
      "where samples are of few classes"
    )
  if stage.of_mean <= start.of_mean + GAINED / 2 * start.most:
    return (
      "the model got surer of the answers that it gave before, and they are no "
      f"more varied (entropy {start.of_mean:.2f} -> {stage.of_mean:.2f} nats)"
    )
  return ""


def unsure(information: float) -> str:
  """Says why outputs of two answers stay as they are; empty if they may move.

  Two answers are varied soon, whatever the truth is: a detector that a shift
  makes say yes to a third of the samples looks the same as one that hears as
  many. What tells them apart is where training ends: only samples that lie in
  two groups let it get sure of both answers.

  Args:
    information: what an answer tells of its sample in the end, in nats.
  """
  wanted = REACHED * math.log(2)
  if information >= wanted:
    return ""
  return (
    f"its answers tell {information:.2f} nats of a sample; of outputs with two "
    f"answers less than {wanted:.2f} may come from any split of the samples"
  )


def pull_of(entropies: Entropies, samples: int) -> float | None:
  """How much a head is pulled to its start; None where it may not train.

  Args:
    entropies: of the answers before it trains.
    samples: how many there are.
  """
  if entropies.variety < ENOUGH:
    return None
  if entropies.variety < VARIED:
    return PULL
  return min(PULL, PULL_SAMPLES / samples)


def _untouched(
  model: ModelFile, training_data: TrainingData, request: Request
) -> Seen:
  """The file as it is, with its answers."""
  marked = mark_file(model, "head", graph_options=request.graph_options)
  graph = SplitModel(marked.file, marked.mark, request.runtime_options)
  logits = logits_of(
    graph.suffix, graph.features(training_data.x, request.memo)
  )
  entropies = graph.loss(training_data.task).entropies(logits)
  return Seen(FoundInputStage(NOTHING, model), graph, logits, entropies)


def _found(
  model: ModelFile,
  stages: list[InputStage],
  training_data: TrainingData,
  request: Request,
  dropped: list[Dropped],
) -> Iterator[Seen]:
  """Each input stage found on all samples, with the answers behind it."""
  for stage in stages:
    trial = Trial(model, stage.trainable, stage.request(request), training_data)
    try:
      result = trial.run(training_data.whole(), request.callbacks)
    except NotApplicable as fault:  # it moves no output of these samples
      dropped.append(Dropped(stage.title, str(fault)))
      continue
    loss = result.graph.loss(training_data.task)
    yield Seen(
      FoundInputStage(stage, trial.file(result), trial.tensors, result),
      result.graph,
      result.logits,
      loss.entropies(result.logits),
    )


def _without_head(
  seen: Seen, training_data: TrainingData, request: Request
) -> FoundCandidate:
  """The candidate of an input stage, or of none, alone."""
  kept = seen.logits[training_data.kept]
  loss = seen.graph.loss(training_data.task).entropies(kept)
  candidate = _candidate(seen, "", -loss.information, request)
  return FoundCandidate(candidate, seen.stage, _head_method(seen, 0.0, request))


def _with_head(
  seen: Seen,
  training_data: TrainingData,
  request: Request,
  dropped: list[Dropped],
) -> list[FoundCandidate]:
  """The candidate of an input stage, or of none, with a head, if it may be."""
  title = ", ".join(t for t in (seen.stage.input_stage.trainable, "head") if t)
  pull = pull_of(seen.entropies, len(training_data.x))
  if pull is None:
    fault = (
      f"the answers are {seen.entropies.variety:.0%} as varied as they can be; "
      f"without labels a head trains from {ENOUGH:.0%} on, since it would "
      "spread samples of few classes over all of them"
    )
    dropped.append(Dropped(title, fault))
    return []
  method = _head_method(seen, pull, request)
  asked = dataclasses.replace(
    request,
    method=method,
    graph_options=seen.stage.input_stage.request(request).graph_options,
  )
  result = Trial(seen.stage.file, "head", asked, training_data).run(
    training_data, request.watchers
  )
  fault = "" if result.record.kept_step else HARM
  if not fault and training_data.task.is_binary:
    fault = unsure(-result.after.loss)
  if fault:
    dropped.append(Dropped(title, fault, result.graph))
    return []
  candidate = _candidate(seen, "head", result.after.loss, request)
  candidate = candidate._replace(pull=pull, graph=result.graph)
  return [FoundCandidate(candidate, seen.stage, method)]


def _head_method(seen: Seen, pull: float, request: Request) -> Method:
  """What trains the head; only a closed form is pulled."""
  marked = mark_file(seen.stage.file, "head")
  (phase,) = phases_of(marked, request.method, request.objective)
  if not phase.method.is_exact:
    return phase.method
  pulled = request.method.as_phase(ClosedForm, pull=pull)
  return pulled.filled(request.objective.is_quadratic)


def _candidate(
  seen: Seen, head: str, loss: float, request: Request
) -> Candidate:
  result = seen.stage.result
  return Candidate(
    seen.stage.input_stage,
    head,
    seen.stage.input_stage.request(request).graph_options,
    () if result is None else (result,),
    (),
    np.array([loss]),
    math.nan,
    np.array([loss]),
    graph=seen.graph,
  )
