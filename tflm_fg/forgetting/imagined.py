"""Make inputs of a head for classes that have no samples.

Where no sample of a class is left, the head itself is the anchor: it says which
inputs it takes for the class. From the mean of the samples an input climbs, in
the directions in which samples of one class differ, until the head is sure of
the class; inputs are drawn around it as samples of one class lie around their
mean. Our own construction, after model inversion and after Gaussian classifiers
with one covariance. In our measurements they keep classes better than inputs
drawn around the classes' true means on source data do: they lie where the head
decides, and move with the samples under a shift (docs/forgetting.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.one_thread import one_thread
from tflm_fg.fixed_point.random_bits import (
  IMAGINED_TENSOR,
  key_of,
  random_bytes,
)
from tflm_fg.types import Int64

Floats = NDArray[np.float64]

_SURE = 0.9
"""Probability of the class at which the climb ends."""

_SPREAD = 1.5
"""Standard deviations of a class's samples that one of the drawn ones is."""

_SHRINKAGE = 0.3
"""How far a covariance of many samples is drawn towards a sphere."""

_TRUSTED, _ASSUMED = 20, 5
"""Samples whose covariance counts half; and how many samples the assumption
counts as that inputs of one class vary by half of their root mean square."""

_MOST_STEPS = 2000
_STEP = 0.1
_DRAWS = 2
"""Inputs drawn for each one wanted: the head may take some for others."""


class LinearHead(NamedTuple):
  """A head in real numbers: logits are inputs @ rows.T + offsets.

  Attributes:
    rows: float64 [C, D].
    offsets: float64 [C].
  """

  rows: Floats
  offsets: Floats

  def logits(self, x: Floats) -> Floats:
    """Of inputs [N, D]: float64 [N, C]."""
    return x @ self.rows.T + self.offsets


def imagine(
  head: LinearHead,
  x: Floats,
  y: Int64,
  wanted: Sequence[int],
  count: int,
  seed: int,
) -> tuple[Floats, Int64]:
  """Imagines inputs of classes.

  Args:
    head: before it learns.
    x: inputs of samples of other classes, float64 [N, D].
    y: the samples' classes, [N].
    wanted: the classes to imagine inputs of.
    count: how many of each.
    seed: of what is drawn.

  Returns:
    Up to `count` inputs of each wanted class, float64 [M, D], and their
    classes, int64 [M]. All of them are inputs that the head takes for their
    class; there are none of a class that the head never answers with.
  """
  if not len(wanted):
    return x[:0], y[:0].astype(np.int64)
  with one_thread():
    covariance = _within(x, y)
    root = np.linalg.cholesky(covariance)
    least = min(float(x.min()), 0.0)
    centres = _climbed(x.mean(axis=0), wanted, head, covariance, least)
    made, labels = [], []
    for label, centre in zip(wanted, centres):
      drawn = _normal(seed, label, (_DRAWS * count, len(centre)))
      around = np.maximum(centre + _SPREAD * drawn @ root.T, least)
      around = around[head.logits(around).argmax(axis=1) == label][:count]
      made.append(around)
      labels += [label] * len(around)
  return np.concatenate(made), np.array(labels, np.int64)


def _within(x: Floats, y: Int64) -> Floats:
  """How samples of one class vary: their covariance, shrunk to a sphere.

  The fewer samples there are, the more it is a sphere, and the more its size is
  an assumption.
  """
  residual, width = x.copy(), x.shape[1]
  labels = np.unique(y)
  for label in labels:
    residual[y == label] -= x[y == label].mean(axis=0)
  known = len(x) - len(labels)
  covariance = residual.T @ residual / max(1, known)
  assumed = float((x**2).mean()) / 4
  variance = known * float(np.trace(covariance)) / width + _ASSUMED * assumed
  sphere = max(variance / (known + _ASSUMED), 1e-9)
  trust = (1 - _SHRINKAGE) * known / (known + _TRUSTED)
  return np.asarray(trust * covariance + (1 - trust) * sphere * np.eye(width))


def _climbed(
  start: Floats,
  wanted: Sequence[int],
  head: LinearHead,
  covariance: Floats,
  least: float,
) -> Floats:
  """Moves an input for each class, [M, D], until the head is sure of it."""
  step = _STEP * np.sqrt(
    np.trace(covariance) / np.trace(covariance @ covariance)
  )
  labels, rows = np.array(wanted), np.arange(len(wanted))
  x = np.repeat(start[None], len(labels), axis=0)
  for _ in range(_MOST_STEPS):
    logits = head.logits(x)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    unsure = p[rows, labels] < _SURE
    if not unsure.any():
      break
    uphill = (head.rows[labels] - p @ head.rows) @ covariance
    x[unsure] = np.maximum(x[unsure] + step * uphill[unsure], least)
  return x


def _normal(seed: int, label: int, shape: tuple[int, int]) -> Floats:
  """Numbers close to normal, by address: sums of four even 16-bit numbers."""
  size = shape[0] * shape[1]
  blocks = np.arange(size, dtype=np.uint32)  # a block has four such numbers
  tensor = np.full_like(blocks, IMAGINED_TENSOR)
  raw = random_bytes(key_of(seed, 0, label), tensor, blocks).view("<u2")
  sums = raw.reshape(size, 4).sum(axis=1, dtype=np.int64) - 2 * 65535
  return (sums / (65536 * np.sqrt(4 / 12))).reshape(shape)
