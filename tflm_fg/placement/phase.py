"""Train some of the marked tensors for a while, then others: one master.

A phase is a set of tensors and one method. It opens the file with the weights
that the phases before it left, cut at its own tensors, so that what it does
not train runs once a sample. The masters of all tensors go from phase to phase.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.closed_form import Head, carried_centre
from tflm_fg.losses.base import Loss
from tflm_fg.placement.phase_record import Masters, Phase, Record, write_masters
from tflm_fg.placement.split_model import Graph, RuntimeOptions
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.parallel import Choice
from tflm_fg.tflite.layers import activations_of, outputs_of
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.callbacks import (
  Callback,
  EarlyStopping,
  History,
  KeepUnlessWorse,
  ModelCheckpoint,
  SlopeRecorder,
)
from tflm_fg.training.data import Batches
from tflm_fg.training.metrics import Score, logits_of, score
from tflm_fg.training.objective import Task
from tflm_fg.training.settings import Settings
from tflm_fg.training.trainer import StepRule, evaluate, fit
from tflm_fg.training.tuning import Growing, has_to_spare, tried, tuned
from tflm_fg.types import Array, Mark, Params, Samples, Tensors

GUARD_SAMPLES = 32
"""Training samples that the write-visibility guard runs."""


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """The samples that phases learn from.

  Attributes:
    x: [N, ...] on the model's input grid.
    labels: int64 [N], -1 where there are none; real targets are float64, and
      each graph puts them on its own grid.
    fit: indices of those to train on.
    kept: indices of those kept aside.
    task: what is learned from them.
  """

  x: Array
  labels: Array
  fit: Array
  kept: Array
  task: Task

  @property
  def labelled(self) -> bool:
    """Whether training looks at the labels."""
    return self.task.labelled

  def whole(self) -> TrainingData:
    """The same samples with none kept aside."""
    everything = np.arange(len(self.x))
    return dataclasses.replace(self, fit=everything, kept=everything[:0])


@dataclasses.dataclass(frozen=True)
class PhaseResult:
  """What a phase leaves behind.

  Attributes:
    masters: of all marked tensors.
    record: to replay it.
    before: score of the part kept aside (or of the training part, where none
      is) as the phase found it.
    after: the same at the kept step.
    start_logits: integers [K, C] of that part as the phase found it.
    logits: the same at the kept step.
    history: curves.
    reasons: what was tuned, and why.
    graph: what ran it, with its counts.
    choice: how it ran.
    cached_bytes: of the samples in front of the trained part.
  """

  masters: Masters
  record: Record
  before: Score
  after: Score
  start_logits: Array
  logits: Array
  history: History
  reasons: dict[str, str]
  graph: Graph
  choice: Choice
  cached_bytes: int


@dataclasses.dataclass(frozen=True)
class OpenPhase:
  """A phase whose file is open, with the samples in front of what trains.

  Attributes:
    phase: its settings have a batch size.
    masters: of all marked tensors, as the phase finds them.
    layout: of the phase's tensors.
    graph: the open file.
    choice: how it runs.
    inputs: of all samples, what flows into the trained part.
  """

  phase: Phase
  masters: Masters
  layout: Layout
  graph: Graph
  choice: Choice
  inputs: Tensors


def open_for(
  phase: Phase,
  marked: Source,
  mark: Mark,
  masters: Masters,
  x: Array,
  runtime_options: RuntimeOptions,
) -> OpenPhase:
  """Opens the file for a phase; several runs may start from there.

  Args:
    phase: what and how.
    marked: the marked file, before any training.
    mark: its mark.
    masters: where training stands.
    x: all samples [N, ...] on the model's input grid.
    runtime_options: the engine.

  Raises:
    TflmFgError: if a write to one of the tensors is not seen, or the settings
      do not suit how they are held.
  """
  chosen = tuple(t for t in mark.trainable if t.index in phase.tensors)
  layout = Layout(chosen)
  phase.settings.require_layout(layout)
  part = dataclasses.replace(mark, trainable=chosen)
  file = write_masters(marked, mark, masters)
  graph = Graph(file, part, runtime_options, _taps(phase, file, part))
  inputs = graph.features(x)
  settings = graph.filled(phase.settings)
  batch = tuple(a[: settings.batch_size] for a in inputs)
  choice = graph.settle(batch, settings.passes_at_once())
  spread = np.linspace(0, len(x) - 1, min(GUARD_SAMPLES, len(x))).astype(int)
  probes = tuple(a[spread] for a in inputs)
  write_check.require_visible(graph.suffix, chosen, probes)
  filled = phase._replace(settings=settings)
  return OpenPhase(filled, masters, layout, graph, choice, inputs)


def _taps(phase: Phase, marked: ModelFile, part: Mark) -> list[int]:
  """The activations that a method looks at beside the logits."""
  operators = [t.operator for t in part.trainable]
  if phase.settings.method == "node":
    return list(activations_of(marked.subgraph, operators).values())
  if phase.settings.method == "statistics":
    return list(outputs_of(marked.subgraph, operators).values())
  return []


def run_phase(
  open_phase: OpenPhase,
  training_data: TrainingData,
  callbacks: Sequence[Callback] = (),
  passes_before: int = 0,
) -> PhaseResult:
  """Runs a phase on some samples.

  Args:
    open_phase: where it begins.
    training_data: the samples; `x` is what the stage was set with.
    callbacks: told of every step.
    passes_before: forward passes of earlier phases, for the curves.

  Raises:
    TflmFgError: if the method does not fit the tensors.
  """
  graph, layout, settings = (
    open_phase.graph,
    open_phase.layout,
    open_phase.phase.settings,
  )
  everything = _samples(open_phase, training_data)
  samples, kept = (
    everything.take(training_data.fit),
    everything.take(training_data.kept),
  )
  batches = Batches(len(samples), settings.batch_size, settings.seed)
  params = layout.gather(open_phase.masters)
  loss = graph.loss(training_data.task)
  head = graph.head(samples, training_data.task) if settings.is_exact else None
  passes = BatchPasses(graph.suffix, loss, samples, graph.helpers)
  passes.use(samples.take(batches.at(0)))
  run = functools.partial(
    fit,
    session=graph.suffix,
    helpers=graph.helpers,
    loss=loss,
    samples=samples,
    batches=batches,
  )
  scored = kept if len(kept) else samples

  def short(own: Settings) -> Score:
    step_rule = own.step_rule(layout, batches.size)
    end = run(
      step_rule=step_rule, state=step_rule.start(params), steps=own.steps
    ).params
    return evaluate(graph.suffix, layout.weights(end), scored, loss)

  settings, reasons = tuned(settings, layout, params, passes, loss)
  if has_to_spare(open_phase.phase.settings):
    settings, reasons["learning_rate_lsb"] = tried(settings, short)
  centre = carried_centre(head, layout)
  step_rule = _rule(settings, open_phase, head, centre, batches.size, loss)
  recorder, history = SlopeRecorder(), History()
  best = _keeper(settings, training_data)
  watchers: list[Callback] = [recorder, history, best, *callbacks]
  if settings.patience:
    watchers.append(EarlyStopping(settings.patience))
  state = run(
    step_rule=step_rule,
    state=step_rule.start(params),
    steps=settings.steps,
    validation=kept,
    validate_every=settings.validate_every,
    callbacks=watchers,
    adjust=None if settings.is_exact else Growing(settings.patience),
    passes_before=passes_before,
  )
  trained, kept_step = state.params, state.step
  if best.best is not None:
    trained, kept_step = best.best, best.best_step
  ends = params, trained
  before, after = (_answers(graph, layout, p, scored) for p in ends)
  return PhaseResult(
    masters={**open_phase.masters, **layout.scatter(trained)},
    record=Record(
      Phase(open_phase.phase.tensors, settings),
      batches.size,
      centre,
      recorder.slopes,
      kept_step,
    ),
    before=score(before, scored.labels, loss),
    after=score(after, scored.labels, loss),
    start_logits=before,
    logits=after,
    history=history,
    reasons=reasons,
    graph=graph,
    choice=open_phase.choice,
    cached_bytes=sum(a.nbytes for a in open_phase.inputs),
  )


def _rule(
  settings: Settings,
  open_phase: OpenPhase,
  head: Head | None,
  centre: tuple[int, ...],
  size: int,
  loss: Loss,
) -> StepRule:
  """What turns the passes of a batch of some size into steps."""
  layout, graph = open_phase.layout, open_phase.graph
  if settings.method == "node":
    return settings.node_step_rule(layout, graph.layers(), loss)
  if settings.method == "statistics":
    return settings.statistics_step_rule(layout, *graph.means())
  return settings.step_rule(layout, size, head, centre)


def _keeper(settings: Settings, training_data: TrainingData) -> ModelCheckpoint:
  """What chooses the step to keep; its end, where no other is looked at."""
  ends_only = settings.validate_every >= settings.steps
  keeper = KeepUnlessWorse if ends_only else ModelCheckpoint
  return keeper(training_data.labelled, training_data.task.judged_by_loss)


def _samples(open_phase: OpenPhase, training_data: TrainingData) -> Samples:
  targets = open_phase.graph.targets(training_data.labels, training_data.task)
  return Samples(open_phase.inputs, targets)


def _answers(
  graph: Graph, layout: Layout, params: Params, samples: Samples
) -> Array:
  graph.suffix.load(layout.weights(params))
  return logits_of(graph.suffix, samples.inputs)
