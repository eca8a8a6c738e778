"""Write the engine's weights on some sides of the masters, in one go."""

from __future__ import annotations

import math

import numpy as np

from tflm_fg.base import Int32, Params, Vectors, Weights
from tflm_fg.quant import LIMITS, MASTER_UNIT, Kernels, Layout, clip_into


class Sides:
  """The engine's weights on some sides of the masters, in buffers made once.

  Attributes:
    weights: sets of weights, overwritten by every `move`: params + delta and,
      with two signs, params - delta of the first direction, then of the second.
  """

  def __init__(
    self, layout: Layout, num_directions: int, signs: tuple[int, ...] = (1, -1)
  ) -> None:
    self._signs = signs
    sides = (num_directions, len(signs))
    self._wide = Vectors(
      np.empty((*sides, layout.num_kernels), np.int32),
      np.empty((*sides, layout.num_biases), np.int64),
    )
    self._kernels = Kernels(self._wide.kernels.shape, layout)
    # One for all biases, or more where several widths meet; wide first, as
    # clipping uses up what it clips.
    kinds = {np.dtype(t.dtype) for t in layout.tensors if t.role == "bias"}
    self._biases = {
      kind: np.empty(self._wide.biases.shape, kind)
      for kind in sorted(kinds, key=lambda kind: -kind.itemsize)
    }
    tensors = []
    for tensor, where, form in layout.homes:
      held = (
        self._biases[np.dtype(tensor.dtype)]
        if form == "bias"
        else self._kernels.forms[form]
      )
      tensors.append(held[..., where].reshape(math.prod(sides), *tensor.shape))
    self.weights: list[Weights] = [list(side) for side in zip(*tensors)]

  def move(
    self,
    params: Vectors | Params,
    delta: Vectors,
    dither: int | Int32 = MASTER_UNIT >> 1,
  ) -> list[Weights]:
    """Writes all sides; `params` stays as it is.

    Args:
      params: the masters, of any width and range.
      delta: integers [m, K] and [m, B], in master and bias units.
      dither: added before int8 kernels are rounded down, the same on all
        sides; int32 [K] in 0 to 255.

    Returns:
      `weights`.
    """
    for wide, masters, away in zip(self._wide, params, delta):
      centre = masters.astype(wide.dtype)
      for side, sign in enumerate(self._signs):
        shift = np.add if sign > 0 else np.subtract
        shift(centre, away, out=wide[:, side])
    self._kernels.narrow(self._wide.kernels, dither)
    for kind, held in self._biases.items():
      clip_into(self._wide.biases, LIMITS[kind], held)
    return self.weights
