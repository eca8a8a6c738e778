"""From a .tflite and samples to an adapted .tflite and a report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflm_fg.evaluation import score_file
from tflm_fg.journal import Journal, sha256
from tflm_fg.losses.custom import LossFunction, exact_refusal
from tflm_fg.placement.candidates import Candidate, Dropped, best_candidate
from tflm_fg.placement.measure import measured
from tflm_fg.placement.phase import TrainingData
from tflm_fg.placement.phase_record import write_masters
from tflm_fg.placement.run_plan import (
  RunPlan,
  RunResult,
  run_candidate,
  run_phases,
)
from tflm_fg.placement.search import try_candidates
from tflm_fg.placement.split_model import RuntimeOptions, input_spec
from tflm_fg.report import facts
from tflm_fg.tflite.select_trainable import (
  GraphOptions,
  MarkedModel,
  mark_trainable,
  unmarked,
)
from tflm_fg.tflite.tensors import TensorSpec, tensor_spec
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.training.callbacks import Callback, History
from tflm_fg.training.data import Dataset, array_of, hold_out, model_input
from tflm_fg.training.metrics import Score, score
from tflm_fg.training.objective import (
  CLASSIFY,
  Task,
  checked,
  spec_for,
  task_of,
)
from tflm_fg.training.settings import Settings
from tflm_fg.types import Array, TflmFgError

KEPT_FRACTION, COMPARED_FRACTION = 0.15, 0.25
"""Share of the samples kept aside; more where ways of adapting are compared."""


@dataclasses.dataclass(frozen=True)
class Adapted:
  """What adapting gives.

  Attributes:
    model: the adapted file, still marked; `tflm_fg.strip` takes the mark off.
    marked: the marked file that training began with.
    report: what was done and what it gave; JSON-ready.
    journal: seed and slopes, to make `model` again from `marked`.
    history: curves over forward passes.
  """

  model: bytes
  marked: bytes
  report: dict[str, Any]
  journal: Journal
  history: History


def adapt(
  model: bytes,
  x: Array,
  y: Array | None = None,
  *,
  test: tuple[Array, Array] | None = None,
  trainable: str | None = None,
  graph_options: GraphOptions | None = None,
  runtime: str = "litert",
  strategy: str = "auto",
  exact_prefix: bool = False,
  workers: int | None = None,
  settings: Settings | None = None,
  loss: LossFunction | None = None,
  callbacks: Sequence[Callback] = (),
  name: str = "model",
) -> Adapted:
  """Adapts a quantized .tflite with forward passes alone.

  Args:
    model: an int8 or int16x8 .tflite, marked or not.
    x: samples [N, ...], floats in the units the model was trained on or
      integers of its input dtype.
    y: classes, integers [N]; real targets [N] or [N, outputs], under another
      loss than cross-entropy; None to learn without labels.
    test: samples and y that are only scored, before and after.
    trainable: as for `mark`, or "auto" to try the places that the file allows
      and take the best; None takes the file's mark, or "auto" where it has
      none.
    graph_options: how the file may change for what shall train.
    runtime: one of `runtimes.NAMES`.
    strategy: "in-place"; "rebuild", on "litert" with XNNPACK's kernels; or
      "auto", which on "litert" rebuilds where a batch is much work.
    exact_prefix: run frozen layers on `runtime` too, and not on XNNPACK.
    workers: passes side by side, at most; None for as many as pay.
    settings: how to train.
    loss: a function of your own in place of `settings.loss`; see `BlackBox`.
    callbacks: told of every step of forward gradients.
    name: what to call the model in errors.

  Returns:
    The adapted file and a report. No phase is kept that is right on fewer of
    the samples kept aside than its start; without labels, for real targets and
    under a function, none with a higher loss there. The notes say where none.

  Raises:
    TflmFgError: in one line, if anything does not fit.

  Example:
    >>> result = tflm_fg.adapt(open("kws.tflite", "rb").read(), x, y)
    >>> open("adapted.tflite", "wb").write(tflm_fg.strip(result.model))
  """
  settings, graph_options = (
    settings or Settings(),
    graph_options or GraphOptions(),
  )
  runtime_options = RuntimeOptions(
    runtime=runtime,
    strategy=strategy,
    exact_prefix=exact_prefix,
    workers=workers,
  )
  samples = _Samples.of(model, x, y, settings, loss, name)
  # Checked now, run after training.
  held_back = samples.others(test) if test else None
  began = time.perf_counter()
  run_result, tried, training_data = _run(
    model,
    trainable,
    graph_options,
    samples,
    settings,
    runtime_options,
    callbacks,
    name,
  )
  seconds = time.perf_counter() - began
  adapted = write_masters(
    run_result.marked.data, run_result.marked.mark, run_result.masters
  )
  scores = _scores(
    run_result, samples, training_data, held_back, adapted, runtime
  )
  report = {
    **scores,
    **facts(run_result, *tried, training_data, model, settings, seconds),
    "runtime": runtime,
  }
  return Adapted(
    adapted,
    run_result.marked.data,
    report,
    Journal(
      sha256(run_result.marked.data),
      run_result.plan,
      run_result.records,
      sha256(adapted),
    ),
    _history(run_result),
  )


_Tried = tuple[Sequence[Candidate], Sequence[Dropped]]

_NOTHING_TRIED: _Tried = (), ()


def _run(
  model: bytes,
  trainable: str | None,
  graph_options: GraphOptions,
  samples: _Samples,
  settings: Settings,
  runtime_options: RuntimeOptions,
  callbacks: Sequence[Callback],
  name: str,
) -> tuple[RunResult, _Tried, TrainingData]:
  """Goes the way that was chosen, or tries all and goes the best."""
  if graph_options.weights != "int8" and trainable in (None, "auto"):
    raise TflmFgError(
      f"--weights={graph_options.weights} needs --trainable: which layers "
      "get them"
    )
  own = read_mark(model, name) if trainable is None else None
  if own is not None:
    training_data = samples.training_data(settings, KEPT_FRACTION)
    given = MarkedModel(model, own, ())
    return (
      run_phases(
        given, None, training_data, settings, runtime_options, callbacks
      ),
      _NOTHING_TRIED,
      training_data,
    )
  if trainable is None:
    trainable = "auto" if settings.method == "auto" else "head"
  if trainable == "auto":
    training_data = samples.training_data(settings, COMPARED_FRACTION)
    if len(training_data.kept):
      candidates, dropped = try_candidates(
        model,
        training_data,
        settings,
        runtime_options,
        graph_options,
        callbacks,
      )
      best = best_candidate(candidates)
      run_result = run_candidate(
        model, best, training_data, settings, runtime_options, callbacks
      )
      return run_result, (candidates, dropped), training_data
  training_data = samples.training_data(settings, KEPT_FRACTION)
  plan, measuring_passes = _plan(
    model, trainable, graph_options, training_data, runtime_options
  )
  marked = mark_trainable(model, plan.trainable, name, plan.graph_options)
  run_result = run_phases(
    marked,
    plan,
    training_data,
    settings,
    runtime_options,
    callbacks,
    measuring_passes,
  )
  return run_result, _NOTHING_TRIED, training_data


def _plan(
  model: bytes,
  trainable: str,
  graph_options: GraphOptions,
  training_data: TrainingData,
  runtime_options: RuntimeOptions,
) -> tuple[RunPlan, int]:
  """A user's choice, with what a wide head must know, and the passes for it."""
  measuring_passes = 0
  if trainable == "auto":  # too few samples to compare by
    trainable = "head"
  if "wide-head" in [part.strip() for part in trainable.split(",")]:
    graph_options, measuring_passes = measured(
      model, training_data.x, graph_options, runtime_options
    )
  return RunPlan(trainable, graph_options), measuring_passes


def _require_function(loss: object, settings: Settings) -> None:
  """Refuses what is no function, or what goes with no function."""
  if loss is None:
    return
  if not callable(loss):
    raise TflmFgError(
      f"loss={loss!r}: need a function of outputs and y; built-in losses are "
      "chosen by Settings(loss=...)"
    )
  if settings.loss != "cross-entropy":
    raise TflmFgError(
      f"loss: both a function and Settings(loss={settings.loss!r}); give one"
    )
  if settings.method == "closed-form":
    raise TflmFgError(exact_refusal(loss))


@dataclasses.dataclass(frozen=True)
class _Samples:
  """The user's samples, checked against the model.

  Attributes:
    x: on the input's grid.
    y: targets, real ones as they came; None where there are none.
    task: what is learned.
    scored: what reports score by; classes may be known and not looked at.
    input: the model's input.
    output: what the loss looks at.
  """

  x: Array
  y: Array | None
  task: Task
  scored: Task
  input: TensorSpec
  output: TensorSpec

  @classmethod
  def of(
    cls,
    model: bytes,
    x: Array,
    y: Array | None,
    settings: Settings,
    function: LossFunction | None,
    name: str,
  ) -> _Samples:
    _require_function(function, settings)
    x = array_of(x, "train x")
    y = None if y is None else array_of(y, "train y")
    plain = unmarked(model, name)
    inputs = input_spec(model, name)
    task = task_of(settings, y, tensor_spec(model, plain.logits), function)
    output = spec_for(task, model, plain, name)
    if y is None:
      if settings.labels == "given":
        raise TflmFgError(
          "train: holds no array 'y'; add it or use --labels=none"
        )
      on_grid = model_input(x, inputs, "train x")
      return cls(on_grid, None, task, task, inputs, output)
    scored = task if task.labelled else CLASSIFY
    on_grid, targets = checked(Dataset(x, y), inputs, output, "train", scored)
    return cls(on_grid, targets, task, scored, inputs, output)

  @property
  def for_others(self) -> Task:
    """What samples with targets are scored by, whatever was learned from."""
    return self.task if self.task.labelled else CLASSIFY

  def others(self, test: tuple[Array, Array]) -> tuple[Array, Array]:
    """Other samples and their targets, checked likewise."""
    x, y = (array_of(a, f"test {n}") for a, n in zip(test, "xy"))
    part = Dataset(x, y)
    return checked(part, self.input, self.output, "test", self.for_others)

  def training_data(self, settings: Settings, fraction: float) -> TrainingData:
    """The samples, with a share kept aside."""
    if settings.validation_fraction is not None:
      fraction = settings.validation_fraction
    labels: Array = np.full(len(self.x), -1, np.int64)
    if self.task.labelled and self.y is not None:
      labels = self.y
    fit, kept = hold_out(self.task.strata(labels), fraction, settings.seed)
    return TrainingData(self.x, labels, fit, kept, self.task)


def _scores(
  run_result: RunResult,
  samples: _Samples,
  training_data: TrainingData,
  held_back: tuple[Array, Array] | None,
  adapted: bytes,
  runtime: str,
) -> dict[str, Any]:
  """Before and after, on test samples or else on those kept aside."""
  if held_back is not None:
    # Whole files, as they will be used: no cut and no other engine's prefix.
    before, after = (
      score_file(file, runtime, held_back, samples.for_others)
      for file in (run_result.marked.data, adapted)
    )
    return _both("test", before, after, True)
  part = "validation" if len(training_data.kept) else "train"
  indices = training_data.kept if len(training_data.kept) else training_data.fit
  start = run_result.tried[0].start_logits
  # Without a phase the file was left alone, whatever the tries gave.
  ends = (start, run_result.tried[-1].logits if run_result.records else start)
  known = samples.y is not None
  given = samples.y if samples.y is not None else training_data.labels
  marked = run_result.marked
  if unmarked(marked.data).logits != marked.mark.logits:
    # Training saw finer logits than the file gives: run what is written.
    files = [marked.data] * 2
    if run_result.records:
      files[1] = write_masters(
        marked.data, marked.mark, run_result.tried[-1].masters
      )
    seen = training_data.x[indices], given[indices]
    before, after = (
      score_file(f, runtime, seen, samples.scored) for f in files
    )
    return _both(part, before, after, known)
  graph = run_result.tried[0].graph
  labels = graph.targets(given, samples.scored)
  loss = graph.loss(samples.scored)
  before, after = (score(z, labels[indices], loss) for z in ends)
  return _both(part, before, after, known)


def _both(
  part: str, before: Score, after: Score, known: bool
) -> dict[str, Any]:
  return {
    "scored_on": part,
    "scored_clips": before.samples,
    "accuracy_before": before.accuracy if known else None,
    "accuracy_after": after.accuracy if known else None,
    "mae_before": before.mae,
    "mae_after": after.mae,
    "loss_before": before.loss,
    "loss_after": after.loss,
  }


def _history(run_result: RunResult) -> History:
  """The curves of the phases one behind the other."""
  joined, passes = History(), 0
  for phase_result in run_result.tried:
    own = phase_result.history
    joined.batches += [(passes + n, loss) for n, loss in own.batches]
    joined.tests += [(passes + n, loss, a) for n, loss, a in own.tests]
    passes += phase_result.graph.forward_passes
  return joined
