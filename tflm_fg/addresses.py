"""Turn keys into random numbers for every trainable tensor at once.

A tensor's numbers come from its own counter, so a selection of tensors changes
no other tensor's draw, and a microcontroller can draw one tensor at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg import rng
from tflm_fg.quant import Layout

Spread = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Random bytes [..., n] -> numbers."""


class Addresses:
  """Block counters of all tensors, laid out once: kernels, then biases.

  Attributes:
    size: count of trainable numbers, K + B.
  """

  def __init__(self, layout: Layout, per_block: int) -> None:
    """Lays them out.

    Args:
      layout: the trainable tensors.
      per_block: numbers that come from a block of 64 bits.
    """
    tensors = sorted(layout.tensors, key=lambda t: not t.has_master)
    blocks = [math.ceil(t.size / per_block) for t in tensors]
    self._tensor = np.repeat(
      np.array([t.index for t in tensors], np.uint32), blocks
    )
    self._block = np.concatenate(
      [np.arange(b, dtype=np.uint32) for b in blocks]
    )
    starts = np.cumsum([0, *blocks]) * per_block
    self._spans = [(s, s + t.size) for s, t in zip(starts, tensors)]
    self.size = sum(t.size for t in tensors)

  def draw(self, key: rng.Words, spread: Spread) -> NDArray[Any]:
    """Draws [..., K + B] under keys [...]."""
    values = spread(rng.random_bytes(key, self._tensor, self._block))
    return np.concatenate([values[..., a:b] for a, b in self._spans], axis=-1)


class Noise:
  """Sixteen even random bits a trainable number, by address alone."""

  def __init__(self, layout: Layout, seed: int) -> None:
    self._addresses, self._seed = Addresses(layout, 4), seed

  def at(self, step: int, stream: int) -> NDArray[np.int64]:
    """Draws int64 [K + B] in 0 to 65535.

    Args:
      step: of training, or `rng.MASK_STEP`.
      stream: what it is for, one of rng's; stands where a direction would.
    """
    key = rng.key_of(self._seed, step, stream)
    words = self._addresses.draw(key, lambda raw: raw.view("<u2"))
    return words.astype(np.int64)
