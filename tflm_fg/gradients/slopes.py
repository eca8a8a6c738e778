"""Run perturbed weights, and take losses apart and directions together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tflm_fg.fixed_point.state import Passes
from tflm_fg.types import Int8, Int64, Weights

ONE = 1 << 16
"""1.0 in Q16: a slope's fixed point."""


def run(passes: Passes, weight_sets: Iterable[list[Weights]]) -> Int64:
  """Runs all weight sets: int64 [P], the losses in their order."""
  losses = [passes.losses(lot) for lot in weight_sets]
  return losses[0] if len(losses) == 1 else np.concatenate(losses)


def differences(losses: Int64) -> Int64:
  """What each pair of losses, at plus and at minus, differs by."""
  found: Int64 = losses[::2] - losses[1::2]
  return found


def signs(losses: Int64) -> Int64:
  """The sign of what each pair of losses differs by."""
  return np.sign(differences(losses))


def weighted_sum(drawn: Int8, weights: Int64) -> Int64:
  """Sums directions [m, n] by integer weights [m]: int64 [n]."""
  # NumPy's product of integer matrices is slower than this.
  weighted = drawn.astype(np.int64)
  weighted *= weights[:, None]
  summed: Int64 = np.add.reduce(weighted, axis=0)
  return summed
