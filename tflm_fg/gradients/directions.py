"""Turn a step's address into random directions over all trainable numbers."""

from __future__ import annotations

import functools
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.arithmetic import read_only
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.random_bits import Addresses, Spread
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.types import Int8, TflmFgError, Vectors

NORMAL_UNIT = 32
"""What a standard deviation is in the rounded normal's int8 values."""

_QUANTILES = [
  round(NORMAL_UNIT * NormalDist().inv_cdf((i + 0.5) / 256)) for i in range(256)
]
_NORMAL = np.array(_QUANTILES, np.int8)

_DRAWN_AT_ONCE, _MAX_CHUNK = 1 << 20, 128
"""Numbers and steps drawn at once: enough to hide NumPy's cost for a call."""


class Directions:
  """Draws directions by their address, whatever the masters are.

  Attributes:
    unit: the value that counts as 1 in a direction (1 or 32).
  """

  def __init__(
    self,
    layout: Layout,
    seed: int,
    kind: str = "rademacher",
    first: int = 0,
  ) -> None:
    """Prepares draws.

    Args:
      layout: the trainable tensors.
      seed: the run's.
      kind: one of `KINDS`.
      first: the number of a step's first direction; another one gives other
        directions of the same step.

    Raises:
      TflmFgError: if there is no such kind.
    """
    if kind not in KINDS:
      raise TflmFgError(
        f"direction {kind!r} is unknown; choose one of {', '.join(KINDS)}"
      )
    self._spread, self._per_block, self.unit = KINDS[kind]
    self._seed, self._first = seed, first
    self._num_kernels = layout.num_kernels
    self._last = -1, 0, np.zeros(0, np.int8)  # a step draws them twice
    self._addresses = Addresses(layout.tensors, self._per_block)
    self._cached = functools.lru_cache(maxsize=1)(
      lambda first, count, m: read_only(
        self._flat(np.arange(first, first + count), m)
      )
    )

  def of(self, state: TrainState, num_directions: int) -> Int8:
    """The directions of a state's step: int8 [m, K + B]."""
    return self.flat_at(state.step, num_directions)

  def at(self, step: int, num_directions: int) -> Vectors:
    """The directions of one step: int8 [m, K] and [m, B]."""
    return self._split(self.flat_at(step, num_directions))

  def flat_at(self, step: int, num_directions: int) -> Int8:
    """The same with kernels and biases in a row: int8 [m, K + B].

    Many steps are drawn at once and kept, and none can be written to; the
    address alone decides the values.
    """
    if (step, num_directions) == self._last[:2]:
      return self._last[2]
    fit = _DRAWN_AT_ONCE // max(1, self._addresses.size * num_directions)
    chunk = max(1, min(_MAX_CHUNK, fit))
    within = step % chunk
    drawn = self._cached(step - within, chunk, num_directions)[within]
    self._last = step, num_directions, drawn
    return drawn

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
    numbers = np.arange(self._first, self._first + num_directions)
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
