"""Pull a head back to where it starts, in the metric of its own steps.

What is added to the gradient is lambda (W - W0), where each weight counts by
the mean square of its input. So one lambda suits every head, and a weight that
the samples say little about stays where it was.
"""

from __future__ import annotations

import numpy as np

from tflm_fg.fixed_point.arithmetic import MASTER_BITS, round_shift
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.native import native
from tflm_fg.fixed_point.spread import MEAN_SQUARE_BITS
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


def add_pull(
  slopes: Int64,
  params: Params,
  start: Params,
  centre: Int64,
  layout: Layout,
  factors: tuple[int, int],
) -> None:
  """Adds a pull to the slopes of a closed form, int64 [K + B], in place.

  Args:
    slopes: Q16 steps.
    params: where the head is.
    start: where it began.
    centre: see `distance`.
    layout: gives each tensor's step in units.
    factors: see `pull_factors`.
  """
  c = native()
  if c is None or params.biases.dtype != np.int32:
    slopes += pull_slopes(distance(params, start, centre), layout, factors)
    return
  units = np.concatenate(layout.step_units)
  c.pulled(*params, *start, centre, units, *factors, slopes)


def pull_constants(pull: float) -> tuple[int, int]:
  """What a pull is before any sample is seen, of a kernel and of a bias: Q24.

  Half a safe step of descent times twice lambda, where the mean square is 1.
  The bias counts as an input of 1/10 of all others' squares, and its own
  square of 1/10 comes on top.

  Args:
    pull: lambda, at most 10.
  """
  shares = 10 / 11, 1 / 110
  kernel, bias = (round(2 * pull * s * (1 << _PULL_BITS)) for s in shares)
  return kernel, bias


def pull_factors(pull: float, mean_square: int) -> tuple[int, int]:
  """The factors of distances, of a kernel's and of a bias's: Q24.

  Args:
    pull: lambda.
    mean_square: of the input, in Q16, at least 4096.

  Returns:
    Of up to 33 and up to 22 bits.
  """
  kernel, bias = pull_constants(pull)
  return ((kernel << MEAN_SQUARE_BITS) + mean_square // 2) // mean_square, bias


def pull_slopes(
  away: Vectors, layout: Layout, factors: tuple[int, int]
) -> Int64:
  """The pull's part of a closed form's slopes: int64 [K + B] in Q16 steps.

  Args:
    away: see `distance`; biases count as 2**36 units away at most, so that the
      products stay within 64 bits.
    layout: gives each tensor's step in units.
    factors: see `pull_factors`.
  """
  parts = []
  for units, factor, steps in zip(away, factors, layout.step_units):
    # A channel that does not train has steps of 0 units, and is not away.
    whole = np.maximum(steps, 1) << (_PULL_BITS - 16)
    product = np.clip(units, -_FAR, _FAR) * factor
    parts.append(np.sign(product) * ((np.abs(product) + whole // 2) // whole))
  return np.concatenate(parts)


_FAR = 1 << 36
