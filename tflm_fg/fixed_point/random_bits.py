"""Turn an address (seed, step, direction, tensor) into random bits.

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3", SC 2011): add, rotate and xor on 32-bit words only, so that a
microcontroller draws the same bits. Randomness is an address, not a stream: a
direction is drawn again when it is needed and never stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tflm_fg.types import TflmFgError, TrainableTensor

Array8 = NDArray[np.uint8]
UInt32 = NDArray[np.uint32]
Words = tuple[UInt32, UInt32]

BATCH_TENSOR = 0xFFFFFFFF
"""Stands where a tensor's index would, for draws that pick samples."""

PROBE_TENSOR = 0xFFFFFFFE
"""The same for the write-visibility guard's probe inputs."""

IMAGINED_TENSOR = 0xFFFFFFFD
"""The same for imagined inputs of a head."""

UPDATE_DITHER = 0xFFFFFFFF
"""Stands where a direction's number would, for the rounding of updates."""

PERTURBATION_DITHER = 0xFFFFFFFE
"""The same for the rounding of perturbed weights."""

MASK_STEP = 0xFFFFFF00
"""Stands where a step would, for what holds the whole run."""

_PARITY = np.uint32(0x1BD11BDA)
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry_2x32(key: tuple[ArrayLike, ArrayLike], counter: Words) -> Words:
  """Encrypts counters under a key, with NumPy's broadcasting.

  Args:
    key: two uint32 scalars or arrays.
    counter: two uint32 arrays.

  Returns:
    Two uint32 arrays of the broadcast shape.
  """
  k0, k1 = (np.asarray(k, np.uint32) for k in key)
  schedule = (k0, k1, k0 ^ k1 ^ _PARITY)
  with np.errstate(over="ignore"):  # Threefry adds modulo 2**32
    x0 = np.asarray(counter[0], np.uint32) + schedule[0]
    x1 = np.asarray(counter[1], np.uint32) + schedule[1]
    for group in range(5):
      for rotation in _ROTATIONS[group % 2]:
        x0 = x0 + x1
        x1 = (x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))
        x1 = x1 ^ x0
      x0 = x0 + schedule[(group + 1) % 3]
      x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
  return x0, x1


def key_of(seed: int, step: ArrayLike, direction: ArrayLike) -> Words:
  """Folds an address into the key under which tensors count their blocks.

  Args:
    seed: 0 <= seed < 2**64.
    step: uint32 scalar or array.
    direction: uint32 scalar or array that broadcasts with `step`.

  Returns:
    The key, two uint32 arrays of the broadcast shape.
  """
  words = (np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32))
  return threefry_2x32(
    words, (np.asarray(step, np.uint32), np.asarray(direction, np.uint32))
  )


def random_bytes(key: Words, tensor: ArrayLike, block: ArrayLike) -> Array8:
  """Draws eight bytes a block, in the little-endian order of the two words.

  Args:
    key: two uint32 arrays [...].
    tensor: uint32 [n], the tensor each block belongs to.
    block: uint32 [n], the block's number within its tensor.

  Returns:
    uint8 [..., 8 n].
  """
  key = (np.asarray(key[0])[..., None], np.asarray(key[1])[..., None])
  counter = (np.asarray(tensor, np.uint32), np.asarray(block, np.uint32))
  words = np.stack(threefry_2x32(key, counter), axis=-1).astype("<u4")
  return words.reshape(*words.shape[:-2], -1).view(np.uint8)


def permutation(seed: int, epoch: ArrayLike, size: int) -> NDArray[np.int64]:
  """Shuffles `range(size)` by sorting addressed 32-bit keys.

  Args:
    seed: the run's seed.
    epoch: which shuffle, or an array [...] of them.
    size: count of samples.

  Returns:
    int64 [..., size].
  """
  blocks = np.arange((size + 1) // 2, dtype=np.uint32)
  key = key_of(seed, epoch, 0)
  keys = random_bytes(key, np.full_like(blocks, BATCH_TENSOR), blocks)
  return np.argsort(keys.view("<u4")[..., :size], axis=-1, kind="stable")


PROBED = ("int8", "uint8", "int16", "int32", "int64", "float32")
"""Types of inputs that samples go to."""

MOST_PROBED = 1 << 22
"""Numbers of a probe that are drawn; a larger one repeats them."""


def probe_input(
  shape: tuple[int, ...], dtype: str, number: int, samples: int = 8
) -> NDArray[np.generic]:
  """Samples that fill an input's whole range, to see whether outputs react.

  Args:
    shape: one sample's shape.
    dtype: one of `PROBED`; of "int32" and "int64" 0 or 1, as they may be rows
      of a table that are looked up, and of "float32" numbers in [-4, 4).
    number: which of the inputs.
    samples: how many.

  Returns:
    [samples, *shape] of `dtype`.

  Raises:
    TflmFgError: if there are no such samples.
  """
  if dtype not in PROBED:
    raise TflmFgError(f"input {number} is {dtype}, need {', '.join(PROBED)}")
  total = samples * int(np.prod(shape))
  size = min(total, MOST_PROBED)
  blocks = np.arange(-(-size // 4), dtype=np.uint32)
  tensor = np.full_like(blocks, PROBE_TENSOR)
  raw = random_bytes(key_of(0, number, 0), tensor, blocks)
  values = np.resize(raw.view("<i2")[:size], (samples, *shape))
  if dtype == "float32":
    return (values / 8192.0).astype(dtype)
  if dtype in ("int32", "int64"):
    return (values & 1).astype(dtype)
  return (values >> (8 if np.dtype(dtype).itemsize == 1 else 0)).astype(dtype)


Spread = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Random bytes [..., n] -> numbers."""


class Addresses:
  """Block counters of all tensors, laid out once: kernels, then biases.

  Attributes:
    size: count of trainable numbers, K + B.
  """

  def __init__(
    self, tensors: Sequence[TrainableTensor], per_block: int
  ) -> None:
    """Lays them out.

    Args:
      tensors: the trainable ones.
      per_block: numbers that come from a block of 64 bits.
    """
    tensors = sorted(tensors, key=lambda t: not t.has_master)
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

  def draw(self, key: Words, spread: Spread) -> NDArray[Any]:
    """Draws [..., K + B] under keys [...]."""
    values = spread(random_bytes(key, self._tensor, self._block))
    return np.concatenate([values[..., a:b] for a, b in self._spans], axis=-1)


class Noise:
  """Sixteen even random bits a trainable number, by address alone."""

  def __init__(self, tensors: Sequence[TrainableTensor], seed: int) -> None:
    self._addresses, self._seed = Addresses(tensors, 4), seed

  def at(self, step: int, stream: int) -> NDArray[np.int64]:
    """Draws int64 [K + B] in 0 to 65535.

    Args:
      step: of training, or `MASK_STEP`.
      stream: what it is for, a constant of this file; stands for a direction.
    """
    key = key_of(self._seed, step, stream)
    words = self._addresses.draw(key, lambda raw: raw.view("<u2"))
    return words.astype(np.int64)
