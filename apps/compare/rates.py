"""A cell and clips go in; the learning rate to run it with comes out.

Forward gradients choose as backpropagation does: a few stated rates are tried
in short runs on a part of the training clips and compared on the rest. Those
passes are counted in neither's budget.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

from apps.compare.domains import Episode
from apps.compare.grid import Cell
from tflm_fg.data import hold_out
from tflm_fg.settings import Settings

FACTORS = (1.0, 10.0, 4.0, 1.6, 0.64, 0.26, 0.1, 0.04)
"""Rates that are tried, as multiples of what sets itself without momentum."""

KEPT_FRACTION = 0.25
"""Share of the training clips that rates are compared on."""

TRIAL_SHARE = 4
"""A trial is this much shorter than the run, its decay included, and the run
takes steps smaller by the root of it."""


class Found(NamedTuple):
  """What a trial gave on the clips kept aside, in the order of their weight.

  Loss alone would choose a network that has collapsed to even odds, where the
  start is sure of what is wrong.
  """

  errors: float
  loss: float


Trial = Callable[[Settings, Episode], tuple[Found, Settings]]
"""Trains on an episode; gives how its test clips fared, and the settings with
what set itself filled in."""


def aside(task: Episode, seed: int) -> Episode | None:
  """The training clips with a part of them to score on; None with too few."""
  x, y = task.train
  fit, kept = hold_out(y, KEPT_FRACTION, seed)
  if not len(kept):
    return None
  return dataclasses.replace(
    task, train=(x[fit], y[fit]), test=(x[kept], y[kept])
  )


def chosen(
  cell: Cell, settings: Settings, task: Episode, trial: Trial
) -> Settings:
  """Settings with the rate that does best on clips kept aside.

  Args:
    cell: what is run.
    settings: its settings; a rate that they fix is kept.
    task: the episode; its test clips are not looked at.
    trial: trains.
  """
  part = aside(task, cell.seed)
  fixed = settings.learning_rate_lsb
  if part is None or (fixed is not None and cell.method != "node"):
    return settings
  steps = max(1, settings.steps // TRIAL_SHARE)
  short = dataclasses.replace(settings, steps=steps)
  first, filled = trial(short, part)
  found = {filled.learning_rate_lsb: first}
  # With momentum a step goes on for 1 / (1 - momentum) steps.
  unit = filled.learning_rate_lsb * (1 - filled.momentum)
  for rate in (float(f"{unit * factor:.3g}") for factor in FACTORS):
    if rate not in found:
      own = dataclasses.replace(filled, learning_rate_lsb=rate)
      found[rate] = trial(own, part)[0]
  best = min(found, key=lambda rate: found[rate])
  # A longer run averages the noise of its steps over more and smaller ones.
  rate = best / math.sqrt(TRIAL_SHARE)
  return dataclasses.replace(
    settings,
    epsilon_lsb=filled.epsilon_lsb,
    learning_rate_lsb=float(f"{rate:.3g}"),
  )
