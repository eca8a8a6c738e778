"""What both sides of a perturbation must be, from the sums that they narrow."""

import numpy as np

from tflm_fg.types import Vectors


def require_narrowed(layout, params, delta, moved):
  """Holds that weights are those of params + delta, then of params - delta.

  Args:
    layout: the trainable tensors.
    params: where the perturbations start.
    delta: perturbations, kernels [m, K] and biases [m, B].
    moved: 2 m sets of weights, a pair a perturbation.
  """
  assert len(moved) == 2 * len(delta.kernels)
  for number, weights in enumerate(moved):
    sign = -1 if number % 2 else 1
    want = layout.weights(
      Vectors(
        params.kernels + sign * delta.kernels[number // 2],
        params.biases + sign * delta.biases[number // 2],
      )
    )
    for got, array in zip(weights, want, strict=True):
      assert got.dtype == array.dtype
      assert np.array_equal(got, array)
