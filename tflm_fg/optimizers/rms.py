"""RMS: every number moves by its slope over its own root mean square.

Slopes of numbers differ by orders of magnitude from layer to layer. The sign
takes sizes away altogether; dividing by what is usual for a number keeps that
a small slope, which is mostly noise, moves it less than a large one. It is the
step of RMSprop (Tieleman and Hinton, 2012), with the correction of the first
steps that Adam has (Kingma and Ba, 2014), in integers.
"""

from __future__ import annotations

import math

import numpy as np

from tflm_fg.fixed_point.arithmetic import integer_root, round_divide
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import OptimizerState, Transform
from tflm_fg.optimizers.kinds import register
from tflm_fg.optimizers.rounding import Rounding
from tflm_fg.optimizers.schedules import Schedule
from tflm_fg.optimizers.transforms import MOMENTUM_BITS, kept, sgd
from tflm_fg.types import Int64, Params, Vectors

MEMORY_BITS = 4
"""A step forgets 1/16 of the squares of the steps before it."""

MOST_SLOPE = 1 << 24
"""Larger slopes (Q16) count as this, 256 units of loss a step."""

_ROOT_BITS = 10
"""The sum of squares is shifted up by it before its root is drawn. It is at
most 2**52, so 63 bits are enough."""


def _roots_of_weights() -> tuple[int, ...]:
  """The root of the weights that a step's sum of squares has, in 1/1024.

  A sum after one step holds one square, after many steps 16 of them.
  """
  weights = [1 << 16]
  while weights[-1] < 1 << (16 + MEMORY_BITS):
    weights.append(weights[-1] - (weights[-1] >> MEMORY_BITS) + (1 << 16))
  return tuple(math.isqrt(weight << 4) for weight in weights)


_ROOTS = _roots_of_weights()


@register("rms", keeps_squares=True)
def rms(
  layout: Layout,
  rate: Schedule,
  momentum: float = 0.0,
  rounding: Rounding | None = None,
) -> Transform:
  """Moves every number by rate * gradient / root of its mean square.

  The mean is a running one over about 16 steps, and it holds the step's own
  square: no step is longer than four times the rate. With momentum,
  velocity = momentum * velocity - (1 - momentum) * rate * gradient / root, so
  that a steady slope moves a number by the rate, as under `sign`. Rate,
  velocity and rounding are `sgd`'s. The squares are kept in Q32, int64, and
  summed up without a fraction; the quotient is rounded once, to Q16.

  Args:
    layout: gives each tensor's step in units.
    rate: the learning rate's schedule.
    momentum: as for `sgd`.
    rounding: as for `sgd`.

  Raises:
    TflmFgError: if the momentum is out of range.

  Example:
    >>> optimizer = rms(layout, schedule(0.5, "linear", 1000), momentum=0.8)
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update(gradient, state, params, step)
  """
  inner = sgd(layout, rate, momentum, rounding)
  new = (1 << MOMENTUM_BITS) - kept(momentum)
  kernels = layout.num_kernels

  def init(params: Params) -> OptimizerState:
    squares = Vectors(*(np.zeros(len(p), np.int64) for p in params))
    return inner.init(params)._replace(squares=squares)

  def update(
    gradient: Vectors, state: OptimizerState, params: Params, step: int
  ) -> tuple[Vectors, OptimizerState]:
    slopes = np.clip(np.concatenate(gradient), -MOST_SLOPE, MOST_SLOPE)
    sums = np.concatenate(state.squares)
    sums += slopes * slopes - (sums >> MEMORY_BITS)
    moves = normalised(slopes, sums, step) * new >> MOMENTUM_BITS
    state = state._replace(squares=Vectors(sums[:kernels], sums[kernels:]))
    halves = Vectors(moves[:kernels], moves[kernels:])
    return inner.update(halves, state, params, step)

  return Transform(init, update)


def normalised(slopes: Int64, sums: Int64, step: int) -> Int64:
  """Slopes over the root of their mean square: int64 [n] in Q16.

  Args:
    slopes: int64 [n] in Q16, at most `MOST_SLOPE` either way.
    sums: int64 [n] in Q32, running sums of squares with the slopes' own.
    step: counted from 0; says how many squares the sums hold.
  """
  weight = _ROOTS[min(step, len(_ROOTS) - 1)]
  roots = integer_root(sums << _ROOT_BITS)
  # 16 bits of the quotient, 5 of the roots and less the 10 of the weight.
  return round_divide((slopes * weight) << 11, np.maximum(roots, 1))
