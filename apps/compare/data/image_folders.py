"""Read folders of drawings, one a class, as grey images of one size.

The layout is Omniglot's (Lake et al., Science 2015): ALPHABET/CHARACTER/*.png.
Any depth will do: a folder that holds images is a class.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg import files, limits
from tflm_fg.types import TflmFgError, one_line

SIZE = 28
"""Pixels a side, where no other size is given."""

_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def read(
  folder: str, size: int = SIZE
) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[str, ...]]:
  """Reads all images.

  Args:
    folder: of folders with .png files.
    size: what images are resized to.

  Returns:
    Brightness [N, size, size, 1] from 0 to 1; classes; and the classes' names,
    their folders' paths in order.

  Raises:
    TflmFgError: if there are no images, or one cannot be read.
  """
  if not 2 <= size <= 512:
    raise TflmFgError(f"size={size}: need 2 to 512 pixels")
  found = scan(folder)
  x = [resized(grey(path), size) for paths in found.values() for path in paths]
  y = np.repeat(np.arange(len(found)), [len(p) for p in found.values()])
  return np.stack(x)[..., None], y.astype(np.int64), tuple(found)


def scan(folder: str) -> dict[str, list[str]]:
  """Class -> its images, both in the order of their names."""
  if not os.path.isdir(folder):
    raise TflmFgError(
      f"{folder}: no such folder; need ALPHABET/CHARACTER/*.png"
    )
  found = {}
  for root, _, names in os.walk(folder):
    images = sorted(
      name
      for name in names
      if name.lower().endswith(".png") and not name.startswith(".")
    )
    if images:
      label = os.path.relpath(root, folder).replace(os.sep, "/")
      found[label] = [os.path.join(root, name) for name in images]
  if not found:
    raise TflmFgError(
      f"{folder}: holds no images; need ALPHABET/CHARACTER/*.png"
    )
  return dict(sorted(found.items()))


def grey(path: str) -> NDArray[np.float64]:
  """Reads one image: brightness [H, W] from 0 to 1, on white where clear."""
  try:
    _require_room(path)
    pixels = np.asarray(_images().imread(path), np.float64)
    if not pixels.size or pixels.ndim not in (2, 3):
      raise ValueError(f"its shape is {list(pixels.shape)}")
  except (MemoryError, TflmFgError):
    raise
  except Exception as fault:  # image readers raise what they like
    raise TflmFgError(
      f"{path}: not an image that can be read ({one_line(fault, 80)})"
    ) from None
  if pixels.ndim == 2:
    return pixels
  brightness = pixels[..., :3] @ _LUMINANCE
  if pixels.shape[2] == 4:
    opaque = pixels[..., 3]
    brightness = brightness * opaque + (1 - opaque)
  return np.asarray(brightness)


def _require_room(path: str) -> None:
  """Refuses an image that unpacks to more than there is memory for.

  Raises:
    TflmFgError: in one line.
  """
  pillow = importlib.import_module("PIL.Image")  # Matplotlib needs it as well
  file, _ = files.open_regular(path)
  with file, pillow.open(file) as opened:
    limits.require(
      _BYTES_A_PIXEL * opened.width * opened.height,
      f"{path}: {opened.height} x {opened.width} pixels",
      "give it smaller",
    )


_BYTES_A_PIXEL = 80
"""Of an image in four channels of float64, twice."""


def resized(image: NDArray[np.float64], size: int) -> NDArray[np.float32]:
  """Brings [H, W] to [size, size], lines as thin as they are kept visible."""
  from scipy import ndimage

  factors = [size / extent for extent in image.shape]
  # Smoothed by half of what one new pixel covers: or thin lines fall through.
  sigma = [max(0.0, (1 / factor - 1) / 2) for factor in factors]
  smooth = ndimage.gaussian_filter(image, sigma, mode="nearest")
  small = ndimage.zoom(smooth, factors, order=1, mode="nearest", grid_mode=True)
  return np.clip(small, 0.0, 1.0).astype(np.float32)


def _images() -> Any:
  try:
    return importlib.import_module("matplotlib.image")
  except ImportError:
    raise TflmFgError("images need: pip install 'tflm-fg[plots]'") from None
