"""A cell goes in; the float32 twin is trained by forward gradients."""

from __future__ import annotations

import dataclasses
import math
import time

from apps.compare import rates
from apps.compare.domains import Episode
from apps.compare.engine_runs import marked_of, told, tuner_of
from apps.compare.float_gradients import float_gradients
from apps.compare.grid import Cell, settings_of
from apps.compare.looks import LOOKS
from apps.compare.results import Measured


def run(cell: Cell, task: Episode) -> Measured:
  """Takes the rate that 16w8a chooses, so that precision alone differs."""
  marked = marked_of(cell, task)
  settings = rates.chosen(cell, settings_of(cell), task, tuner_of(marked))
  every = max(1, math.ceil(settings.steps / (LOOKS - 1)))
  settings = dataclasses.replace(settings, validate_every=every)
  began = time.perf_counter()
  found = float_gradients(marked.data, settings, task.train, task.test)
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
