"""Turn a gradient into integer updates: SGD, or its sign.

A learning rate is in int8 steps (`learning_rate_lsb`): a slope of 1.0, or any
under "sign", moves a kernel weight by that many int8 steps and a bias by that
many of its layer's output steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tflm_fg.fixed_point.arithmetic import (
  MASTER_BITS,
  round_shift,
  saturate,
)
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.masters import apply_updates
from tflm_fg.fixed_point.native import native
from tflm_fg.fixed_point.state import EMPTY, OptimizerState, Transform
from tflm_fg.optimizers.kinds import register
from tflm_fg.optimizers.rounding import FINE_BITS, Rounding
from tflm_fg.optimizers.schedules import RATE_BITS, Schedule
from tflm_fg.types import Int64, Params, TflmFgError, Vectors

MOMENTUM_BITS = 8
"""Of a unit of momentum."""

_Unrounded = Callable[[Int64, OptimizerState, Params, int], Int64]
"""(heading, state, params, step) -> what to move by, in 1/16 of a unit."""


@register("sgd")
def sgd(
  layout: Layout,
  rate: Schedule,
  momentum: float = 0.0,
  rounding: Rounding | None = None,
) -> Transform:
  """Stochastic gradient descent in integers, with momentum as Keras has it.

  velocity = momentum * velocity - rate * gradient, and the velocity, rounded,
  is the update. It is kept in 1/16 of a master unit (kernels, int16) and of a
  bias unit (int32), so that slow movement is not lost; its decay truncates
  towards zero, so that it dies out.

  Args:
    layout: gives each tensor's step in units.
    rate: the learning rate's schedule.
    momentum: 0 <= momentum < 1, used in 1/256 and at most 255/256.
    rounding: how updates become whole; None for to the nearest.

  Raises:
    TflmFgError: if the momentum is out of range.

  Example:
    >>> optimizer = sgd(layout, schedule(0.5, "linear", 1000), momentum=0.9)
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update(gradient, state, params, step)
  """
  downhill = -np.concatenate(layout.step_units)

  def heading(gradient: Int64, step: int) -> Int64:
    return _scaled(gradient, downhill, rate(step))

  def unrounded(
    moves: Int64, state: OptimizerState, params: Params, step: int
  ) -> Int64:
    del state, params, step
    return moves

  keep = kept(momentum)
  slow = _transform(heading, unrounded, keep, layout, rounding)
  return _in_c(slow, layout, rate, keep, rounding, by_sign=False)


@register("sign")
def sign(
  layout: Layout,
  rate: Schedule,
  momentum: float = 0.0,
  rounding: Rounding | None = None,
) -> Transform:
  """Moves every number by the rate, against the sign of its gradient.

  With momentum it is the sign of the velocity, which is SGD's at a rate of 1:
  what is under 1/8192 of a slope is lost to it. A number whose gradient is
  zero, such as one that a mask leaves alone in a step, stays; momentum carries
  it on until its velocity has died out.

  Args:
    layout: gives each tensor's step in units.
    rate: the learning rate's schedule.
    momentum: as for `sgd`.
    rounding: as for `sgd`.

  Raises:
    TflmFgError: if the momentum is out of range.
  """
  units = np.concatenate(layout.step_units)

  def unrounded(
    heading: Int64, state: OptimizerState, params: Params, step: int
  ) -> Int64:
    del state, params
    return _scaled(heading << RATE_BITS, units, rate(step))

  slow = by_sign(layout, unrounded, momentum, rounding, boxed=False)
  return _in_c(slow, layout, rate, kept(momentum), rounding, by_sign=True)


def by_sign(
  layout: Layout,
  unrounded: _Unrounded,
  momentum: float,
  rounding: Rounding | None,
  boxed: bool,
) -> Transform:
  """An optimizer that asks a gradient for signs alone."""
  keep = kept(momentum)
  downhill = -np.concatenate(layout.step_units)

  def heading(gradient: Int64, step: int) -> Int64:
    del step
    # Without a velocity to add up, no slope is too small to have a sign.
    return _scaled(gradient, downhill, 1 << RATE_BITS) if keep else -gradient

  def signed(
    heading: Int64, state: OptimizerState, params: Params, step: int
  ) -> Int64:
    return unrounded(np.sign(heading), state, params, step)

  return _transform(heading, signed, keep, layout, rounding, boxed)


def _transform(
  heading: Callable[[Int64, int], Int64],
  unrounded: _Unrounded,
  keep: int,
  layout: Layout,
  rounding: Rounding | None,
  boxed: bool = False,
) -> Transform:
  """A gradient's heading, with momentum, then a step along it, rounded."""
  rounding = rounding or Rounding(layout=layout)

  def update(
    gradient: Vectors, state: OptimizerState, params: Params, step: int
  ) -> tuple[Vectors, OptimizerState]:
    moves = heading(np.concatenate(gradient), step)
    if keep:
      state, moves = _accelerated(state, moves, keep)
    unrounded_sum = unrounded(moves, state, params, step)
    return rounding(unrounded_sum, FINE_BITS, state, step)

  return Transform(_init(keep, rounding, boxed), update)


def _in_c(
  slow: Transform,
  layout: Layout,
  rate: Schedule,
  keep: int,
  rounding: Rounding | None,
  by_sign: bool,
) -> Transform:
  """The same transform in C, where it is there and rounds to the nearest."""
  c, units = native(), np.concatenate(layout.step_units)
  if c is None or (rounding and not rounding.is_plain):
    return slow
  shapes = (layout.num_kernels, np.int64), (layout.num_biases, np.int64)

  def update(
    gradient: Vectors, state: OptimizerState, params: Params, step: int
  ) -> tuple[Vectors, OptimizerState]:
    del params
    before = state.velocity if keep else (None, None)
    after: Any = before
    if keep:
      after = Vectors(*map(np.empty_like, before))
      state = state._replace(velocity=after)
    kernels, biases = np.empty(*shapes[0]), np.empty(*shapes[1])
    c.step(
      *gradient,
      units,
      rate(step),
      keep,
      by_sign,
      *before,
      kernels,
      biases,
      *after,
    )
    return Vectors(kernels, biases), state

  return Transform(slow.init, update)


def anchored(
  transform: Transform,
  strength: float,
  biases: bool = True,
  rounding: Rounding | None = None,
) -> Transform:
  """Pulls every number back towards where it started, on top of an update.

  Args:
    transform: whose updates are pulled.
    strength: how much of the distance every step takes back, 0 <= strength < 1.
    biases: whether biases are pulled too; not behind `centred`, which moves
      them with the kernel.
    rounding: how the pull becomes whole; None for to the nearest.

  Raises:
    TflmFgError: if the strength is out of range.

  Example:
    >>> optimizer = anchored(sgd(layout, rate, 0.9), 0.02)
  """
  if not 0 <= strength < 1:
    raise TflmFgError(f"anchor={strength}: need 0 <= anchor < 1")
  share = round(strength * (1 << RATE_BITS))

  def init(params: Params) -> OptimizerState:
    start = Params(params.kernels.copy(), params.biases.copy())
    return transform.init(params)._replace(start=start)

  def update(
    gradient: Vectors, state: OptimizerState, params: Params, step: int
  ) -> tuple[Vectors, OptimizerState]:
    updates, state = transform.update(gradient, state, params, step)
    away = [
      (a.astype(np.int64) - p) * share for a, p in zip(state.start, params)
    ]
    if not biases:
      away[1] = np.zeros_like(away[1])
    if rounding is None:
      pulls = Vectors(*(round_shift(a, RATE_BITS) for a in away))
    else:
      pulls, state = rounding(np.concatenate(away), RATE_BITS, state, step)
    return Vectors(*(u + p for u, p in zip(updates, pulls))), state

  return Transform(init, update)


def centred(inner: Transform, layout: Layout, centre: Int64) -> Transform:
  """Lets a head's bias take up what its kernel does at the mean input.

  A kernel that moves by delta moves the output by delta * centre at the mean
  input, whatever the gradient was after; the bias moves back by that, counted
  from what the kernel really moves by, so that saturated weights ask for
  nothing. A bias unit is input scale times kernel scale, so no factor comes in.

  Args:
    inner: updates of the kernel, and of the bias beside that.
    layout: one kernel [C, ...] and one bias [C].
    centre: int64 [D], the mean input in steps from its zero point; empty for
      leaving everything as it is.
  """
  if not centre.size:
    return inner

  def update(
    gradient: Vectors, state: OptimizerState, params: Params, step: int
  ) -> tuple[Vectors, OptimizerState]:
    updates, state = inner.update(gradient, state, params, step)
    after = apply_updates(params, updates).kernels
    moved = after.astype(np.int64) - params.kernels
    at_mean = moved.reshape(-1, centre.size) @ centre
    carried = round_shift(at_mean, MASTER_BITS)
    return Vectors(updates.kernels, updates.biases - carried), state

  return Transform(inner.init, update)


def kept(momentum: float) -> int:
  """The momentum in 1/256."""
  if not 0 <= momentum < 1:
    raise TflmFgError(f"momentum={momentum}: need 0 <= momentum < 1")
  unity = 1 << MOMENTUM_BITS
  return min(round(momentum * unity), unity - 1)


def _init(
  keep: int, rounding: Rounding, boxed: bool = False
) -> Callable[[Params], OptimizerState]:
  """Makes an optimizer's first state."""

  def init(params: Params) -> OptimizerState:
    velocity, start = EMPTY, EMPTY
    if keep:
      velocity = Vectors(
        np.zeros(len(params.kernels), np.int16),
        np.zeros(len(params.biases), np.int32),
      )
    if boxed:
      start = Vectors(EMPTY.kernels, params.biases.copy())
    return OptimizerState(velocity, rounding.init(params), start)

  return init


def _accelerated(
  state: OptimizerState, moves: Int64, keep: int
) -> tuple[OptimizerState, Int64]:
  """Adds moves to what is kept of the velocity; `moves` is used up."""
  moves += _decayed(np.concatenate(state.velocity, dtype=np.int64), keep)
  kernels = len(state.velocity.kernels)
  velocity = Vectors(
    saturate(moves[:kernels], np.int16), saturate(moves[kernels:], np.int32)
  )
  moved = np.concatenate(velocity, dtype=np.int64)
  return state._replace(velocity=velocity), moved


MOST_STEPS = 1 << 31
"""No move counts as more, in 1/65536 of a step: that is 32,768 steps, where
weights are at most 254 and outputs 255 steps apart."""


def _scaled(gradient: Int64, units: Int64, rate: int) -> Int64:
  """Gives rate (Q16) * gradient (Q16) * units, in 1/16 of a unit.

  A gradient is saturated at 2**31 and a rate is 2**32 at most, so that their
  product needs 64 bits and no more. The shift behind it drops what is under
  2**-16 of a step; the steps are saturated at 2**31 again before they are
  multiplied by units, of which a step has at most 2**31.

  Args:
    gradient: int64; it is used up.
    units: int64, either sign.
    rate: -2**32 to 2**32.
  """
  np.minimum(gradient, MOST_STEPS - 1, out=gradient)  # faster than np.clip
  np.maximum(gradient, 1 - MOST_STEPS, out=gradient)
  gradient *= rate
  gradient >>= RATE_BITS
  np.minimum(gradient, MOST_STEPS, out=gradient)
  np.maximum(gradient, -MOST_STEPS, out=gradient)
  gradient *= units
  return round_shift(gradient, RATE_BITS - FINE_BITS)


def _decayed(velocity: Int64, keep: int) -> Int64:
  return np.sign(velocity) * ((np.abs(velocity) * keep) >> MOMENTUM_BITS)
