"""Pull a head back to where it starts, in the metric of its own steps.

What is added to the gradient is lambda (W - W0), where each weight counts by
the mean square of its input. So one lambda suits every head, and a weight that
the samples say little about stays where it was.
"""

from __future__ import annotations

import numpy as np

from tflm_fg.fixed_point.arithmetic import MASTER_BITS, round_shift
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.types import Int64, Params, Vectors

_PULL_BITS = 24


def distance(params: Params, start: Params, centre: Int64) -> Vectors:
  """How far a head is from its start: int64 [K] and [B], in units.

  Args:
    params: where it is.
    start: where it began.
    centre: the mean input, as `centred` has it; empty for zeros. The bias
      counts as what it is at the mean input.
  """
  kernels, biases = (a.astype(np.int64) - b for a, b in zip(params, start))
  if centre.size:
    at_mean = kernels.reshape(-1, centre.size) @ centre
    biases = biases + round_shift(at_mean, MASTER_BITS)
  return Vectors(kernels, biases)


def pull_slopes(
  away: Vectors, layout: Layout, pull: float, shares: tuple[float, float]
) -> Int64:
  """The pull's part of a closed form's slopes: int64 [K + B] in Q16 steps.

  Args:
    away: see `distance`.
    layout: gives each tensor's step in units.
    pull: lambda.
    shares: of kernels and of biases, half a safe step of descent.
  """
  parts = []
  for units, share, steps in zip(away, shares, layout.step_units):
    factor = round(2 * pull * share * (1 << _PULL_BITS))
    # In Q16; a factor of 24 bits keeps the product within 64.
    # A channel that does not train has steps of 0 units, and is not away.
    whole = np.maximum(steps, 1) << (_PULL_BITS - 16)
    product = units * factor
    parts.append(np.sign(product) * ((np.abs(product) + whole // 2) // whole))
  return np.concatenate(parts)
