"""From a .tflite and labelled clips to an adapted .tflite and a report."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import time
from collections.abc import Sequence
from typing import Any

from tflm_fg import memory, runtimes
from tflm_fg.base import Array, Clips, Int64, Mark, Params
from tflm_fg.callbacks import (
  Callback,
  EarlyStopping,
  History,
  ModelCheckpoint,
)
from tflm_fg.data import Batches, Dataset, hold_out
from tflm_fg.flatbuffer import strip
from tflm_fg.flatbuffer_cut import whole
from tflm_fg.flatbuffer_mark import Marked, present_mark, unmarked
from tflm_fg.flatbuffer_patch import Patchable
from tflm_fg.flatbuffer_tensors import tensor_spec
from tflm_fg.graph import Graph, checked, logits_spec, loss_of
from tflm_fg.journal import Journal, sha256
from tflm_fg.metrics import Score, logits_of, score
from tflm_fg.quant import Layout
from tflm_fg.settings import Settings
from tflm_fg.timing import Choice
from tflm_fg.trainer import evaluate, fit

GUARD_CLIPS = 32
"""Training clips that the write-visibility guard runs."""


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
  y: Array,
  *,
  test: tuple[Array, Array] | None = None,
  trainable: str | None = None,
  runtime: str = "litert",
  strategy: str = "auto",
  exact_prefix: bool = False,
  workers: int | None = None,
  settings: Settings | None = None,
  callbacks: Sequence[Callback] = (),
  name: str = "model",
) -> Adapted:
  """Adapts a quantized .tflite with forward passes alone.

  Args:
    model: an int8 or int16x8 .tflite, marked or not.
    x: clips [N, ...], floats in the units the model was trained on or
      integers of its input dtype.
    y: classes, integers [N].
    test: clips and classes that are only scored, before and after.
    trainable: as for `mark`; None takes the file's mark, or "head" where it
      has none.
    runtime: one of `runtimes.NAMES`.
    strategy: "in-place"; "rebuild", on "litert" with XNNPACK's kernels; or
      "auto", which on "litert" times both and takes what is clearly faster.
    exact_prefix: run frozen layers on `runtime` too, and not on XNNPACK.
    workers: passes side by side, at most; None for as many as pay.
    settings: how to train.
    callbacks: told of every step.
    name: what to call the model in errors.

  Returns:
    The adapted file and a report. The result is never worse than the start
    on the part of the clips that is kept aside for validation; where that is
    none, the report's notes say so.

  Raises:
    TflmFgError: in one line, if anything does not fit.

  Example:
    >>> result = tflm_fg.adapt(open("kws.tflite", "rb").read(), x, y)
    >>> open("adapted.tflite", "wb").write(tflm_fg.strip(result.model))
  """
  settings = settings or Settings()
  marked = present_mark(model, trainable, name)
  tensors = marked.mark.trainable
  graph = Graph(marked.data, marked.mark, runtime, strategy, exact_prefix)
  layout = Layout(tensors)
  start = graph.suffix.params()

  began = time.perf_counter()
  clips = graph.clips(Dataset(x, y), "train")
  # Checked now, run after training.
  held_back = graph.checked(Dataset(*test), "test") if test else None
  batch = tuple(a[: settings.batch_size] for a in clips.inputs)
  choice = graph.settle(batch, settings.passes_at_once(), workers)
  probes = tuple(a[:GUARD_CLIPS] for a in clips.inputs)
  runtimes.require_visible(graph.suffix, tensors, probes)
  run = _train(graph, layout, marked, clips, settings, callbacks)
  cost = _cost(graph, choice, clips, run, time.perf_counter() - began)
  weights = layout.weights(run.params)
  adapted = Patchable(marked.data, [t.index for t in tensors]).write(weights)
  if held_back is not None:
    # Whole files, as they will be used: no cut and no other engine's prefix.
    before, after = (
      _score_file(file, marked.mark, runtime, held_back)
      for file in (marked.data, adapted)
    )
  else:
    scored, loss = run.validation or clips, loss_of(graph.logits)
    before, after = (
      evaluate(graph.suffix, w, scored, loss) for w in (start, weights)
    )
  report = {
    **_scores(held_back is not None, run, before, after),
    **cost,
    **_model_facts(marked, graph, run.params, settings),
    "runtime": runtime,
    "notes": [*marked.notes, *_remarks(run, settings)],
    "versions": versions(),
  }
  return Adapted(adapted, marked.data, report, run.journal, run.history)


@dataclasses.dataclass(frozen=True)
class _Run:
  """What training leaves behind."""

  params: Params
  validation: Clips
  journal: Journal
  history: History


def _train(
  graph: Graph,
  layout: Layout,
  marked: Marked,
  clips: Clips,
  settings: Settings,
  callbacks: Sequence[Callback],
) -> _Run:
  """Holds clips out, fits on the others, rolls back to the best step."""
  fit_on, kept = hold_out(
    clips.labels, settings.validation_fraction, settings.seed
  )
  batches = Batches(len(fit_on), settings.batch_size, settings.seed)
  fit_clips, validation = clips.take(fit_on), clips.take(kept)
  closed = settings.method == "closed-form"
  head = graph.head(fit_clips) if closed else None
  rule = settings.rule(layout, batches.size, head)
  journal = Journal(sha256(marked.data), settings, batches.size)
  history, checkpoint = History(), ModelCheckpoint()
  watchers: list[Callback] = [journal, history, checkpoint, *callbacks]
  if settings.patience:
    watchers.append(EarlyStopping(settings.patience))
  state = fit(
    session=graph.suffix,
    helpers=graph.helpers,
    rule=rule,
    loss=loss_of(graph.logits),
    clips=fit_clips,
    batches=batches,
    state=rule.start(layout.params(graph.suffix.params())),
    steps=settings.steps,
    validation=validation,
    validate_every=settings.validate_every,
    callbacks=watchers,
  )
  params = state.params
  if checkpoint.best is not None:
    params, journal.kept_step = checkpoint.best, checkpoint.best_step
  return _Run(params, validation, journal, history)


def _remarks(run: _Run, settings: Settings) -> list[str]:
  """What a user should know of the result."""
  if settings.validation_fraction and not len(run.validation):
    return ["too few clips to keep any aside; the last step was taken"]
  if len(run.validation) and not run.journal.kept_step:
    return [
      "no step was better than the start on the clips kept aside; the weights "
      "are unchanged: try more steps or a lower learning rate"
    ]
  return []


def _cost(
  graph: Graph, choice: Choice, clips: Clips, run: _Run, seconds: float
) -> dict[str, Any]:
  """What training took, and how it ran."""
  return {
    "steps": len(run.journal.slopes),
    "kept_step": run.journal.kept_step,
    "forward_passes": graph.forward_passes,
    "samples_run": graph.samples_run,
    "seconds": seconds,
    "invoke_seconds": graph.invoke_seconds,
    "train_clips": len(clips) - len(run.validation),
    "validation_clips": len(run.validation),
    "feature_cache_bytes": sum(a.nbytes for a in clips.inputs),
    "prefix_runtime": graph.prefix and graph.prefix.traits.runtime,
    "strategy": choice.strategy,
    "strategy_seconds": choice.seconds,
    "workers": choice.workers,
  }


def _scores(
  tested: bool, run: _Run, before: Score, after: Score
) -> dict[str, Any]:
  kept = "validation" if run.validation else "train"
  return {
    "scored_on": "test" if tested else kept,
    "scored_clips": before.clips,
    "accuracy_before": before.accuracy,
    "accuracy_after": after.accuracy,
    "loss_before": before.loss,
    "loss_after": after.loss,
  }


def _model_facts(
  marked: Marked, graph: Graph, params: Params, settings: Settings
) -> dict[str, Any]:
  parts = memory.trainer_bytes(
    params,
    classes=graph.logits.shape[-1],
    momentum=settings.momentum > 0,
    keeps_best=settings.validation_fraction > 0,
    exact=settings.method == "closed-form",
  )
  return {
    "trainable": [t.name for t in marked.mark.trainable],
    "trainable_parameters": sum(t.size for t in marked.mark.trainable),
    "trainer_bytes": parts.total,
    "trainer_bytes_parts": dataclasses.asdict(parts),
    "model_bytes": len(strip(marked.data)),
    "method": settings.method,
    "seed": settings.seed,
    "settings": dataclasses.asdict(settings),
  }


def evaluate_model(
  model: bytes,
  x: Array,
  y: Array,
  *,
  runtime: str = "litert",
  name: str = "model",
) -> dict[str, Any]:
  """Scores a .tflite on labelled clips.

  Args:
    model: an int8 or int16x8 .tflite, marked or not.
    x: clips [N, ...], as for `adapt`.
    y: classes, integers [N].
    runtime: one of `runtimes.NAMES`.
    name: what to call the model in errors.

  Returns:
    Accuracy, loss and cost; JSON-ready.

  Raises:
    TflmFgError: in one line, if anything does not fit.
  """
  mark = unmarked(model, name)
  part = whole(model, mark)
  logits = logits_spec(model, mark)
  inputs = tensor_spec(model, part.inputs[0])
  x, y = checked(Dataset(x, y), inputs, logits, "data")
  session = runtimes.open_session(runtime, part)
  began = time.perf_counter()
  result = score(logits_of(session, (x,)), y, loss_of(logits))
  return {
    "accuracy": result.accuracy,
    "loss": result.loss,
    "clips": len(y),
    "seconds": time.perf_counter() - began,
    "invoke_seconds": session.invoke_seconds,
    "forward_passes": session.forward_passes,
    "samples_run": session.samples_run,
    "model_bytes": len(model),
    "runtime": runtime,
    "versions": versions(),
  }


def _score_file(
  model: bytes, mark: Mark, runtime: str, clips: tuple[Array, Int64]
) -> Score:
  """Scores a whole file on clips on its input's grid, in a new session."""
  session = runtimes.open_session(runtime, whole(model, mark))
  loss = loss_of(logits_spec(model, mark))
  return score(logits_of(session, (clips[0],)), clips[1], loss)


_PACKAGES = (
  "tflm-fg",
  "numpy",
  "ai-edge-litert",
  "tflite-runtime",
  "tensorflow-cpu",
  "tensorflow",
  "tflite-micro",
)


def versions() -> dict[str, str]:
  """Versions of this project and of the engines that are installed."""
  found = {}
  for package in _PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found
