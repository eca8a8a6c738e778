"""Adapt to a data set by several methods, as a user would, and measure much.

Beside accuracy: passes, seconds, what is forgotten of the source, when
backpropagation's accuracy of the head is reached, how the file grows, and
whether TFLM answers the same.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import tflm_fg
from apps.compare.analyses.tflm_arena import agreement, arena
from apps.compare.cell_settings import of_default, of_one_method
from apps.compare.data import registry, voices
from apps.compare.data.registry import UserData
from apps.compare.data.sampling import Part
from apps.compare.methods.backprop_epochs import fit_keras
from apps.compare.methods.head_descent import backpropagated
from apps.compare.methods.logistic import regressed
from apps.compare.results.analysis_rows import Adaptation, to_csv
from apps.compare.results.rows import versions_text
from tflm_fg import evaluate
from tflm_fg.callbacks import Callback, Logs, State
from tflm_fg.marking import mark_trainable
from tflm_fg.methods import Method
from tflm_fg.placement import (
  TrainingData,
  masters_of,
  open_for,
  phases_of,
  run_phase,
)
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.samples import Dataset
from tflm_fg.tflite import tensor_spec, unmarked, whole
from tflm_fg.training import CLASSIFY, Objective, checked, logits_spec
from tflm_fg.types import TflmFgError

NEEDED = 0.01
"""How far under converged backpropagation of the head counts as reaching it."""

SCORE_EVERY = 25
"""Steps of plain forward gradients between scores of the test samples."""

TFLM_SAMPLES = 50
"""Test samples at most that TFLM runs."""

TFLM_BYTES = 1 << 20
"""A larger file is not run in TFLM, whose reference kernels take minutes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
  """One data set and seed to adapt to by several methods.

  Attributes:
    domain: the data set.
    seed: of samples and training.
    methods: keys of `ADAPTATIONS`.
    plain_method: what the method "plain" is.
    plain_steps: its steps; 0 for its method's own.
    runtime: what runs the passes.
  """

  domain: str
  seed: int
  methods: tuple[str, ...]
  plain_method: str = "sign-m-spsa"
  plain_steps: int = 0
  runtime: str = "litert"

  @property
  def title(self) -> str:
    """What it is, for people."""
    return f"accuracy on {registry.title(self.domain)}, seed {self.seed}"

  @property
  def files(self) -> tuple[str, ...]:
    """What it makes."""
    return (f"accuracy-{registry.title(self.domain)}-{self.seed}.csv",)

  def made_with(self, user_data: UserData) -> str:
    """All that its rows depend on, in one line."""
    own = dataclasses.asdict(self)
    own |= {
      "data": registry.fingerprint(self.domain, user_data),
      "versions": versions_text(),
    }
    return json.dumps(own, sort_keys=True)


def run(job: Accuracy, user_data: UserData) -> dict[str, bytes]:
  """Adapts by every method, and returns the CSV.

  Raises:
    TflmFgError: naming the job, if it cannot be run.
  """
  try:
    rows = list(run_all(task_of(job, user_data), job.methods))
  except TflmFgError as fault:
    raise TflmFgError(f"{job.title}: {fault}") from None
  return {job.files[0]: to_csv(rows, job.made_with(user_data))}


def task_of(job: Accuracy, user_data: UserData) -> AccuracyTask:
  """The model and the samples of a job."""
  episode = registry.load(job.domain, job.seed, user_data)
  return AccuracyTask(
    model=episode.model,
    data=registry.title(job.domain),
    seed=job.seed,
    train=episode.train,
    test=episode.test,
    source=voices.source_of(job.domain, job.seed),
    runtime=job.runtime,
    plain_method=job.plain_method,
    plain_steps=job.plain_steps or None,
  )


class AccuracyTask(NamedTuple):
  """What all methods share.

  Attributes:
    model: the .tflite.
    data: the data set's name.
    seed: of samples and training.
    train: samples to train on.
    test: samples to score on.
    source: samples of the source, or None.
    runtime: what adapts.
    plain_method: what "plain" and "self-set" are.
    plain_steps: their steps; None for the method's own.
  """

  model: bytes
  data: str
  seed: int
  train: Part
  test: Part
  source: Part | None
  runtime: str
  plain_method: str
  plain_steps: int | None

  def settings(self, method: str) -> Method:
    """What `tflm_fg.adapt` is given under one of the methods."""
    if method in ("plain", "self-set"):
      return of_one_method(
        self.plain_method,
        self.seed,
        self.plain_steps,
        self_set=method == "self-set",
      )
    return of_default(self.seed)

  def row(self, method: str, accuracy: float, **others: object) -> Adaptation:
    """A row of the results."""
    known = {"data": self.data, "seed": self.seed, "method": method}
    return Adaptation(**known, accuracy=accuracy, **others)  # type: ignore[arg-type]


def run_all(task: AccuracyTask, methods: Sequence[str]) -> Iterator[Adaptation]:
  """Runs each of the methods."""
  goal = math.nan
  if "logistic" not in methods or "descent" in methods:
    goal = backpropagated(task.model, task.train, task.test)
  for method in methods:
    if method == "descent":
      yield task.row(method, goal)
    elif method == "logistic":
      yield task.row(method, regressed(task.model, task.train, task.test))
    elif method == "before":
      yield _before(task)
    elif method.startswith("fit-"):
      yield _keras(task, method, goal - NEEDED)
    else:
      yield _adapted(task, method, goal - NEEDED)


def _before(task: AccuracyTask) -> Adaptation:
  return task.row(
    "before", _score(task.model, task.test), source=_source(task, task.model)
  )


def _score(model: bytes, part: Part) -> float:
  return float(evaluate(model, *part)["accuracy"])


def _source(task: AccuracyTask, model: bytes) -> float:
  return _score(model, task.source) if task.source else math.nan


def _keras(task: AccuracyTask, method: str, goal: float) -> Adaptation:
  curves = fit_keras(
    task.model,
    task.train,
    task.test,
    task.source,
    trainable=method.removeprefix("fit-"),
    seed=task.seed,
  )
  best = max(curves, key=lambda curve: curve.accuracies[-1])
  reached = [c.reached(goal) for c in curves if not math.isnan(c.reached(goal))]
  return task.row(
    method,
    best.accuracies[-1],
    source=best.source,
    seconds=best.seconds[-1],
    reach_seconds=min(reached, default=math.nan),
    chosen=f"rate {best.rate:g}",
  )


def _adapted(task: AccuracyTask, method: str, goal: float) -> Adaptation:
  labelled = method != "unlabelled"
  settings = task.settings(method)
  cpu = time.process_time()
  result = tflm_fg.adapt(
    task.model,
    task.train[0],
    task.train[1] if labelled else None,
    test=task.test,
    trainable="auto" if method in ("auto", "unlabelled") else "head",
    runtime=task.runtime,
    method=settings,
  )
  cpu = time.process_time() - cpu
  report, adapted = result.report, result.model
  passes, seconds = report["forward_passes"], report["seconds"]
  reach = (passes, seconds)
  if method in ("plain", "self-set"):
    reach = plain_reach(task, settings, goal)
  elif not report["accuracy_after"] >= goal:
    reach = (math.nan, math.nan)
  small = len(task.model) <= TFLM_BYTES
  equal, lsb = math.nan, math.nan
  if small:
    equal, lsb = agreement(adapted, task.test[0][:TFLM_SAMPLES])
  return task.row(
    method,
    report["accuracy_after"],
    source=_source(task, adapted),
    passes=passes,
    seconds=seconds,
    cpu_seconds=cpu,
    reach_passes=reach[0],
    reach_seconds=reach[1],
    added_bytes=report["added_bytes"],
    trainer_bytes=report["trainer_bytes"],
    arena_before=arena(task.model) if small else math.nan,
    arena_after=arena(adapted) if small else math.nan,
    tflm_equal=equal,
    tflm_lsb=lsb,
    chosen=_chosen(report),
  )


def _chosen(report: Mapping[str, Any]) -> str:
  """What was trained; "in part" where one of the phases did harm."""
  titles = [
    candidate["trainable"]
    for candidate in report["candidates"]
    if candidate["chosen"]
  ]
  if not titles:
    return ""
  whole = len(report["phases"]) > titles[0].count(",")
  return titles[0] if whole else f"{titles[0]} (in part)"


class _Watch(Callback):
  """Stops where the test samples are answered well enough.

  Scoring them is counted neither in passes nor in seconds.
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
  task: AccuracyTask, settings: Method, goal: float
) -> tuple[float, float]:
  """Passes and seconds of plain steps until the test samples reach a goal.

  Returns:
    nan twice where they never do.
  """
  marked = mark_trainable(task.model, "head")
  settings = dataclasses.replace(settings, validate_every=SCORE_EVERY)
  (phase,) = phases_of(marked, settings, Objective())
  inputs = tensor_spec(
    task.model, whole(task.model, unmarked(task.model)).inputs[0]
  )
  outputs = logits_spec(task.model, unmarked(task.model))
  train, test = (
    checked(Dataset(*part), inputs, outputs, "samples")
    for part in (task.train, task.test)
  )
  x, labels = (np.concatenate(pair) for pair in zip(train, test))
  open_phase = open_for(
    phase,
    marked.data,
    marked.mark,
    masters_of(marked.data, marked.mark),
    x,
    RuntimeOptions(runtime=task.runtime),
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
