"""Shape a step's directions: sparse, in blocks, guided, or scaled by norms.

A forward gradient's noise grows with the count of what it trains, so what is
left alone in a step makes the rest clearer. A number that is left alone has no
gradient in that step; momentum carries it on and an anchor pulls it back as
they do every other. Nothing is stored: a mask comes from the masters or from
an address, and is made again when it is needed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.arithmetic import read_only, round_shift, symmetric
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.random_bits import Noise
from tflm_fg.fixed_point.state import DirectionSource, TrainState
from tflm_fg.types import Int8, Int16, Int64, TrainableTensor

SPARSE_BY = ("magnitude", "seed")

TURNS = ("step", "direction")

Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masks:
  """What a step perturbs: bool [K + B], kernels then biases.

  By magnitude the smallest of each kernel tensor are left alone, as pruning
  would: the largest carry most of a layer's output, and a step of one int8
  unit is a smaller part of them. (Our reading: which end the paper trains is
  not in its captions.) By seed the same random share is left alone in the
  whole run. Biases, offsets and gains are few and never left alone.

  Attributes:
    layout: the trainable tensors.
    seed: the run's.
    sparsity: share of each kernel tensor that is left alone, 0 to below 1.
    sparse_by: one of `SPARSE_BY`.
    blocks: parts that consecutive layers fall into; they take turns. No more
      than there are layers.
    turns: one of `TURNS`: a block a step; or a block a direction, so that each
      step moves as many blocks as it has directions.
  """

  layout: Layout
  seed: int
  sparsity: float = 0.0
  sparse_by: str = "magnitude"
  blocks: int = 1
  turns: str = "step"

  def of(self, state: TrainState, num_directions: int = 1) -> Mask:
    """The masks of a state's step, [K + B] or where directions differ [m, ...].

    Args:
      state: of the step.
      num_directions: m.
    """
    if self.turns == "direction":
      numbers = np.arange(num_directions)[:, None] % self.count
      turn = self._blocks == numbers
    else:
      turn = self._blocks == state.step % self.count
    if not self.sparsity:
      return turn
    if self.sparse_by == "seed":
      return turn & self._by_seed
    sizes = np.abs(state.params.kernels.astype(np.int64))
    return turn & self._largest(sizes)

  @functools.cached_property
  def _operators(self) -> list[int]:
    return sorted({t.operator for t in self.layout.tensors})

  @property
  def count(self) -> int:
    """How many blocks there are."""
    return min(self.blocks, len(self._operators))

  @functools.cached_property
  def _blocks(self) -> Int64:
    """The block of every number."""
    parts = np.array_split(self._operators, self.count)
    block = {int(op): n for n, part in enumerate(parts) for op in part}
    found = np.zeros(self.layout.num_kernels + self.layout.num_biases, np.int64)
    for tensor, where in self.layout.places:
      first = 0 if tensor.has_master else self.layout.num_kernels
      found[first + where.start : first + where.stop] = block[tensor.operator]
    return found

  @functools.cached_property
  def _noise(self) -> Int64:
    """Settles who comes first among equals: int64 [K] in 0 to 65535."""
    drawn = Noise(self.layout.tensors, self.seed).at(random_bits.MASK_STEP, 0)
    return drawn[: self.layout.num_kernels]

  @functools.cached_property
  def _by_seed(self) -> Mask:
    return self._largest(np.zeros(self.layout.num_kernels, np.int64))

  def _largest(self, sizes: Int64) -> Mask:
    """All but the smallest share of each kernel tensor."""
    ranks = (sizes << 16) + self._noise
    free = np.ones(len(self._blocks), np.bool_)
    for tensor, where in self.layout.places:
      alone = int(self.sparsity * tensor.size)
      if tensor.role == "kernel" and alone:
        own = ranks[where]
        free[where] = own > np.partition(own, alone - 1)[alone - 1]
    return free


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
  drawn: DirectionSource
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
    free = None if self.masks is None else self.masks.of(state, num_directions)
    if self._is_mixed:
      z = symmetric(round_shift(self._mixed(z, state, free), _FRACTION_BITS))
    return read_only(z if free is None else z * free)

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
    """32 v / |v| sqrt(d) in Q16: int64 [K + B]; zeros without a velocity.

    Where every direction has a mask of its own there is a row for each.
    """
    if free is not None and free.ndim > 1:
      return np.stack([self._ahead(state, row) for row in free])
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
