"""From a .tflite and samples to an adapted .tflite and a report."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Sequence

from tflm_fg import files, marking
from tflm_fg.evaluation import engine_agreement
from tflm_fg.forgetting.coverage import keeping_notes
from tflm_fg.forgetting.other_outputs import moved
from tflm_fg.gradients.method import Method
from tflm_fg.journal import Journal
from tflm_fg.losses.base import LossFunction
from tflm_fg.marking import Model
from tflm_fg.outcome import guard
from tflm_fg.outcome.belonging import kept_in
from tflm_fg.outcome.cost import cost, passes_of
from tflm_fg.outcome.forgotten import OldSamples, estimate, forgetting
from tflm_fg.outcome.given import Given
from tflm_fg.outcome.scores import scores
from tflm_fg.placement.candidates import Candidate, Dropped
from tflm_fg.placement.checked_samples import CheckedSamples
from tflm_fg.placement.chosen import adapted_by, run_choice, run_kept, untrained
from tflm_fg.placement.fold_search import try_by_folds
from tflm_fg.placement.found import idle_notes, run_best, saturation_notes
from tflm_fg.placement.interrupted import require_kept
from tflm_fg.placement.label_free import try_label_free
from tflm_fg.placement.request import SCORES, Request, TrainingData
from tflm_fg.placement.run_plan import RunResult
from tflm_fg.placement.search import run_best_tried
from tflm_fg.report import Report, facts
from tflm_fg.requirements import requirements
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.runtimes.trial import require_runs_for
from tflm_fg.tflite.choice.own_mark import own_mark
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.known_forms import is_legacy
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel
from tflm_fg.tflite.training_metadata import without_mark
from tflm_fg.training.auto import method_or_auto
from tflm_fg.training.callbacks import Callback, History
from tflm_fg.training.interruption import with_stop
from tflm_fg.training.objective import Objective
from tflm_fg.types import Array, NotApplicable, TflmFgError

KEPT_FRACTION, COMPARED_FRACTION = 0.15, 0.25
"""Share of the samples kept aside; more where candidates are compared."""


@dataclasses.dataclass(frozen=True, repr=False)
class AdaptResult:
  """What adapting gives.

  Attributes:
    marked_model: the adapted file, marked: it can be adapted further.
    start: the marked file that training began with.
    report: what was done and what it gave.
    journal: seed and slopes, to make the adapted file again from `start`.
    history: curves over forward passes.
  """

  marked_model: bytes
  start: bytes
  report: Report
  journal: Journal
  history: History

  @functools.cached_property
  def model(self) -> bytes:
    """The adapted file, a plain .tflite like the one that came."""
    return without_mark(self.marked_model)

  def save(self, path: str | os.PathLike[str], marked: bool = False) -> None:
    """Writes the adapted file: all of it, or nothing.

    Args:
      path: where to.
      marked: keep the mark in front of it, to adapt it further.

    Raises:
      TflmFgError: if it cannot be written.
    """
    content = self.marked_model if marked else self.model
    files.write_atomically(os.fspath(path), content)

  def __repr__(self) -> str:
    return f"<AdaptResult: {self.report.summary()}>"


def adapt(
  model: Model,
  x: Array,
  y: Array | None = None,
  *,
  test: tuple[Array, Array] | None = None,
  old_data: tuple[Array, Array] | None = None,
  replay: tuple[Array, Array] | None = None,
  trainable: str | None = None,
  method: Method | None = None,
  loss: str | LossFunction = "cross-entropy",
  huber_delta: float = 1.0,
  labels: str = "auto",
  graph_options: GraphOptions | None = None,
  runtime: str = "litert",
  strategy: str = "auto",
  exact_prefix: bool = False,
  workers: int | None = None,
  target: str = "any",
  absent_classes: str = "keep",
  callbacks: Sequence[Callback] = (),
  on_interrupt: str = "raise",
  checkpoint: str | os.PathLike[str] | None = None,
  output: str | int | None = None,
  input: str | int | None = None,
  name: str | None = None,
) -> AdaptResult:
  """Adapts a quantized .tflite with forward passes alone.

  Args:
    model: path or bytes of an int8, int16x8 or uint8 .tflite, marked or not.
    x: samples [N, ...]; docs/data.md tells of units, pixels and shapes.
    y: classes [N], [N, 1] or one-hot; 0 and 1, [N] or [N, outputs], for ends in
      sigmoids; real numbers, as many, for mse, huber or a function; or None.
    test: samples and y that are only scored, before and after.
    old_data: samples and y of before that are only scored.
    replay: samples and y of before that are trained on too.
    trainable: as for `mark_trainable`, or "auto" to try what the file allows
      and take the best; None is the file's mark, or "auto" where it has none.
    method: how to train, one of `methods`; by default `methods.Auto()`.
    loss: "cross-entropy", which is "binary-cross-entropy" where a model ends
      in sigmoids; "mse", "huber", or a function, see `BlackBox`.
    huber_delta: the error up to which huber is a square, in the outputs' units.
    labels: "given"; "none" to use none; "auto" for what the data has.
    graph_options: how the file may change for what shall train.
    runtime: one of `runtimes.NAMES`.
    strategy: "in-place", "rebuild" or "auto"; see `runtimes.RuntimeOptions`.
    exact_prefix: run frozen layers on `runtime` too, and not on XNNPACK.
    workers: passes side by side, at most; None for as many as pay.
    target: "any"; "tflm" or "litert" for a file that this engine must run too.
    absent_classes: "keep" or "ignore" classes that y lacks, or barely has.
    callbacks: called after every step of forward gradients.
    on_interrupt: "raise"; or "keep", see `callbacks.StopOnInterrupt`.
    checkpoint: a folder of finished work; see docs/reliability.md.
    output: which of several outputs is trained, as for `mark_trainable`.
    input: which of several inputs takes the samples, as for `mark_trainable`.
    name: what to call the model in errors; by default its path.

  Returns:
    The file and a report, whose notes say what harmed and was not kept.

  Raises:
    TflmFgError: in one line, if anything does not fit.

  Example:
    >>> result = tflm_fg.adapt("kws.tflite", x, y)
    >>> result.save("adapted.tflite")
  """
  own = marking.opened(model, name, output, input)
  request = Request(
    method=method_or_auto(method, loss),
    objective=Objective.of(loss, huber_delta, labels),
    graph_options=marking.options_for(own, trainable, graph_options),
    runtime_options=RuntimeOptions(
      runtime=runtime,
      strategy=strategy,
      exact_prefix=exact_prefix,
      workers=workers,
      target=target,
    ),
    absent_classes=absent_classes,
    callbacks=with_stop(callbacks, on_interrupt),
  )
  given = Given(x, y, test, old_data, replay)
  return _adapted(own, trainable, given, request, checkpoint)


def _adapted(
  own: ModelFile,
  trainable: str | None,
  given: Given,
  request: Request,
  checkpoint: str | os.PathLike[str] | None,
) -> AdaptResult:
  """Adapts while signals are waited for, and with work of before, if wanted."""
  work = own, trainable, given._asdict(), request
  with request.stop, kept_in(checkpoint, *work) as asked:
    return _checked_and_run(own, trainable, given, asked)


def _checked_and_run(
  own: ModelFile, trainable: str | None, given: Given, request: Request
) -> AdaptResult:
  """Runs all phases, scores before and after, and tells of it."""
  file = marking.in_known_form(own, request.graph_options)
  # Before anything runs.
  samples, held_back, old = given.checked(file, trainable, request)
  options = request.runtime_options
  runtime = options.runtime
  require_runs_for(file, runtime, options.target)
  file = marking.with_change_told(own, file, samples.x)
  began = time.perf_counter()
  run_result, tried, training_data = _held(
    file, trainable, samples, old, request
  )
  require_kept(
    run_result.phase_results, run_result.tried, training_data, request
  )
  seconds = time.perf_counter() - began
  # What was trained is told of and kept.
  with request.stop.deferred(), request.phase(*SCORES):
    adapted = adapted_by(run_result)
    require_runs_for(adapted, runtime, options.target)
    report = Report(
      **scores(
        file, run_result, samples, training_data, held_back, adapted, runtime
      ),
      **cost(run_result, *tried, training_data, seconds),
      **facts(
        run_result,
        *tried,
        training_data,
        own,
        request,
        [
          *samples.remarks,
          *keeping_notes(samples.coverage),
          *saturation_notes(run_result),
          *idle_notes(run_result, own),
        ],
      ),
      forgetting=forgetting(file, adapted, samples, old, options)
      or estimate(
        run_result.marked.file, adapted, samples, options, request.method.seed
      ),
      data_notes=list(samples.doubts),
      engine_agreement=engine_agreement(adapted, samples.x),
      needs=requirements(own, adapted),
      other_outputs=moved(
        file,
        adapted,
        samples.x if held_back is None else held_back[0],
        runtime,
      ),
    )
    return AdaptResult(
      adapted.data,
      run_result.marked.data,
      report,
      Journal.of(run_result, adapted),
      run_result.history,
    )


_Tried = tuple[Sequence[Candidate], Sequence[Dropped]]

_NOTHING_TRIED: _Tried = (), ()

_Ran = tuple[RunResult, _Tried, TrainingData]


def _held(
  file: ModelFile,
  trainable: str | None,
  samples: CheckedSamples,
  old: OldSamples | None,
  request: Request,
) -> _Ran:
  """Trains; more gently where samples of before are lost, or not at all."""
  if old is None or request.absent_classes == "ignore":
    return _run(file, trainable, samples, request)
  is_marked = trainable is None and own_mark(file) is not None

  ran, gone = guard.held(
    guard.ways(trainable, samples.task, request, is_marked),
    lambda what, asked: _run(file, what, samples, asked),
    lambda ran: forgetting(
      file, adapted_by(ran[0]), samples, old, request.runtime_options
    ),
  )
  run_result, tried, data = ran
  if gone:
    before = [r for *_, r in gone if r is not ran]
    passes = sum(passes_of(r, *its) for r, its, _ in before)
    passes += run_result.measuring_passes
    run_result = dataclasses.replace(run_result, measuring_passes=passes)
    tried = (), [*(Dropped(name, lost) for name, lost, _ in gone), *tried[1]]
    if gone[-1][2] is ran:
      run_result = untrained(run_result, file, guard.left_alone(gone[-1][1]))
  return run_result, tried, data


def _run(
  model: ModelFile,
  trainable: str | None,
  samples: CheckedSamples,
  request: Request,
) -> _Ran:
  """Trains what was chosen, or tries all candidates and trains the best."""
  weights = request.graph_options.weights
  if weights != "int8" and trainable in (None, "auto"):
    raise TflmFgError(
      f"--weights={weights} needs --trainable: which layers get them"
    )
  room = request.graph_options.head_room
  if room and trainable in (None, "auto"):
    raise TflmFgError(
      f"--head_room={room} needs --trainable=head: auto finds by itself how "
      "much room helps"
    )
  own = own_mark(model) if trainable is None else None
  if own is not None:
    training_data = samples.training_data(request.method, KEPT_FRACTION)
    given = MarkedModel(model, own, ())
    run_result = run_kept(None, given, None, training_data, request)
    return run_result, _NOTHING_TRIED, training_data
  if trainable is None:
    trainable = "auto" if request.is_auto else "head"
  if trainable == "auto":
    if request.graph_options.pooled_head == "keep":
      raise TflmFgError(
        "pooled_head='keep' needs --trainable: which layers shall train"
      )
    if is_legacy(model.subgraph):
      raise TflmFgError(
        "--uint8=keep needs --trainable: bias, first-bias or prompt"
      )
    training_data = samples.training_data(request.method, COMPARED_FRACTION)
    if len(training_data.kept):
      task = training_data.task
      if not task.labelled:
        found = try_label_free(model, training_data, request)
        return *run_best(model, *found, training_data, request), training_data
      if request.is_auto and task.is_exact:
        # A head that only an engine can compute is tried phase by phase.
        with contextlib.suppress(NotApplicable):
          found = try_by_folds(model, training_data, request)
          return *run_best(model, *found, training_data, request), training_data
      if training_data.coverage is None:
        return *run_best_tried(model, training_data, request), training_data
    trainable = "head"  # too few samples to compare by, or classes to keep
  training_data = samples.training_data(request.method, KEPT_FRACTION)
  chosen, without = run_choice(model, trainable, training_data, request)
  return chosen, ((), without), training_data
