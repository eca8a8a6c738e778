"""Turn masters and directions into the weights that a step's passes run."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np

from tflm_fg.fixed_point.arithmetic import (
  LIMITS,
  MASTER_UNIT,
  clip_into,
  round_divide,
  round_shift,
  saturate,
)
from tflm_fg.fixed_point.layout import Kernels, Layout
from tflm_fg.fixed_point.native import native
from tflm_fg.fixed_point.state import (
  DirectionSource,
  Estimate,
  Passes,
  TrainState,
)
from tflm_fg.gradients.slopes import ONE, differences, run, weighted_sum
from tflm_fg.types import Int8, Int32, Int64, Params, Vectors, Weights

NUMBERS_AT_ONCE = 1 << 22
"""Perturbed numbers of a lot, of each sign: bounds the memory of many m."""

EPSILON_BITS = 8

Dither = Callable[[int], Int32]
"""Step -> int32 [K] in 0 to 255, what all passes of a step round with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerturbedWeights:
  """Weights at params + eps z, and where asked for at params - eps z.

  Attributes:
    layout: where the tensors lie and how large their steps are.
    unit: what counts as 1 in a direction.
    epsilon: the perturbation in 1/256 of a step.
    count: directions of a step.
    signs: (1, -1) for both sides or (1,) for one.
    dither: how perturbed kernels are rounded; None for to the nearest.
  """

  layout: Layout
  unit: int
  epsilon: int
  count: int
  signs: tuple[int, ...] = (1, -1)
  dither: Dither | None = None

  def weight_sets(
    self, params: Vectors | Params, drawn: Int8, step: int
  ) -> Iterator[list[Weights]]:
    """The weights of a step.

    Args:
      params: masters, of any width and range.
      drawn: int8 [count, K + B].
      step: what the dither is drawn by.

    Yields:
      The perturbed weights of some directions, in turn, in buffers that the
      next ones overwrite.
    """
    dither = MASTER_UNIT >> 1 if self.dither is None else self.dither(step)
    in_c = self._runs_in_c and isinstance(params, Params)
    for first, last, buffers in self._buffers:
      if in_c:
        yield buffers.move_in_c(params, drawn[first:last], self._unit_steps)
        continue
      delta = self._perturbation(drawn[first:last])
      yield buffers.move(params, delta, dither)

  @functools.cached_property
  def _runs_in_c(self) -> bool:
    """Whether C knows these weights: plain signs, int8 and int32, two sides."""
    slots = self.layout.slots
    held = {s.form if s.form != "bias" else s.tensor.dtype for s in slots}
    plain = self.unit == 1 and self.dither is None and self.signs == (1, -1)
    return native() is not None and plain and held <= {"rounded", "int32"}

  @functools.cached_property
  def _buffers(self) -> list[tuple[int, int, WeightBuffers]]:
    """Buffers for groups of directions, from `first` to before `last`."""
    numbers = self.layout.num_kernels + self.layout.num_biases
    size = max(1, min(self.count, NUMBERS_AT_ONCE // numbers))
    whole = WeightBuffers(self.layout, size, self.signs)
    ends = [*range(0, self.count, size), self.count]
    return [
      (
        a,
        b,
        whole
        if b - a == size
        else WeightBuffers(self.layout, b - a, self.signs),
      )
      for a, b in itertools.pairwise(ends)
    ]

  @functools.cached_property
  def _unit_steps(self) -> Vectors:
    """Master and bias units of eps, for directions of signs and zeros."""
    kernels, biases = (
      round_shift(steps * self.epsilon, EPSILON_BITS)
      for steps in self.layout.step_units
    )
    return Vectors(kernels.astype(np.int32), biases)

  def _perturbation(self, some: Int8) -> Vectors:
    """Gives eps z in master and bias units, rounded once."""
    kernels = self.layout.num_kernels
    split = some[:, :kernels], some[:, kernels:]
    if self.unit == 1:  # rounding is symmetric: the sign may come behind it
      return Vectors(*(z * u for z, u in zip(split, self._unit_steps)))
    bits = EPSILON_BITS + self.unit.bit_length() - 1
    return Vectors(
      *(
        round_shift(steps * z * self.epsilon, bits)
        for z, steps in zip(split, self.layout.step_units)
      )
    )


_NONE = np.zeros(0, np.int32)


class WeightBuffers:
  """The engine's weights around the masters, in buffers made once.

  Attributes:
    weights: sets of weights, overwritten by every `move`: params + delta and,
      with two signs, params - delta of the first direction, then of the second.
  """

  def __init__(
    self, layout: Layout, num_directions: int, signs: tuple[int, ...] = (1, -1)
  ) -> None:
    self._signs = signs
    shape = (num_directions, len(signs))
    self._wide = Vectors(
      np.empty((*shape, layout.num_kernels), np.int32),
      np.empty((*shape, layout.num_biases), np.int64),
    )
    self._kernels = Kernels(self._wide.kernels.shape, layout)
    # One for all biases, or more where several widths meet; wide first, as
    # clipping uses up what it samples.
    kinds = {np.dtype(t.dtype) for t in layout.tensors if t.role == "bias"}
    self._biases = {
      kind: np.empty(self._wide.biases.shape, kind)
      for kind in sorted(kinds, key=lambda kind: -kind.itemsize)
    }
    tensors = []
    for tensor, where, form in layout.slots:
      held = (
        self._biases[np.dtype(tensor.dtype)]
        if form == "bias"
        else self._kernels.forms[form]
      )
      tensors.append(held[..., where].reshape(math.prod(shape), *tensor.shape))
    self.weights: list[Weights] = [list(side) for side in zip(*tensors)]

  def move_in_c(
    self, params: Vectors | Params, drawn: Int8, units: Vectors
  ) -> list[Weights]:
    """Writes all perturbed weights of two signs, int8 and int32, at once.

    Args:
      params: the masters, int16 and int32.
      drawn: int8 [m, K + B], directions of 1, 0 and -1.
      units: int32 [K] and int64 [B], the perturbation where z is 1.
    """
    biases = self._biases.get(np.dtype(np.int32), _NONE)
    held = self._kernels.forms["rounded"], biases
    native().perturb(*params, drawn, *units, *held)
    return self.weights

  def move(
    self,
    params: Vectors | Params,
    delta: Vectors,
    dither: int | Int32 = MASTER_UNIT >> 1,
  ) -> list[Weights]:
    """Writes all perturbed weights; `params` stays as it is.

    Args:
      params: the masters, of any width and range.
      delta: integers [m, K] and [m, B], in master and bias units.
      dither: added before int8 kernels are rounded down, the same on all
        sides; int32 [K] in 0 to 255.

    Returns:
      `weights`.
    """
    for wide, masters, away in zip(self._wide, params, delta):
      centre = masters.astype(wide.dtype)
      for side, sign in enumerate(self._signs):
        shift = np.add if sign > 0 else np.subtract
        shift(centre, away, out=wide[:, side])
    self._kernels.narrow(self._wide.kernels, dither)
    for kind, held in self._biases.items():
      clip_into(self._wide.biases, LIMITS[kind], held)
    return self.weights


_LN2 = round(np.log(2) * ONE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForwardGradient:
  """What all estimators share that perturb weights along directions.

  Attributes:
    layout: where the tensors lie and how large their steps are.
    directions: gives z.
    epsilon_lsb: size of the perturbation where z is 1: int8 steps of a
      kernel, output steps of a bias. Under 1 most of it is rounded away.
    num_directions: m, directions a step.
    batch_size: samples in a loss, to make a slope that of the mean.
    dither: how perturbed kernels are rounded; None for to the nearest.
  """

  layout: Layout
  directions: DirectionSource
  epsilon_lsb: float
  num_directions: int
  batch_size: int
  dither: Dither | None = None

  most_directions: ClassVar[int] = 1024

  @property
  def _epsilon(self) -> int:
    return round(self.epsilon_lsb * (1 << EPSILON_BITS))

  @functools.cached_property
  def _pairs(self) -> PerturbedWeights:
    """Both sides of m directions."""
    return self._perturbed(self.num_directions)

  def _perturbed(
    self, count: int, signs: tuple[int, ...] = (1, -1)
  ) -> PerturbedWeights:
    return PerturbedWeights(
      layout=self.layout,
      unit=self.directions.unit,
      epsilon=self._epsilon,
      count=count,
      signs=signs,
      dither=self.dither,
    )

  def _per_step(self, difference: Int64) -> Int64:
    """A batch's differences over two epsilons -> slopes a sample and step.

    From the loss's integer units to Q16 of what `mean_nats` makes of them:
    nats, for cross-entropy. Saturated at what a journal holds.
    """
    real = round_shift(difference * _LN2, 16 - EPSILON_BITS)
    slopes = round_divide(real, 2 * self._epsilon * self.batch_size)
    return saturate(slopes, np.int32).astype(np.int64)

  def _two_sided(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs both sides of m directions: the slopes a step, and the losses."""
    losses = run(passes, self.weight_sets(state))
    return Estimate(self._per_step(differences(losses)), losses)

  def _drawn(self, estimate: Estimate, state: TrainState) -> Int8:
    """The directions that an estimate's slopes are along, drawn again."""
    # As many as it has slopes: the count may grow in a run.
    return self.directions.of(state, len(estimate.slopes))

  def weight_sets(self, state: TrainState) -> Iterator[list[Weights]]:
    """Weights on both sides of the masters along each direction of a step."""
    drawn = self.directions.of(state, self.num_directions)
    return self._pairs.weight_sets(state.params, drawn, state.step)

  def along(
    self, state: TrainState, numbers: Sequence[int]
  ) -> Iterator[list[Weights]]:
    """The same along some of the step's directions alone.

    Args:
      state: where they are taken.
      numbers: of the directions, in order.
    """
    drawn = self.directions.of(state, self.num_directions)
    own = np.ascontiguousarray(drawn[list(numbers)])
    perturbed = self._perturbed(len(own))
    return perturbed.weight_sets(state.params, own, state.step)

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs a step's passes; each method has its own."""
    raise NotImplementedError

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """The mean of the directions by their slopes.

    Returns:
      int64 [K] and [B]: 1/m sum_i slope_i z_i in Q16, per step of each
      tensor's own grid.
    """
    drawn, slopes = self._drawn(estimate, state), estimate.slopes
    divisor = len(slopes) * self.directions.unit
    if (c := native()) is not None:
      flat = np.empty(drawn.shape[1], np.int64)
      c.mean_direction(drawn, slopes, divisor, flat)
    else:
      flat = round_divide(weighted_sum(drawn, slopes), divisor)
    return split(self.layout, flat)


def split(layout: Layout, flat: Int64) -> Vectors:
  """Numbers in a row as kernels and biases."""
  return Vectors(flat[: layout.num_kernels], flat[layout.num_kernels :])
