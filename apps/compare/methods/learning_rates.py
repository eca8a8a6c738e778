"""Choose the learning rate of a cell, on a part of its training samples.

Forward gradients choose as backpropagation does: three stated rates are tried
in short runs on a part of the training samples and compared on the rest. The
middle one is what sets itself. Those passes are counted in neither's budget;
tables say how many they are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

from apps.compare.data.episodes import Episode
from apps.compare.grid import Cell
from tflm_fg import training
from tflm_fg.methods import Method
from tflm_fg.optimizers import OPTIMIZERS
from tflm_fg.training import MOST_RATE, MOST_STEPS, SHARE, SHORT_RUN, hold_out

FACTORS = (1.0, 2.5, 0.4)
"""Rates that are tried, as multiples of what sets itself: as many as are tried
for backpropagation."""

KEPT_FRACTION = 0.25
"""Share of the training samples that rates are compared on."""

TRIAL_SHARE = 4
"""A trial is this much shorter than the run, its decay included, and takes
steps larger by the root of it where a step does not shrink as slopes do."""

BACKPROP_STEPS = 200
"""Steps at most that a rate of backpropagation is tried for."""


class Found(NamedTuple):
  """What a trial gave on the samples kept aside, in the order of their weight.

  Loss alone would choose a network that has collapsed to even odds, where the
  start is sure of what is wrong.
  """

  errors: float
  loss: float


class Tuner(NamedTuple):
  """What finds out how to run a cell.

  Attributes:
    filled: from a method and an episode, the method with what sets itself
      filled in, for the whole run; it takes no step of that run.
    trial: trains on an episode; returns how its test samples fared.
  """

  filled: Callable[[Method, Episode], Method]
  trial: Callable[[Method, Episode], Found]


def held_out(task: Episode, seed: int) -> Episode | None:
  """The training samples with a part of them to score on; None with too few."""
  x, y = task.train
  fit, kept = hold_out(y, KEPT_FRACTION, seed)
  if not len(kept):
    return None
  return dataclasses.replace(
    task, train=(x[fit], y[fit]), test=(x[kept], y[kept])
  )


def chosen(cell: Cell, settings: Method, task: Episode, tuner: Tuner) -> Method:
  """The method with the rate that does best on samples kept aside.

  What sets itself does so once; the trials are given their rates.

  Args:
    cell: what is run.
    settings: its method; a rate that it fixes is kept.
    task: the episode; its test samples are not used.
    tuner: fills in and trains.
  """
  part = held_out(task, cell.seed)
  fixed = settings.learning_rate_lsb
  if part is None or (fixed is not None and cell.method != "node"):
    return settings
  filled = tuner.filled(settings, part)
  steps = max(1, settings.steps // TRIAL_SHARE)
  # A longer run averages the noise of its steps over more and smaller ones;
  # slopes of their own size grow smaller by themselves.
  longer = math.sqrt(settings.steps / steps) if filled.steps_by_rate else 1.0
  found: dict[float, Found] = {}
  for factor in FACTORS:
    rate = _within(factor * filled.learning_rate_lsb, settings)
    if rate not in found:
      own = dataclasses.replace(
        filled, learning_rate_lsb=_within(rate * longer, settings), steps=steps
      )
      found[rate] = tuner.trial(own, part)
  return dataclasses.replace(
    settings,
    epsilon_lsb=filled.epsilon_lsb,
    learning_rate_lsb=min(found, key=lambda rate: found[rate]),
  )


def _within(rate: float, settings: Method) -> float:
  """A rate that the optimizer takes; three digits read well."""
  most = OPTIMIZERS[settings.optimizer].most_rate or MOST_RATE
  return float(f"{min(rate, most):.3g}")


def cost() -> str:
  """What choosing takes of both, for people."""
  return (
    f"forward gradients set themselves (over {SHORT_RUN} steps with "
    f"{len(training.FACTORS)} runs of 1/{SHARE} of the steps, at most "
    f"{MOST_STEPS}), then try "
    f"{len(FACTORS)} rates around that in runs of 1/{TRIAL_SHARE}; "
    f"backpropagation tries {len(FACTORS)} stated rates in runs of at most "
    f"{BACKPROP_STEPS} steps"
  )
