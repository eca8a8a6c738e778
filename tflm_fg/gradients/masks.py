"""Choose which numbers a step perturbs: a share of each kernel, a block.

A forward gradient's noise grows with the count of what it trains, so what is
left alone in a step makes the rest clearer. A number that is left alone has no
gradient in that step; momentum carries it on and an anchor pulls it back as
they do every other. Nothing is stored: a mask comes from the masters or from
an address, and is made again when it is needed.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.random_bits import Noise
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.types import Int64

SPARSE_BY = ("magnitude", "seed")

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
    blocks: parts that consecutive layers fall into; they take turns, one a
      step. No more than there are layers.
  """

  layout: Layout
  seed: int
  sparsity: float = 0.0
  sparse_by: str = "magnitude"
  blocks: int = 1

  def of(self, state: TrainState) -> Mask:
    """The mask of a state's step."""
    turn = self._blocks == state.step % self._count
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
  def _count(self) -> int:
    return min(self.blocks, len(self._operators))

  @functools.cached_property
  def _blocks(self) -> Int64:
    """The block of every number."""
    parts = np.array_split(self._operators, self._count)
    block = {int(op): n for n, part in enumerate(parts) for op in part}
    found = np.zeros(self.layout.num_kernels + self.layout.num_biases, np.int64)
    for tensor, where in self.layout.places:
      first = 0 if tensor.has_master else self.layout.num_kernels
      found[first + where.start : first + where.stop] = block[tensor.operator]
    return found

  @functools.cached_property
  def _noise(self) -> Int64:
    """Settles who comes first among equals: int64 [K] in 0 to 65535."""
    drawn = Noise(self.layout, self.seed).at(random_bits.MASK_STEP, 0)
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
