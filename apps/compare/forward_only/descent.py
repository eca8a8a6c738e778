"""Turn gradients in floats into new numbers: momentum, and Adam.

State goes in and comes out; nothing here knows what the numbers are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from apps.compare.forward_only.networks import Floats

Arrays = list[Floats]

MOMENTUM = np.float32(0.9)

BETAS = (np.float32(0.9), np.float32(0.999))
"""Of Adam (Kingma and Ba 2015): of the mean and of the mean square."""


class Momentum:
  """x - rate * v with v = 0.9 v + gradient, one v for each number."""

  states = 1
  """Numbers of state that each trained number has."""

  def __init__(self, rate: float) -> None:
    self.rate = rate
    self._velocity: Arrays = []

  def step(self, numbers: Arrays, gradients: Arrays) -> Arrays:
    """New numbers; the old ones are left as they are."""
    old = self._velocity or [np.zeros_like(g) for g in gradients]
    self._velocity = [MOMENTUM * v + g for v, g in zip(old, gradients)]
    rate = np.float32(self.rate)
    return [x - rate * v for x, v in zip(numbers, self._velocity)]


class Adam:
  """Adam without weight decay, two numbers of state for each number."""

  states = 2

  def __init__(self, rate: float) -> None:
    self.rate = rate
    self._mean: Arrays = []
    self._square: Arrays = []
    self._steps = 0

  def step(self, numbers: Arrays, gradients: Arrays) -> Arrays:
    """New numbers; the old ones are left as they are."""
    one = np.float32(1)
    first, second = BETAS
    mean = self._mean or [np.zeros_like(g) for g in gradients]
    square = self._square or [np.zeros_like(g) for g in gradients]
    self._steps += 1
    self._mean = [
      first * m + (one - first) * g for m, g in zip(mean, gradients)
    ]
    self._square = [
      second * s + (one - second) * g * g for s, g in zip(square, gradients)
    ]
    scale = (1 - float(second) ** self._steps) ** 0.5
    rate = np.float32(self.rate * scale / (1 - float(first) ** self._steps))
    return [
      x - rate * m / (np.sqrt(s) + np.float32(1e-8))
      for x, m, s in zip(numbers, self._mean, self._square)
    ]


def batches(
  x: Floats, y: NDArray[np.int64], size: int, seed: tuple[int, ...]
) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
  """All samples once, in an order that the seed alone decides.

  What does not fill a batch comes as a smaller one.
  """
  order = np.random.default_rng(seed).permutation(len(x))
  for start in range(0, len(x), size):
    rows = order[start : start + size]
    yield x[rows], y[rows]
