"""Share samples out: to training and what is kept aside, to folds, to steps."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.arithmetic import read_only
from tflm_fg.types import TflmFgError


def hold_out(
  y: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
  """Splits samples into a part to train on and a part kept aside.

  Every class gives its share, rounded; a class with a single sample gives none.

  Args:
    y: int64 [N], classes.
    fraction: share kept aside, 0 <= fraction < 1.
    seed: the run's seed.

  Returns:
    (train, kept), indices in ascending order.

  Raises:
    TflmFgError: if the fraction is out of range.
  """
  if not 0 <= fraction < 1:
    raise TflmFgError(f"validation_fraction={fraction}: need 0 <= f < 1")
  order = random_bits.permutation(seed, _SPLIT_EPOCH, len(y))
  kept = np.zeros(len(y), bool)
  for label in np.unique(y):
    members = order[y[order] == label]
    count = min(round(fraction * len(members)), len(members) - 1)
    kept[members[:count]] = True
  return np.flatnonzero(~kept), np.flatnonzero(kept)


def folds(y: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
  """Deals samples to folds, each class evenly.

  Args:
    y: int64 [N], classes.
    count: of folds.
    seed: the run's seed.

  Returns:
    int64 [N], each sample's fold.
  """
  order = random_bits.permutation(seed, _SPLIT_EPOCH, len(y))
  by_class = order[np.argsort(y[order], kind="stable")]
  dealt = np.empty(len(y), np.int64)
  dealt[by_class] = np.arange(len(y)) % count
  return dealt


_SPLIT_EPOCH = 0xFFFFFFFF


class Batches:
  """Which samples a step takes: addressed shuffles, one an epoch.

  Every sample comes once an epoch; a batch may straddle two epochs. A batch as
  large as the set, or larger, is the whole set.
  """

  def __init__(self, samples: int, batch_size: int, seed: int) -> None:
    if batch_size < 1:
      raise TflmFgError(f"batch_size={batch_size}: need at least 1")
    self.size = min(batch_size, samples)
    self._samples = samples
    # Several epochs are drawn at once, to hide NumPy's cost for a call.
    self._chunk = max(1, min(64, (1 << 16) // samples))
    self._cached = functools.lru_cache(maxsize=2)(
      lambda first: read_only(
        random_bits.permutation(
          seed, np.arange(first, first + self._chunk), samples
        )
      )
    )

  @property
  def whole(self) -> bool:
    """Whether every batch is the whole set, in its own order."""
    return self.size == self._samples

  def at(self, step: int) -> NDArray[np.int64]:
    """The samples of a step, int64 [size]."""
    if self.whole:
      return np.arange(self._samples)
    epoch, start = divmod(step * self.size, self._samples)
    taken = self._shuffle(epoch)[start : start + self.size]
    missing = self.size - len(taken)
    if not missing:
      return taken
    return np.concatenate([taken, self._shuffle(epoch + 1)[:missing]])

  def _shuffle(self, epoch: int) -> NDArray[np.int64]:
    within = epoch % self._chunk
    return self._cached(epoch - within)[within]
