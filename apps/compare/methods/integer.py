"""A cell and clips go in; it is run in the integer engine, and scored there."""

from __future__ import annotations

import dataclasses
import time
from typing import NamedTuple

import tflm_fg
from apps.compare.data.episodes import Episode
from apps.compare.grid import SAME_RATE, Cell, settings_of
from apps.compare.methods import learning_rates, scoring
from apps.compare.results.rows import Measured
from tflm_fg.placement.measure import measured
from tflm_fg.placement.split_model import input_spec
from tflm_fg.tflite.select_trainable import Marked, Surgery, mark
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.data import Dataset, model_input
from tflm_fg.training.settings import Settings

RUNTIME = "litert-xnnpack"
"""What scores whole files: the kernels that score a run's looks as well."""


def zero_shot(task: Episode) -> Measured:
  """The file as it is, scored."""
  began = time.perf_counter()
  found = tflm_fg.evaluate_model(task.model, *task.test, runtime=RUNTIME)
  return Measured(
    accuracy_before=found["accuracy"],
    accuracy_after=found["accuracy"],
    loss_before=found["loss"],
    loss_after=found["loss"],
    seconds=time.perf_counter() - began,
    curve=((0, found["accuracy"]),),
  )


def auto(cell: Cell, task: Episode) -> Measured:
  """What the default does, with its own count of passes."""
  before = zero_shot(task)
  result = tflm_fg.adapt(
    task.model,
    *task.train,
    trainable="auto",
    settings=settings_of(cell),
    strategy=scoring.HOST.strategy,
    workers=1,
  )
  report = result.report
  after = tflm_fg.evaluate_model(
    tflm_fg.strip(result.model), *task.test, runtime=RUNTIME
  )
  ways = [w["trainable"] for w in report["ways"] if w["chosen"]]
  return dataclasses.replace(
    before,
    accuracy_after=after["accuracy"],
    loss_after=after["loss"],
    forward_passes=report["forward_passes"],
    seconds=report["seconds"],
    chosen=", ".join(ways),
    curve=(*before.curve, (report["forward_passes"], after["accuracy"])),
  )


def forward(cell: Cell, task: Episode) -> Measured:
  """One method on what a cell trains."""
  marked = marked_of(cell, task)
  settings = settings_of(cell)
  if cell.precision == SAME_RATE:
    rival = settings_of(dataclasses.replace(cell, precision="16w8a"))
    rival = learning_rates.chosen(cell, rival, task, tuner_of(marked))
    settings = dataclasses.replace(rival, precision=settings.precision)
  elif cell.method != "closed-form":
    settings = learning_rates.chosen(cell, settings, task, tuner_of(marked))
  look = scoring.Looks(scoring.scorer_of(marked, Dataset(*task.test)))
  ran = trained(marked, task, settings, look)
  return of_looks(look, ran.seconds, told(ran.settings))


def tuner_of(marked: Marked) -> learning_rates.Tuner:
  """Trains the marked file for a while, to compare rates."""

  def filled(settings: Settings, part: Episode) -> Settings:
    return trained(marked, part, settings, NoStep()).settings

  def trial(settings: Settings, part: Episode) -> learning_rates.Found:
    look = scoring.Looks(
      scoring.scorer_of(marked, Dataset(*part.test)), looks=2
    )
    trained(marked, part, settings, look)
    last = look.scores[-1]
    return learning_rates.Found(1 - last.accuracy, last.loss)

  return learning_rates.Tuner(filled, trial)


class NoStep(Callback):
  """Ends a run before it begins, when all has set itself."""

  stop_training = True
  seconds = 0.0


def of_looks(look: scoring.Looks, seconds: float, chosen: str) -> Measured:
  """What a run gave that was looked at from its start to its end."""
  first, last = look.scores[0], look.scores[-1]
  return Measured(
    accuracy_before=first.accuracy,
    accuracy_after=last.accuracy,
    loss_before=first.loss,
    loss_after=last.loss,
    forward_passes=look.passes,
    seconds=seconds,
    chosen=chosen,
    curve=look.curve,
  )


class Ran(NamedTuple):
  """Seconds of training, and the settings with nothing left open."""

  seconds: float
  settings: Settings


def trained(
  marked: Marked,
  task: Episode,
  settings: Settings,
  look: scoring.Looks | NoStep,
) -> Ran:
  """Trains a marked file under one method."""
  report = tflm_fg.adapt(
    marked.data,
    *task.train,
    settings=settings,
    strategy=scoring.HOST.strategy,
    workers=1,
    callbacks=[look],
  ).report
  filled = Settings(**report["phases"][0]["settings"])
  return Ran(report["seconds"] - look.seconds, filled)


def told(settings: Settings) -> str:
  """What was chosen for a run, for people."""
  return (
    f"rate {settings.learning_rate_lsb:g}, epsilon {settings.epsilon_lsb:g}"
  )


def marked_of(cell: Cell, task: Episode) -> Marked:
  """The file, marked for what a cell trains."""
  surgery = Surgery()
  if cell.trainable == "wide-head":
    x = model_input(task.train[0], input_spec(task.model))
    surgery, _ = measured(task.model, x, surgery, scoring.HOST)
  return mark(task.model, cell.trainable, surgery=surgery)
