"""A cell goes in; the float32 twin is trained by forward gradients."""

from __future__ import annotations

import dataclasses
import math
import time

from apps.compare import rates
from apps.compare.domains import Episode
from apps.compare.float_gradients import FloatRun, float_gradients
from apps.compare.grid import Cell, settings_of
from apps.compare.looks import LOOKS
from apps.compare.results import Measured
from apps.compare.runs import marked_of, told
from tflm_fg.settings import Settings


def run(cell: Cell, task: Episode) -> Measured:
  """Chooses a rate as the integer runs do, and trains."""
  marked = marked_of(cell, task).data

  def train(settings: Settings, part: Episode, looks: int) -> FloatRun:
    every = max(1, math.ceil(settings.steps / (looks - 1)))
    own = dataclasses.replace(settings, validate_every=every)
    return float_gradients(marked, own, part.train, part.test)

  def trial(settings: Settings, part: Episode) -> tuple[float, Settings]:
    found = train(settings, part, 2)
    return found.looks[-1].loss, found.settings

  settings = rates.chosen(cell, settings_of(cell), task, trial)
  began = time.perf_counter()
  found = train(settings, task, LOOKS)
  first, last = found.looks[0], found.looks[-1]
  return Measured(
    accuracy_before=first.accuracy,
    accuracy_after=last.accuracy,
    loss_before=first.loss,
    loss_after=last.loss,
    forward_passes=last.passes,
    seconds=time.perf_counter() - began,
    chosen=told(found.settings),
    curve=tuple((look.passes, look.accuracy) for look in found.looks),
  )
