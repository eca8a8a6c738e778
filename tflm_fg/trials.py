"""Turn a first learning rate into one that short runs bore out.

Slope and bend where a phase begins say little of where it ends: far from the
right answers a loss is steep and straight, and the steps that suit it there are
noise later, the more so the more numbers move. So a phase that has steps to
spare tries some rates before it settles on one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from tflm_fg.defaults import FORWARD
from tflm_fg.metrics import Score
from tflm_fg.settings import Settings
from tflm_fg.tuning import MOST_RATE, SHORT_RUN

FACTORS = (16.0, 4.0, 1.0, 1 / 4, 1 / 16)
"""Of the first rate."""

SHARE, MOST_STEPS = 16, 250
"""A trial has so much fewer steps than the phase, and never more than these."""


def has_to_spare(given: Settings) -> bool:
  """Whether a phase tries rates: a long one, by forward gradients, unset."""
  return (
    given.learning_rate_lsb is None
    and given.method in FORWARD
    and given.steps > SHORT_RUN
  )


def tried(
  settings: Settings, run: Callable[[Settings], Score]
) -> tuple[Settings, str]:
  """Settings with the rate whose short run ended with the lowest loss.

  Args:
    settings: with the first rate.
    run: trains from the phase's start and scores the end.

  Returns:
    The settings, and why the rate is what it is.
  """
  steps = max(1, min(settings.steps // SHARE, MOST_STEPS))
  longer = 1.0
  if settings.steps_by_rate:
    # Signs do not shrink where slopes do, so the noise of more steps must.
    longer = math.sqrt(settings.steps // steps)
  losses = {}
  for factor in FACTORS:
    rate = min(longer * factor * settings.learning_rate_lsb, MOST_RATE)
    own = dataclasses.replace(settings, learning_rate_lsb=rate, steps=steps)
    losses[factor] = run(own).total
  best = min(losses, key=lambda factor: losses[factor])
  rate = min(float(f"{best * settings.learning_rate_lsb:.3g}"), MOST_RATE)
  why = f"{rate:g}: the best of {len(FACTORS)} in runs of {steps} steps"
  return dataclasses.replace(settings, learning_rate_lsb=rate), why
