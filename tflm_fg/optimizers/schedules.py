"""Turn a step's number into a learning rate, in integers."""

from __future__ import annotations

import math
from collections.abc import Callable

from tflm_fg.types import TflmFgError

Schedule = Callable[[int], int]
"""Step -> learning rate in Q16 int8 steps."""

DECAYS = ("constant", "linear", "cosine")

RATE_BITS = 16

_COSINE = tuple(
  round((1 + math.cos(math.pi * i / 256)) / 2 * (1 << RATE_BITS))
  for i in range(257)
)
"""Half a wave from 1 down to 0 in Q16, rounded once."""


def schedule(learning_rate_lsb: float, decay: str, steps: int) -> Schedule:
  """Makes a schedule of integers.

  Args:
    learning_rate_lsb: the first step's rate, in int8 steps.
    decay: "constant"; "linear" or "cosine" down to zero behind the last step.
    steps: count of steps.

  Raises:
    TflmFgError: if the rate or the decay is out of range.
  """
  if decay not in DECAYS:
    raise TflmFgError(
      f"decay {decay!r} is unknown; choose one of {', '.join(DECAYS)}"
    )
  if not 1 << RATE_BITS >= abs(learning_rate_lsb) >= 2.0**-RATE_BITS:
    raise TflmFgError(
      f"learning_rate_lsb={learning_rate_lsb}: need 2**-16 to 65536 int8 steps"
    )
  start = round(abs(learning_rate_lsb) * (1 << RATE_BITS))
  sign = 1 if learning_rate_lsb > 0 else -1
  if decay == "constant":
    return lambda step: sign * start
  if decay == "cosine":
    return lambda step: sign * (start * _half_wave(step, steps) >> RATE_BITS)
  return lambda step: sign * (start * max(steps - step, 0) // steps)


def _half_wave(step: int, steps: int) -> int:
  """(1 + cos(pi step / steps)) / 2 in Q16, straight between table entries."""
  place = (min(step, steps) << RATE_BITS) // steps
  entry, part = place >> 8, place & 0xFF
  if entry == 256:
    return 0
  here, behind = _COSINE[entry : entry + 2]
  return here + ((behind - here) * part >> 8)
