"""Train some of the marked tensors for a while, then others: one master.

A phase is a set of tensors and one method. It opens the file with the weights
that the phases before it left, cut at its own tensors, so that what it does
not train runs once a sample. The masters of all tensors go from phase to phase.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from tflm_fg.checkpoint.memo import NOTHING_KEPT, Memo
from tflm_fg.checkpoint.taken_steps import TakenSteps
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.forgetting.mixture import with_imagined
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.dense_passes import DenseLayer, dense_layer
from tflm_fg.gradients.method import Method
from tflm_fg.losses.base import Loss
from tflm_fg.optimizers.rounding import require_masters
from tflm_fg.placement.phase_record import (
  Masters,
  Phase,
  Record,
  to_bytes,
  write_masters,
)
from tflm_fg.placement.request import Request, TrainingData
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.parallel import Choice
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.tflite.model_file import Source
from tflm_fg.tflite.select_trainable import MarkedModel
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.build import step_rule
from tflm_fg.training.callbacks import (
  Callback,
  EarlyStopping,
  History,
  SlopeRecorder,
  keeper,
)
from tflm_fg.training.data import Batches
from tflm_fg.training.exact_settings import exact
from tflm_fg.training.interruption import stop_of
from tflm_fg.training.metrics import Score, logits_of, score
from tflm_fg.training.settings_record import to_record
from tflm_fg.training.trainer import fit, score_weights
from tflm_fg.training.tuning import Growing, tried, tries_rates, tuned
from tflm_fg.types import (
  Array,
  Mark,
  NotApplicable,
  Params,
  Samples,
  Tensors,
)


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
  graph: SplitModel
  choice: Choice
  cached_bytes: int


@dataclasses.dataclass(frozen=True)
class OpenPhase:
  """A phase whose file is open, with the samples in front of what trains.

  Attributes:
    phase: its method has a batch size.
    masters: of all marked tensors, as the phase finds them.
    layout: of the phase's tensors.
    graph: the open file.
    choice: how it runs.
    inputs: of all samples, what flows into the trained part.
    memo: where the steps are kept.
  """

  phase: Phase
  masters: Masters
  layout: Layout
  graph: SplitModel
  choice: Choice
  inputs: Tensors
  memo: Memo = NOTHING_KEPT

  @functools.cached_property
  def head(self) -> DenseLayer | None:
    """The one dense layer that trains, before it does; None for all else."""
    try:
      return dense_layer(self.graph.suffix_part, self.layout.tensors)
    except NotApplicable:
      return None

  def taken(self, method: Method, data: TrainingData) -> TakenSteps:
    """The steps of a run by some method on some samples, as far as known."""
    if not self.memo.keeps:
      return TakenSteps(self.memo)
    settings = to_record(method, self.phase.objective)
    start = self.layout.gather(self.masters)
    own = self.graph.marked.data, self.phase.tensors, settings
    return TakenSteps(self.memo, *own, *start, data.fit, data.kept)


def open_for(
  phase: Phase,
  marked: Source,
  mark: Mark,
  masters: Masters,
  x: Array,
  runtime_options: RuntimeOptions,
  memo: Memo = NOTHING_KEPT,
) -> OpenPhase:
  """Opens the file for a phase; several runs may start from there.

  Args:
    phase: what and how.
    marked: the marked file, before any training.
    mark: its mark.
    masters: where training stands.
    x: all samples [N, ...] on the model's input grid.
    runtime_options: the engine.
    memo: where finished work is kept.

  Raises:
    TflmFgError: if a write to one of the tensors is not seen, or the method
      does not suit how they are held.
  """
  chosen = tuple(t for t in mark.trainable if t.index in phase.tensors)
  layout = Layout(chosen)
  require_masters(phase.method.precision, layout)
  phase.method.require_layout(layout)
  part = dataclasses.replace(mark, trainable=chosen)
  file = write_masters(marked, mark, masters)
  taps = phase.method.taps(file.subgraph, [t.operator for t in chosen])
  inputs_too = phase.method.weights_are_inputs
  graph = SplitModel(file, part, runtime_options, taps, inputs_too)
  inputs = graph.features(x, memo)
  method = phase.method.for_layout(layout)
  if method.batch_size is None:
    method = dataclasses.replace(method, batch_size=graph.batch_size)
  batch = tuple(a[: method.batch_size] for a in inputs)
  choice = graph.settle(batch, method.passes_at_once())
  probes = write_check.probes_of(inputs)
  write_check.require_visible(graph.suffix, chosen, probes)
  filled = phase._replace(method=method)
  return OpenPhase(filled, masters, layout, graph, choice, inputs, memo)


def open_marked(
  phase: Phase,
  marked: MarkedModel,
  masters: Masters,
  training_data: TrainingData,
  request: Request,
) -> OpenPhase:
  """Opens a marked file for a phase, as `open_for` does.

  Raises:
    TflmFgError: also if what the last layer is said to read does not fit it.
  """
  opened = open_for(
    phase,
    marked.file,
    marked.mark,
    masters,
    training_data.x,
    request.runtime_options,
    request.memo,
  )
  inputs = training_data.with_those_at_head(opened.inputs)
  return dataclasses.replace(opened, inputs=inputs)


def run_phase(
  open_phase: OpenPhase,
  training_data: TrainingData,
  callbacks: Sequence[Callback] = (),
  passes_before: int = 0,
) -> PhaseResult:
  """Runs a phase on some samples.

  A signal that a `StopOnInterrupt` among the callbacks waits for ends it after
  the present step; it is then scored as ever.

  Args:
    open_phase: where it begins.
    training_data: the samples; `x` is what the phase was opened with.
    callbacks: called after every step.
    passes_before: forward passes of earlier phases, for the curves.

  Raises:
    TflmFgError: if the method does not fit the tensors.
  """
  graph, layout = open_phase.graph, open_phase.layout
  method = open_phase.phase.method
  samples, kept = _parts(open_phase, training_data)
  batches = Batches(len(samples), method.batch_size, method.seed)
  params = layout.gather(open_phase.masters)
  loss = graph.loss(training_data.task)
  run = functools.partial(
    fit,
    session=graph.suffix,
    helpers=graph.helpers,
    loss=loss,
    samples=samples,
    batches=batches,
  )
  scored = kept if len(kept) else samples
  method, reasons = _chosen(
    open_phase, training_data, samples, scored, batches, loss, run
  )
  part = graph.part(samples, training_data.task)
  rule = step_rule(method, layout, batches.size, part)
  recorder, history = SlopeRecorder(), History()
  judged = training_data.labelled, training_data.task.judged_by_loss
  best = keeper(method.validate_every >= method.steps, *judged)
  watchers: list[Callback] = [recorder, history, best, *callbacks]
  if method.patience:
    watchers.append(EarlyStopping(method.patience))
  with stop_of(callbacks).deferred():
    state = run(
      step_rule=rule,
      state=rule.start(params),
      steps=method.steps,
      validation=kept,
      validate_every=method.validate_every,
      callbacks=watchers,
      adjust=None if method.is_exact else Growing(method.patience),
      passes_before=passes_before,
      taken=open_phase.taken(method, training_data),
    )
    trained, kept_step = state.params, state.step
    if best.best is not None:
      trained, kept_step = best.best, best.best_step
    ends = params, trained
    before, after = (_answers(graph, layout, p, scored) for p in ends)
  return PhaseResult(
    masters={**open_phase.masters, **layout.scatter(trained)},
    record=Record(
      open_phase.phase._replace(method=method),
      batches.size,
      rule.centre,
      recorder.slopes,
      kept_step,
      masters=to_bytes(layout.scatter(trained), open_phase.phase),
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


def _parts(
  open_phase: OpenPhase, training_data: TrainingData
) -> tuple[Samples, Samples]:
  """The samples to train on, and those kept aside."""
  graph, data = open_phase.graph, training_data
  targets = graph.targets(data.labels, data.task)
  everything = Samples(open_phase.inputs, targets)
  samples, kept = everything.take(data.fit), everything.take(data.kept)
  if (coverage := data.coverage) is not None:
    kept, head = kept if len(kept) else samples, open_phase.head
    if head is not None:
      seed = open_phase.phase.method.seed
      samples = with_imagined(samples, head, coverage.lacking, seed)
  return samples, kept


def _chosen(
  open_phase: OpenPhase,
  training_data: TrainingData,
  samples: Samples,
  scored: Samples,
  batches: Batches,
  loss: Loss,
  run: Callable[..., TrainState],
) -> tuple[Method, dict[str, str]]:
  """The phase's method with nothing left open, and why each is what it is.

  Short runs on `samples` are compared on `scored`.
  """
  graph, layout = open_phase.graph, open_phase.layout
  given, params = open_phase.phase.method, layout.gather(open_phase.masters)
  passes = BatchPasses(graph.suffix, loss, samples, graph.helpers)
  passes.use(samples.take(batches.at(0)))

  def short(own: Method) -> Score:
    rule = step_rule(own, layout, batches.size)
    end = run(
      step_rule=rule,
      state=rule.start(params),
      steps=own.steps,
      taken=open_phase.taken(own, training_data),
    ).params
    return score_weights(graph.suffix, layout.weights(end), scored, loss)

  if isinstance(given, ClosedForm):
    return exact(given, layout, loss)
  method, reasons = tuned(given, layout, params, passes, loss)
  if tries_rates(given):
    method, reasons["learning_rate_lsb"] = tried(method, short)
  return method, reasons


def _answers(
  graph: SplitModel, layout: Layout, params: Params, samples: Samples
) -> Array:
  graph.suffix.load(layout.weights(params))
  return logits_of(graph.suffix, samples.inputs)
