"""Bring pictures to the size and the channels that a model takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tflm_fg.types import Array, TflmFgError


def fitted(x: Array, shape: Sequence[int]) -> Array:
  """Resizes pictures bilinearly, and repeats grey ones for each colour.

  Args:
    x: [N, ...]; floats [N, H, W, C] are resized, anything else is left as it
      is for the model to refuse.
    shape: of one sample as the model takes it.

  Returns:
    [N, *shape] where both are pictures of 1 channel, or of the same count.

  Raises:
    TflmFgError: if SciPy is missing.
  """
  if x.ndim != 4 or len(shape) != 3 or x.dtype.kind != "f":
    return x
  channels, wanted = x.shape[3], shape[2]
  if x.shape[1:] == tuple(shape) or channels not in (1, wanted):
    return x
  if x.shape[1:3] != tuple(shape[:2]):
    x = _resized(x, shape[0], shape[1])
  return np.repeat(x, wanted // channels, axis=3)


def _resized(x: Array, height: int, width: int) -> Array:
  try:
    from scipy import ndimage
  except ImportError:
    raise TflmFgError(
      "pictures of another size need: pip install 'tflm-fg[compare]'"
    ) from None
  factors = (1, height / x.shape[1], width / x.shape[2], 1)
  return np.asarray(
    ndimage.zoom(x, factors, order=1, mode="nearest", grid_mode=True)
  )
