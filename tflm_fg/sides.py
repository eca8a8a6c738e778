"""Write the engine's weights on both sides of the masters, in one go."""

from __future__ import annotations

import numpy as np

from tflm_fg.base import Params, Vectors, Weights
from tflm_fg.quant import LIMITS, Kernels, Layout, clip_into, form_of


class Sides:
  """The engine's weights on both sides of the masters, in buffers made once.

  Attributes:
    weights: 2 m sets of weights, overwritten by every `move`: params + delta
      and params - delta of the first direction, then of the second.
  """

  def __init__(self, layout: Layout, num_directions: int) -> None:
    sides = (num_directions, 2)
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
    for tensor, where in layout.homes:
      held = (
        self._biases[np.dtype(tensor.dtype)]
        if tensor.role == "bias"
        else self._kernels.forms[form_of(tensor)]
      )
      tensors.append(
        held[..., where].reshape(2 * num_directions, *tensor.shape)
      )
    self.weights: list[Weights] = [list(side) for side in zip(*tensors)]

  def move(self, params: Params, delta: Vectors) -> list[Weights]:
    """Writes both sides; `params` stays as it is.

    Args:
      params: the masters.
      delta: integers [m, K] and [m, B], in master and bias units.

    Returns:
      `weights`.
    """
    for wide, masters, away in zip(self._wide, params, delta):
      centre = masters.astype(wide.dtype)
      np.add(centre, away, out=wide[:, 0])
      np.subtract(centre, away, out=wide[:, 1])
    self._kernels.narrow(self._wide.kernels)
    for kind, held in self._biases.items():
      clip_into(self._wide.biases, LIMITS[kind], held)
    return self.weights
