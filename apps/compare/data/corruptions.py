"""Spoil images, in one of several ways and by one of five degrees.

The kinds and the five severities are in the manner of CIFAR10-C (Hendrycks and
Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019); the numbers are our own, for images of any size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import Array, TflmFgError

Floats = NDArray[np.float64]

SEVERITIES = (1, 2, 3, 4, 5)

NOISE = (0.1, 0.17, 0.24, 0.31, 0.38)
"""Standard deviation, in shares of the full range."""

BLUR = (0.05, 0.06, 0.07, 0.085, 0.1)
"""Standard deviation of the Gaussian, in shares of the image's height."""

CONTRAST = (0.9, 0.8, 0.7, 0.6, 0.45)
"""What is left of the distance to the image's own mean."""

ROTATION = (8.0, 14.0, 20.0, 27.0, 35.0)
"""Degrees, counter-clockwise."""

PIXELATION = (0.875, 0.75, 0.625, 0.5, 0.375)
"""Pixels that are left of a row, as a share."""


def corrupt(
  x: Array, kind: str, severity: int, seed: int = 0, peak: float = 255.0
) -> Array:
  """Spoils images.

  Args:
    x: [N, H, W, C], integers or floats from 0 to `peak`.
    kind: a key of KINDS.
    severity: 1 to 5.
    seed: of random numbers; noise alone has any.
    peak: the brightest that a pixel can be.

  Returns:
    Of the shape and the dtype of `x`, from 0 to `peak`.

  Raises:
    TflmFgError: if there is no such kind or severity, or `x` is no images.
  """
  if kind not in KINDS:
    raise TflmFgError(
      f"corruption {kind!r} is unknown; choose of {', '.join(KINDS)}"
    )
  if severity not in SEVERITIES:
    raise TflmFgError(f"severity={severity}: need 1 to {len(SEVERITIES)}")
  if x.ndim != 4 or x.dtype.kind not in "uif" or not x.size:
    raise TflmFgError(
      f"images: need numbers [N, H, W, C], got {x.dtype} {list(x.shape)}"
    )
  spoilt = KINDS[kind](x.astype(np.float64) / peak, severity - 1, seed)
  spoilt = np.clip(spoilt, 0.0, 1.0) * peak
  if x.dtype.kind != "f":
    spoilt = np.rint(spoilt)
  return spoilt.astype(x.dtype)


def _noise(x: Floats, degree: int, seed: int) -> Floats:
  rng = np.random.default_rng(seed)
  # A larger severity is the same noise, louder.
  return x + NOISE[degree] * rng.standard_normal(x.shape)


def _blur(x: Floats, degree: int, seed: int) -> Floats:
  from scipy import ndimage

  sigma = BLUR[degree] * x.shape[1]
  return np.asarray(
    ndimage.gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest")
  )


def _contrast(x: Floats, degree: int, seed: int) -> Floats:
  mean = x.mean(axis=(1, 2, 3), keepdims=True)
  return np.asarray(mean + CONTRAST[degree] * (x - mean))


def _rotation(x: Floats, degree: int, seed: int) -> Floats:
  from scipy import ndimage

  return np.asarray(
    ndimage.rotate(
      x, ROTATION[degree], (2, 1), reshape=False, order=1, mode="nearest"
    )
  )


def _pixelation(x: Floats, degree: int, seed: int) -> Floats:
  """Means over blocks, and the blocks back to the old size."""
  for axis in (1, 2):
    size = x.shape[axis]
    kept = max(1, round(size * PIXELATION[degree]))
    blocks = np.arange(size) * kept // size
    counts = np.bincount(blocks).reshape([-1, *[1] * (3 - axis)])
    starts = np.searchsorted(blocks, np.arange(kept))
    means = np.add.reduceat(x, starts, axis=axis) / counts
    x = np.take(means, blocks, axis=axis)
  return x


KINDS: dict[str, Callable[[Floats, int, int], Floats]] = {
  "noise": _noise,
  "blur": _blur,
  "contrast": _contrast,
  "rotation": _rotation,
  "pixelation": _pixelation,
}
