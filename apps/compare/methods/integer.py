"""Run a cell on its samples in the integer engine, and score it there."""

from __future__ import annotations

import dataclasses
import time
from typing import NamedTuple

import tflm_fg
from apps.compare.cell_settings import settings_in_report, settings_of
from apps.compare.data.episodes import Episode, source_of
from apps.compare.grid import ALTERNATING, SAME_RATE, WEIGHTS, Cell
from apps.compare.methods import learning_rates, scoring
from apps.compare.results.rows import Measured
from tflm_fg.callbacks import Callback
from tflm_fg.marking import mark_trainable
from tflm_fg.methods import Method
from tflm_fg.placement import measured, with_source_means
from tflm_fg.samples import Dataset, model_input
from tflm_fg.tflite import GraphOptions, MarkedModel, input_spec

OWN_RATE = ("closed-form", "statistics")
"""Methods that step by a known length: no learning rate is tried."""

RUNTIME = "litert-xnnpack"
"""What scores whole files: the kernels that also score during a run."""


def zero_shot(task: Episode) -> Measured:
  """The file as it is, scored."""
  began = time.perf_counter()
  found = tflm_fg.evaluate(task.model, *task.test, runtime=RUNTIME)
  return Measured(
    accuracy_before=found["accuracy"],
    accuracy_after=found["accuracy"],
    loss_before=found["loss"],
    loss_after=found["loss"],
    seconds=time.perf_counter() - began,
    curve=((0, found["accuracy"]),),
  )


def auto(cell: Cell, task: Episode) -> Measured:
  """What the default does, or alternation, with its own count of passes."""
  before = zero_shot(task)
  result = tflm_fg.adapt(
    task.model,
    *task.train,
    trainable=ALTERNATING if cell.method == "alternation" else "auto",
    method=settings_of(cell),
    strategy=scoring.RUNTIME_OPTIONS.strategy,
    workers=1,
  )
  report = result.report
  after = tflm_fg.evaluate(result.model, *task.test, runtime=RUNTIME)
  candidates = [w["trainable"] for w in report["candidates"] if w["chosen"]]
  return dataclasses.replace(
    before,
    accuracy_after=after["accuracy"],
    loss_after=after["loss"],
    forward_passes=report["forward_passes"],
    seconds=report["seconds"],
    chosen=", ".join(candidates),
    curve=(*before.curve, (report["forward_passes"], after["accuracy"])),
  )


def forward(cell: Cell, task: Episode, cache: str | None = None) -> Measured:
  """One method on what a cell trains.

  Args:
    cell: what to run.
    task: its model and samples.
    cache: a folder that keeps spoken samples, or None.
  """
  marked = marked_of(cell, task)
  if cell.method == "statistics":
    source = model_input(source_of(task.name, cache), input_spec(task.model))
    marked = with_source_means(marked, source, scoring.RUNTIME_OPTIONS)
  settings = settings_of(cell)
  if cell.precision == SAME_RATE:
    other = settings_of(dataclasses.replace(cell, precision="16w8a"))
    other = learning_rates.chosen(cell, other, task, tuner_of(marked))
    settings = dataclasses.replace(other, precision=settings.precision)
  elif cell.method not in OWN_RATE:
    settings = learning_rates.chosen(cell, settings, task, tuner_of(marked))
  watch = scoring.TestScores(scoring.scorer_of(marked, Dataset(*task.test)))
  ran = trained(marked, task, settings, watch)
  return result_of(watch, ran.seconds, description(ran.settings))


def tuner_of(marked: MarkedModel) -> learning_rates.Tuner:
  """Trains the marked file for a while, to compare rates."""

  def filled(settings: Method, part: Episode) -> Method:
    return trained(marked, part, settings, NoStep()).settings

  def trial(settings: Method, part: Episode) -> learning_rates.Found:
    watch = scoring.TestScores(
      scoring.scorer_of(marked, Dataset(*part.test)), count=2
    )
    trained(marked, part, settings, watch)
    last = watch.scores[-1]
    return learning_rates.Found(1 - last.accuracy, last.loss)

  return learning_rates.Tuner(filled, trial)


class NoStep(Callback):
  """Ends a run before it begins, when all has set itself."""

  stop_training = True
  seconds = 0.0


def result_of(
  watch: scoring.TestScores, seconds: float, chosen: str
) -> Measured:
  """What a run gave that was scored from its start to its end."""
  first, last = watch.scores[0], watch.scores[-1]
  return Measured(
    accuracy_before=first.accuracy,
    accuracy_after=last.accuracy,
    loss_before=first.loss,
    loss_after=last.loss,
    forward_passes=watch.passes,
    seconds=seconds,
    chosen=chosen,
    curve=watch.curve,
  )


class Ran(NamedTuple):
  """Seconds of training, and the settings with nothing left open."""

  seconds: float
  settings: Method


def trained(
  marked: MarkedModel,
  task: Episode,
  settings: Method,
  watch: scoring.TestScores | NoStep,
) -> Ran:
  """Trains a marked file under one method."""
  report = tflm_fg.adapt(
    marked.data,
    *task.train,
    method=settings,
    labels="auto" if settings.takes_loss else "none",
    strategy=scoring.RUNTIME_OPTIONS.strategy,
    workers=1,
    callbacks=[watch],
  ).report
  filled = settings_in_report(report["phases"][0]["settings"])
  return Ran(report["seconds"] - watch.seconds, filled)


def description(settings: Method) -> str:
  """What was chosen for a run, for people."""
  chosen = f"rate {settings.learning_rate_lsb:g}"
  epsilon = getattr(settings, "epsilon_lsb", None)  # not all methods have one
  return chosen if epsilon is None else f"{chosen}, epsilon {epsilon:g}"


def marked_of(cell: Cell, task: Episode) -> MarkedModel:
  """The file, marked for what a cell trains."""
  graph_options = GraphOptions(weights=WEIGHTS.get(cell.precision, "int8"))
  if cell.trainable == "wide-head":
    x = model_input(task.train[0], input_spec(task.model))
    graph_options, _ = measured(
      task.model, x, graph_options, scoring.RUNTIME_OPTIONS
    )
  return mark_trainable(task.model, cell.trainable, graph_options=graph_options)
