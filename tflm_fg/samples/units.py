"""Units of samples: what a model's input can hold, and likely mistakes.

An integer input stands for real numbers: (q - zero_point) * scale. Its ends say
which units the model was trained on: pixels from 0 to 255, from 0 to 1 or from
-1 to 1, or something of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tflm_fg.limits import parts
from tflm_fg.types import Array, TensorSpec, TflmFgError

GRIDS = ("int8", "uint8", "int16", "int32", "int64")

WHITE = 255
"""The brightest pixel of a uint8 image."""

_PIXEL_RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
"""Units in which models are given the pixels 0 to 255."""

_NEAR = 0.03
"""How far an end may be off, as a share of the range: -0.99 to 1 is -1 to 1."""


def grid_of(spec: TensorSpec) -> TensorSpec | None:
  """The integer grid that samples end on: the input's, or the one behind it.

  Returns:
    The dtype, scale and zero point; None where there is no such grid, or its
    numbers choose rows of a table.
  """
  if spec.grid is not None:
    dtype, scale, zero_point = spec.grid
    spec = spec._replace(dtype=dtype, scale=scale, zero_point=zero_point)
  usable = spec.scale > 0 and spec.dtype in GRIDS and not spec.rows
  return spec if usable else None


def reach(spec: TensorSpec) -> tuple[float, float] | None:
  """The lowest and the highest real number that an input can hold.

  Returns:
    Real units; None where the input is not on an integer grid.
  """
  grid = grid_of(spec)
  if grid is None:
    return None
  info = np.iinfo(grid.dtype)
  low, high = (
    (int(end) - grid.zero_point) * grid.scale for end in (info.min, info.max)
  )
  return low, high


def pixel_range(spec: TensorSpec) -> tuple[float, float] | None:
  """The units of black and white, where an input's grid leaves no doubt.

  An int16 grid goes as far below zero as above it, whatever the units are; so
  of its ends 1 says nothing.

  Returns:
    What the pixels 0 and 255 are in the model's units; None for a doubt.
  """
  grid, ends = grid_of(spec), reach(spec)
  if grid is None or ends is None:
    return None
  if grid.dtype == "int16":
    return (0.0, 255.0) if _is_near(ends, (-255.0, 255.0)) else None
  return next((known for known in _PIXEL_RANGES if _is_near(ends, known)), None)


def from_pixels(
  pixels: NDArray[np.uint8], ends: tuple[float, float]
) -> NDArray[np.float64]:
  """Pixels from 0 to 255 in a model's units.

  Args:
    pixels: uint8 of any shape.
    ends: what black and white are.
  """
  low, high = ends
  return np.asarray(low + pixels * ((high - low) / WHITE), np.float64)


def in_units(
  x: Array, ends: tuple[float, float], name: str
) -> NDArray[np.float32]:
  """Pixels in units that a user has named.

  Args:
    x: uint8 [N, ...].
    ends: what black and white are.
    name: what to call the samples in errors.

  Raises:
    TflmFgError: if x are no pixels, or the ends are no range.
  """
  if not -1e6 <= ends[0] < ends[1] <= 1e6:
    raise TflmFgError(
      f"pixel_range={ends[0]:g},{ends[1]:g}: need black below white"
    )
  if x.dtype != np.uint8:
    raise TflmFgError(
      f"{name}: pixel_range is for pixels as uint8, and its samples are "
      f"{x.dtype}; leave it out"
    )
  made = np.empty(x.shape, np.float32)
  for rows in parts(x):
    made[rows] = from_pixels(x[rows].astype(np.uint8), ends)
  return made


def _is_near(ends: tuple[float, float], known: tuple[float, float]) -> bool:
  room = _NEAR * (known[1] - known[0])
  return all(abs(a - b) <= room for a, b in zip(ends, known))


_DIVISORS = (("divided by 255", 255.0), ("divided by 32768", 32768.0))


def why_small(x: tuple[float, float], ends: tuple[float, float]) -> str:
  """The likely cause of samples that span a small part of an input, and a cure.

  Args:
    x: the lowest and the highest of the samples.
    ends: of the input.
  """
  low, high = ends
  for said, factor in _DIVISORS:
    raw = x[0] * factor, x[1] * factor
    room = _NEAR * (high - low)
    fits = raw[0] >= low - room and raw[1] <= high + room
    if fits and raw[1] - raw[0] >= (high - low) / 16:
      cure = "give raw pixels" if _is_near(ends, (0.0, 255.0)) else "undo that"
      if factor > WHITE:
        cure = "give 16-bit samples as they are"
      return f"it looks {said}; {cure}"
  return "give it in the units that the model was trained on"


def why_large(x: tuple[float, float], ends: tuple[float, float]) -> str:
  """The likely cause of samples that lie outside an input; empty if unknown."""
  pixels = x[0] >= 0 and 1 < x[1] <= WHITE
  if pixels and _is_near(ends, (0.0, 1.0)):
    return "it looks like raw pixels; divide by 255"
  if pixels and _is_near(ends, (-1.0, 1.0)):
    return "it looks like raw pixels; give x / 127.5 - 1"
  if x[0] < 0 and _is_near(ends, (0.0, 1.0)) and x[0] >= -1 and x[1] <= 1:
    return "it looks scaled to -1 to 1; give (x + 1) / 2"
  audio = x[0] >= -32768 and x[1] <= 32767 and x[1] - x[0] > 2 * WHITE
  if audio and _is_near(ends, (-1.0, 1.0)):
    return "it looks like 16-bit samples; divide by 32768"
  return ""
