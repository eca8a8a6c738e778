"""Turn masters and directions into the weights that a step's passes run."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from tflm_fg.fixed_point.arithmetic import (
  LIMITS,
  MASTER_UNIT,
  clip_into,
  round_shift,
)
from tflm_fg.fixed_point.layout import Kernels, Layout
from tflm_fg.fixed_point.native import native
from tflm_fg.types import Int8, Int32, Params, Vectors, Weights

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
