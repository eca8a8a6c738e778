"""Turn a step's address into random directions over all trainable numbers."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.arithmetic import round_shift, symmetric
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.random_bits import Addresses, Spread
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.gradients.masks import Mask, Masks
from tflm_fg.types import (
  Int8,
  Int16,
  Int64,
  TflmFgError,
  TrainableTensor,
  Vectors,
)

NORMAL_UNIT = 32
"""What a standard deviation is in the rounded normal's int8 values."""

_QUANTILES = [
  round(NORMAL_UNIT * NormalDist().inv_cdf((i + 0.5) / 256)) for i in range(256)
]
_NORMAL = np.array(_QUANTILES, np.int8)

_DRAWN_AT_ONCE, _MAX_CHUNK = 1 << 20, 128
"""Numbers and steps of a lot: enough to hide NumPy's cost for a call."""


class Source(Protocol):
  """Where an estimator's directions come from.

  Attributes:
    unit: the value that counts as 1 in a direction (1 or 32).
  """

  @property
  def unit(self) -> int:
    """See above."""

  def of(self, state: TrainState, num_directions: int) -> Int8:
    """The directions of a state, kernels then biases: int8 [m, K + B]."""


class Directions:
  """Draws directions by their address, whatever the masters are.

  Attributes:
    unit: the value that counts as 1 in a direction (1 or 32).
  """

  def __init__(self, layout: Layout, seed: int, kind: str = "rademacher"):
    if kind not in KINDS:
      raise TflmFgError(
        f"direction {kind!r} is unknown; choose one of {', '.join(KINDS)}"
      )
    self._spread, self._per_block, self.unit = KINDS[kind]
    self._seed = seed
    self._num_kernels = layout.num_kernels
    self._addresses = Addresses(layout, self._per_block)
    self._lot = functools.lru_cache(maxsize=1)(
      lambda first, count, m: self._flat(np.arange(first, first + count), m)
    )

  def of(self, state: TrainState, num_directions: int) -> Int8:
    """The directions of a state's step: int8 [m, K + B]."""
    return self.flat_at(state.step, num_directions)

  def at(self, step: int, num_directions: int) -> Vectors:
    """The directions of one step: int8 [m, K] and [m, B]."""
    return self._split(self.flat_at(step, num_directions))

  def flat_at(self, step: int, num_directions: int) -> Int8:
    """The same with kernels and biases in a row: int8 [m, K + B].

    Many steps are drawn at once and the last lot is kept; the address alone
    decides the values.
    """
    fit = _DRAWN_AT_ONCE // max(1, self._addresses.size * num_directions)
    chunk = max(1, min(_MAX_CHUNK, fit))
    return self._lot(step - step % chunk, chunk, num_directions)[step % chunk]

  def draw(self, steps: NDArray[np.int64], num_directions: int) -> Vectors:
    """Draws the directions of several steps at once.

    Args:
      steps: int64 [S], step numbers.
      num_directions: m, directions a step.

    Returns:
      int8 [S, m, K] for kernels and [S, m, B] for biases.
    """
    return self._split(self._flat(steps, num_directions))

  def _flat(self, steps: NDArray[np.int64], num_directions: int) -> Int8:
    numbers = np.arange(num_directions)
    key = random_bits.key_of(self._seed, steps[:, None], numbers[None, :])
    return self._addresses.draw(key, self._spread)

  def _split(self, flat: Int8) -> Vectors:
    kernels = self._num_kernels
    return Vectors(flat[..., :kernels], flat[..., kernels:])


def _rademacher(random: NDArray[np.uint8]) -> Int8:
  signs = np.unpackbits(random, axis=-1, bitorder="little").view(np.int8)
  signs <<= 1
  signs -= 1
  return signs


def _normal(random: NDArray[np.uint8]) -> Int8:
  return _NORMAL[random]


KINDS: dict[str, tuple[Spread, int, int]] = {
  "rademacher": (_rademacher, 64, 1),
  "normal": (_normal, 8, NORMAL_UNIT),
}
"""Name -> (bytes to values, numbers a block of 64 bits, value of 1)."""

UNIT = 32
"""What counts as 1 where a direction is more than signs and zeros."""

LEAST = 4
"""No kernel's factor is under 4/32: one of zeros could never leave zero."""

_UNIT_BITS = 5
_SHARE_BITS = 8
_FRACTION_BITS = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shaped:
  """Directions drawn by address, then scaled, guided and masked.

  Everything is integers; a direction is rounded once and saturates.

  Attributes:
    layout: the trainable tensors.
    drawn: fresh draws.
    kernel_wise: scales z of every output kernel by that kernel's norm over
      the root mean square of the tensor's kernels.
    guidance: b of z = sqrt(1 - b^2) z_new + b v / |v| sqrt(d), with the
      velocity v of the numbers that may move, counted in int8 steps, and their
      count d; z_new alone while there is no velocity.
    masks: what may move; None for everything.
  """

  layout: Layout
  drawn: Directions
  kernel_wise: bool = False
  guidance: float = 0.0
  masks: Masks | None = None

  @property
  def unit(self) -> int:
    """The value that counts as 1 in a direction."""
    return UNIT if self._is_mixed else self.drawn.unit

  @property
  def _is_mixed(self) -> bool:
    return self.kernel_wise or self.guidance > 0

  def of(self, state: TrainState, num_directions: int) -> Int8:
    """The directions of a state, kernels then biases: int8 [m, K + B]."""
    return self._last(state, num_directions)

  @functools.cached_property
  def _last(self) -> Callable[[TrainState, int], Int8]:
    """Remembers one state's, as slopes and gradient both ask."""
    return functools.lru_cache(maxsize=1)(self._made)

  def _made(self, state: TrainState, num_directions: int) -> Int8:
    z = self.drawn.of(state, num_directions)
    free = None if self.masks is None else self.masks.of(state)
    if self._is_mixed:
      z = symmetric(round_shift(self._mixed(z, state, free), _FRACTION_BITS))
    return z if free is None else z * free

  def _mixed(self, z: Int8, state: TrainState, free: Mask | None) -> Int64:
    """The sum in 2^-24 of 1/32, before it is rounded."""
    share = min(round(self.guidance * (1 << _SHARE_BITS)), 255)
    ahead = self._ahead(state, free) if share else np.zeros(1, np.int64)
    if not ahead.any():  # nowhere to be guided to, yet
      share = 0
    fresh = math.isqrt((1 << 2 * _SHARE_BITS) - share**2)
    factors = np.full(z.shape[-1], UNIT, np.int64)
    if self.kernel_wise:
      kernels = self.layout.num_kernels
      factors[:kernels] = kernel_factors(self.layout, state.params.kernels)
    bits = _FRACTION_BITS - _SHARE_BITS - self.drawn.unit.bit_length() + 1
    return z * ((factors * fresh) << bits) + ahead * share

  def _ahead(self, state: TrainState, free: Mask | None) -> Int64:
    """32 v / |v| sqrt(d) in Q16: int64 [K + B]; zeros without a velocity."""
    v = np.concatenate(state.velocity, dtype=np.int64) << 8
    units = np.concatenate(self.layout.step_units)
    if len(v) != len(units):
      return np.zeros(1, np.int64)
    v = np.sign(v) * (np.abs(v) // units)
    if free is not None:
      v = v * free
    # Only v's direction counts: few bits keep its square within 64.
    v >>= max(0, int(np.abs(v).max(initial=0)).bit_length() - 20)
    square = int((v * v).sum())
    if not square:
      return v
    count = len(v) if free is None else int(free.sum())
    wide = 2 * (_UNIT_BITS + 16)
    return v * math.isqrt((count << wide) // square)


def kernel_factors(layout: Layout, kernels: Int16) -> Int64:
  """Each output kernel's norm over its tensor's root mean square.

  Norms are of integers, so in units of each kernel's own scale, as directions
  are: in real numbers a perturbation is then in proportion to the kernel.

  Args:
    layout: the trainable tensors.
    kernels: integers [K], the masters.

  Returns:
    int64 [K] in 1/32, at least 4/32; 32 where a tensor is no kernel or zeros.
  """
  factors = np.full(layout.num_kernels, UNIT, np.int64)
  for tensor, where in layout.places:
    if tensor.role == "kernel":
      factors[where] = _factors_of(tensor, kernels[where])
  return factors


def _factors_of(tensor: TrainableTensor, masters: Int16) -> Int64:
  """The factors of one tensor, flat."""
  rows = masters.reshape(tensor.shape).astype(np.int64)
  axis = tensor.channel_axis
  others = tuple(n for n in range(rows.ndim) if n != axis)
  squares = [int(s) for s in (rows * rows).sum(axis=others)]
  total = sum(squares)
  if not total:
    return np.full(rows.size, UNIT, np.int64)
  # Rounded roots: sqrt(4 x) has one more bit.
  roots = [
    (math.isqrt(4 * UNIT**2 * len(squares) * s // total) + 1) // 2
    for s in squares
  ]
  shape = [1] * rows.ndim
  shape[axis] = -1
  found = np.array([max(root, LEAST) for root in roots], np.int64)
  return np.broadcast_to(found.reshape(shape), rows.shape).reshape(-1)
