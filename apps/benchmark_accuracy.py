"""Adapt to a data set in each of the benchmark's ways, and say what it gave."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from tflm_fg.training.settings import Settings

import tflm_fg
from apps.benchmark_backprop import backpropagated, fit_keras
from apps.benchmark_data import Part
from apps.tflm_arena import arena
from tflm_fg.evaluation import evaluate_model
from tflm_fg.placement import (
  TrainingData,
  masters_of,
  open_for,
  phases_of,
  run_phase,
)
from tflm_fg.runtimes import RuntimeOptions, is_installed, open_session
from tflm_fg.tflite import mark_trainable, tensor_spec, unmarked, whole
from tflm_fg.training import (
  CLASSIFY,
  Callback,
  Dataset,
  Logs,
  State,
  checked,
  logits_of,
  logits_spec,
  model_input,
)

METHODS = {
  "before": "the model as it is",
  "descent": "float backpropagation of the head to convergence",
  "head": "the head, by its exact gradient",
  "plain": "the head, by --method alone",
  "self-set": "the same, its learning rate and epsilon chosen by itself",
  "auto": "the default: places and settings chosen by measuring",
  "unlabelled": "the same without labels",
  "fit-head": "Keras backpropagation of the head, the best of three rates",
  "fit-all": "Keras backpropagation of all weights, the best of three rates",
}

NEEDED = 0.01
"""How far under converged backpropagation of the head counts as reaching it."""

LOOK_EVERY = 25
"""Steps between looks of plain forward gradients at the test samples."""

TFLM_SAMPLES = 50
"""Test clips at most that TFLM runs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
  """One data set, seed and method; nan where a number means nothing.

  Attributes:
    data: the data set.
    seed: of samples and training.
    method: a key of `METHODS`.
    accuracy: share of the test samples.
    source: the same on the source's samples, after adapting.
    passes: forward passes of a batch, all of them.
    seconds: of adapting, or of `fit` alone.
    cpu_seconds: of this process meanwhile, scoring before and after included;
      a busy machine lengthens them less.
    reach_passes: passes until `NEEDED` under the method "descent".
    reach_seconds: seconds until then.
    added_bytes: by which the file grew.
    trainer_bytes: beyond what inference needs.
    arena_before: bytes of TFLM's arena for the file before adapting.
    arena_after: the same for the adapted file.
    tflm_equal: share of test samples that TFLM and LiteRT's reference kernels
      answer alike.
    tflm_lsb: largest difference of their logits, in steps.
    chosen: what was trained, where that was a choice.
  """

  data: str
  seed: int
  method: str
  accuracy: float
  source: float = math.nan
  passes: float = math.nan
  seconds: float = math.nan
  cpu_seconds: float = math.nan
  reach_passes: float = math.nan
  reach_seconds: float = math.nan
  added_bytes: float = math.nan
  trainer_bytes: float = math.nan
  arena_before: float = math.nan
  arena_after: float = math.nan
  tflm_equal: float = math.nan
  tflm_lsb: float = math.nan
  chosen: str = ""


class Job(NamedTuple):
  """What all methods share.

  Attributes:
    model: the .tflite.
    data: the data set's name.
    seed: of samples and training.
    train: samples to train on.
    test: samples to score on.
    source: samples of the source, or None.
    runtime: what adapts.
    plain: settings of the method "plain".
  """

  model: bytes
  data: str
  seed: int
  train: Part
  test: Part
  source: Part | None
  runtime: str
  plain: Settings

  def run(self, method: str, accuracy: float, **others: object) -> Run:
    """A row of the results."""
    known = {"data": self.data, "seed": self.seed, "method": method}
    return Run(**known, accuracy=accuracy, **others)  # type: ignore[arg-type]


def run_all(job: Job, methods: list[str]) -> Iterator[Run]:
  """Runs each of the methods."""
  goal = backpropagated(job.model, job.train, job.test)
  for method in methods:
    if method == "descent":
      yield job.run(method, goal)
    elif method == "before":
      yield _before(job)
    elif method.startswith("fit-"):
      yield _keras(job, method, goal - NEEDED)
    else:
      yield _adapted(job, method, goal - NEEDED)


def _before(job: Job) -> Run:
  return job.run(
    "before", _score(job.model, job.test), source=_source(job, job.model)
  )


def _score(model: bytes, part: Part) -> float:
  return float(evaluate_model(model, *part)["accuracy"])


def _source(job: Job, model: bytes) -> float:
  return _score(model, job.source) if job.source else math.nan


def _keras(job: Job, method: str, goal: float) -> Run:
  curves = fit_keras(
    job.model,
    job.train,
    job.test,
    job.source,
    trainable=method.removeprefix("fit-"),
    seed=job.seed,
  )
  best = max(curves, key=lambda curve: curve.accuracies[-1])
  reached = [c.reached(goal) for c in curves if not math.isnan(c.reached(goal))]
  return job.run(
    method,
    best.accuracies[-1],
    source=best.source,
    seconds=best.seconds[-1],
    reach_seconds=min(reached, default=math.nan),
    chosen=f"rate {best.rate:g}",
  )


def _adapted(job: Job, method: str, goal: float) -> Run:
  labelled = method != "unlabelled"
  settings = Settings(seed=job.seed, labels="given" if labelled else "none")
  if method in ("plain", "self-set"):
    settings = job.plain
  if method == "self-set":
    settings = dataclasses.replace(
      settings,
      epsilon_lsb=None,  # type: ignore[arg-type]
      learning_rate_lsb=None,  # type: ignore[arg-type]
    )
  cpu = time.process_time()
  result = tflm_fg.adapt(
    job.model,
    job.train[0],
    job.train[1] if labelled else None,
    test=job.test,
    trainable="auto" if method in ("auto", "unlabelled") else "head",
    runtime=job.runtime,
    settings=settings,
  )
  cpu = time.process_time() - cpu
  report, adapted = result.report, tflm_fg.strip(result.model)
  passes, seconds = report["forward_passes"], report["seconds"]
  reach = (passes, seconds)
  if method in ("plain", "self-set"):
    reach = plain_reach(job, settings, goal)
  elif report["accuracy_after"] < goal:
    reach = (math.nan, math.nan)
  equal, lsb = agreement(adapted, job.test[0][:TFLM_SAMPLES])
  return job.run(
    method,
    report["accuracy_after"],
    source=_source(job, adapted),
    passes=passes,
    seconds=seconds,
    cpu_seconds=cpu,
    reach_passes=reach[0],
    reach_seconds=reach[1],
    added_bytes=report["added_bytes"],
    trainer_bytes=report["trainer_bytes"],
    arena_before=arena(job.model),
    arena_after=arena(adapted),
    tflm_equal=equal,
    tflm_lsb=lsb,
    chosen=_chosen(report),
  )


def _chosen(report: dict[str, Any]) -> str:
  """The way that was taken; "in part" where one of its phases did harm."""
  titles = [
    candidate["trainable"]
    for candidate in report["ways"]
    if candidate["chosen"]
  ]
  if not titles:
    return ""
  whole = len(report["phases"]) > titles[0].count(",")
  return titles[0] if whole else f"{titles[0]} (in part)"


class _Watch(Callback):
  """Stops where the test samples are answered well enough.

  Its looks at them are counted neither as passes nor as seconds.
  """

  def __init__(self, goal: float) -> None:
    self._goal = goal
    self._before, self._ran = time.perf_counter(), 0
    self.passes, self.seconds = 0, 0.0

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    now = time.perf_counter()
    self.seconds += now - self._before
    self.passes += logs["forward_passes"] - self._ran
    self._before, self._ran = now, logs["forward_passes"]

  def on_test_end(self, state: State, logs: Logs) -> None:
    self.stop_training = logs["val_accuracy"] >= self._goal
    self._before, self._ran = time.perf_counter(), logs["forward_passes"]


def plain_reach(
  job: Job, settings: Settings, goal: float
) -> tuple[float, float]:
  """Passes and seconds of plain steps until the test samples reach a goal.

  Returns:
    nan twice where they never do.
  """
  marked = mark_trainable(job.model, "head")
  settings = dataclasses.replace(settings, validate_every=LOOK_EVERY)
  (phase,) = phases_of(marked, settings)
  inputs = tensor_spec(
    job.model, whole(job.model, unmarked(job.model)).inputs[0]
  )
  outputs = logits_spec(job.model, unmarked(job.model))
  train, test = (
    checked(Dataset(*part), inputs, outputs, "clips")
    for part in (job.train, job.test)
  )
  x, labels = (np.concatenate(pair) for pair in zip(train, test))
  open_phase = open_for(
    phase,
    marked.data,
    marked.mark,
    masters_of(marked.data, marked.mark),
    x,
    RuntimeOptions(runtime=job.runtime),
  )
  numbers = np.arange(len(x))
  cut = len(train[0])
  training_data = TrainingData(
    x, labels, numbers[:cut], numbers[cut:], CLASSIFY
  )
  watch = _Watch(goal)
  run_phase(open_phase, training_data, [watch])
  if not watch.stop_training:
    return math.nan, math.nan
  return watch.passes, watch.seconds


def agreement(model: bytes, x: np.ndarray) -> tuple[float, float]:
  """How TFLM and LiteRT's reference kernels agree; nan without TFLM.

  Returns:
    Share of samples that they answer alike; largest difference of their logits.
  """
  if not is_installed("tflm"):
    return math.nan, math.nan
  part = whole(model, unmarked(model, "adapted"))
  samples = model_input(x, tensor_spec(model, part.inputs[0]))
  one, other = (
    logits_of(open_session(name, part), (samples,)).astype(int)
    for name in ("litert-reference", "tflm")
  )
  equal = (one.argmax(axis=1) == other.argmax(axis=1)).mean()
  return float(equal), float(np.abs(one - other).max())
