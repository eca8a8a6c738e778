"""Turn a gradient into integer updates: SGD with momentum, decayed.

A learning rate is in int8 steps (`learning_rate_lsb`): a slope of 1.0 moves a
kernel weight by that many int8 steps and a bias by that many of its layer's
output steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tflm_fg.base import Int64, Params, TflmFgError, Transform, Vectors
from tflm_fg.quant import (
  MASTER_BITS,
  Layout,
  apply_updates,
  round_shift,
  saturate,
)

Schedule = Callable[[int], int]
"""Step -> learning rate in Q16 int8 steps."""

DECAYS = ("constant", "linear")

_RATE_BITS = 16
_MOMENTUM_BITS = 8
_VELOCITY_BITS = 4


def schedule(learning_rate_lsb: float, decay: str, steps: int) -> Schedule:
  """Makes a schedule of integers.

  Args:
    learning_rate_lsb: the first step's rate, in int8 steps.
    decay: "constant", or "linear" down to zero behind the last step.
    steps: count of steps.

  Raises:
    TflmFgError: if the rate or the decay is out of range.
  """
  if decay not in DECAYS:
    raise TflmFgError(
      f"decay {decay!r} is unknown; choose one of {', '.join(DECAYS)}"
    )
  if not 1 << _RATE_BITS >= abs(learning_rate_lsb) >= 2.0**-_RATE_BITS:
    raise TflmFgError(
      f"learning_rate_lsb={learning_rate_lsb}: need 2**-16 to 65536 int8 steps"
    )
  start = round(abs(learning_rate_lsb) * (1 << _RATE_BITS))
  sign = 1 if learning_rate_lsb > 0 else -1
  if decay == "constant":
    return lambda step: sign * start
  return lambda step: sign * (start * max(steps - step, 0) // steps)


def sgd(layout: Layout, rate: Schedule, momentum: float = 0.0) -> Transform:
  """Stochastic gradient descent in integers, with momentum as Keras has it.

  velocity = momentum * velocity - rate * gradient, and the velocity, rounded,
  is the update. It is kept in 1/16 of a master unit (kernels, int16) and of a
  bias unit (int32), so that slow movement is not lost; its decay truncates
  towards zero, so that it dies out.

  Args:
    layout: gives each tensor's step in units.
    rate: the learning rate's schedule.
    momentum: 0 <= momentum < 1, used in 1/256 and at most 255/256.

  Raises:
    TflmFgError: if the momentum is out of range.

  Example:
    >>> optimizer = sgd(layout, schedule(0.5, "linear", 1000), momentum=0.9)
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update(gradient, state, params, step)
  """
  if not 0 <= momentum < 1:
    raise TflmFgError(f"momentum={momentum}: need 0 <= momentum < 1")
  unity = 1 << _MOMENTUM_BITS
  keep = min(round(momentum * unity), unity - 1)

  downhill = -np.concatenate(layout.step_units)
  kernels = layout.num_kernels

  def init(params: Params) -> Vectors:
    sizes = (params.kernels.size, params.biases.size) if keep else (0, 0)
    return Vectors(np.zeros(sizes[0], np.int16), np.zeros(sizes[1], np.int32))

  def update(
    gradient: Vectors, state: Vectors, params: Params, step: int
  ) -> tuple[Vectors, Vectors]:
    del params
    moves = _scaled(np.concatenate(gradient), downhill, rate(step))
    if keep:
      moves += _decayed(np.concatenate(state, dtype=np.int64), keep)
      state = Vectors(
        saturate(moves[:kernels], np.int16), saturate(moves[kernels:], np.int32)
      )
      moves = np.concatenate(state, dtype=np.int64)
    whole = round_shift(moves, _VELOCITY_BITS)
    return Vectors(whole[:kernels], whole[kernels:]), state

  return Transform(init, update)


def anchored(
  transform: Transform, strength: float, biases: bool = True
) -> Transform:
  """Pulls every number back towards where it started, on top of an update.

  The start rides behind the inner state in the same vectors, so that state
  stays two vectors of integers.

  Args:
    transform: whose updates are pulled.
    strength: share of the way back in every step, 0 <= strength < 1.
    biases: whether biases are pulled too; not behind `centred`, which moves
      them with the kernel.

  Raises:
    TflmFgError: if the strength is out of range.

  Example:
    >>> optimizer = anchored(sgd(layout, rate, 0.9), 0.02)
  """
  if not 0 <= strength < 1:
    raise TflmFgError(f"anchor={strength}: need 0 <= anchor < 1")
  share = round(strength * (1 << _RATE_BITS))

  def init(params: Params) -> Vectors:
    inner = transform.init(params)
    return Vectors(*(np.concatenate(pair) for pair in zip(inner, params)))

  def update(
    gradient: Vectors, state: Vectors, params: Params, step: int
  ) -> tuple[Vectors, Vectors]:
    cuts = [len(s) - len(p) for s, p in zip(state, params)]
    inner = Vectors(*(s[:cut] for s, cut in zip(state, cuts)))
    updates, inner = transform.update(gradient, inner, params, step)
    starts = [s[cut:] for s, cut in zip(state, cuts)]
    kernels, offsets = (
      u + round_shift((a.astype(np.int64) - p) * share, _RATE_BITS)
      for u, a, p in zip(updates, starts, params)
    )
    state = Vectors(*(np.concatenate(pair) for pair in zip(inner, starts)))
    return Vectors(kernels, offsets if biases else updates.biases), state

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
    gradient: Vectors, state: Vectors, params: Params, step: int
  ) -> tuple[Vectors, Vectors]:
    updates, state = inner.update(gradient, state, params, step)
    after = apply_updates(params, updates).kernels
    moved = after.astype(np.int64) - params.kernels
    at_mean = moved.reshape(-1, centre.size) @ centre
    carried = round_shift(at_mean, MASTER_BITS)
    return Vectors(updates.kernels, updates.biases - carried), state

  return Transform(inner.init, update)


def _scaled(gradient: Int64, units: Int64, rate: int) -> Int64:
  """Gives rate (Q16) * gradient (Q16) * units, in 1/16 of a unit.

  The first shift drops under 2**-16 of a step; it keeps 64 bits enough.
  `gradient` is used up.
  """
  gradient *= rate
  gradient >>= _RATE_BITS
  gradient *= units
  return round_shift(gradient, _RATE_BITS - _VELOCITY_BITS)


def _decayed(velocity: Int64, keep: int) -> Int64:
  return np.sign(velocity) * ((np.abs(velocity) * keep) >> _MOMENTUM_BITS)
