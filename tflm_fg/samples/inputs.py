"""Put samples onto a model's input: their shape, their type and their units."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tflm_fg.fixed_point.arithmetic import quantize
from tflm_fg.limits import parts
from tflm_fg.samples import units
from tflm_fg.samples.arrays import counted
from tflm_fg.types import Array, TensorSpec, TflmFgError


def model_input(x: Array, spec: TensorSpec, name: str = "x") -> Array:
  """Checks samples and puts them on the model's input grid.

  Args:
    x: [N, ...]; floats in the units the model was trained on, integers already
      of the input's dtype, or uint8 pixels where the input's grid says what
      black and white are. For shapes see `shaped`.
    spec: the model's input.
    name: what to call the array in errors.

  Returns:
    [N, ...] of the input's dtype.

  Raises:
    TflmFgError: for a wrong shape or dtype, NaN, or no samples.
  """
  x = shaped(x, spec, name)
  real: Callable[[Any], NDArray[Any]] = np.asarray
  is_real = x.dtype.kind == "f"
  if x.dtype == np.uint8 and spec.dtype != "uint8" and not spec.rows:
    ends = _ends_of_pixels(spec, name)
    real = functools.partial(units.from_pixels, ends=ends)
    is_real = True
  elif is_real:
    _require_finite(x, name)
  if is_real:
    if text := saturation(x, spec, name, real):
      warnings.warn(text, stacklevel=3)
    if spec.dtype == "float32":
      return _in_parts(x, real, np.float32)
    if spec.scale > 0 and spec.dtype in units.GRIDS:
      return _in_parts(
        x,
        lambda some: quantize(
          real(some).astype(np.float64),
          spec.scale,
          spec.zero_point,
          spec.dtype,
        ),
        spec.dtype,
      )
  if x.dtype.name == spec.dtype or (spec.rows and x.dtype.kind in "iu"):
    return _rows_within(x, spec, name) if spec.rows else x
  raise TflmFgError(
    f"{name}: dtype {x.dtype}, the model takes {spec.dtype}; give {spec.dtype} "
    "or floats in the units it was trained on"
    + (", or pixels as uint8" if units.pixel_range(spec) else "")
  )


def shaped(x: Array, spec: TensorSpec, name: str = "x") -> Array:
  """Samples in the shape of the input, where theirs leaves no doubt.

  Axes of 1 may be there or not. A flat sample fills an input of one or two
  other axes row by row, and an input of one axis takes a sample of two.

  Args:
    x: [N, ...].
    spec: the model's input.
    name: what to call the array in errors.

  Raises:
    TflmFgError: for another shape, naming what cures it; or for no samples.
  """
  if x.ndim == 0 or len(x) == 0:
    raise TflmFgError(f"{name}: no samples in an array of shape {x.shape}")
  given, wanted = x.shape[1:], spec.shape[1:]
  if given == wanted:
    return x
  own, own_wanted = ([n for n in s if n != 1] for s in (given, wanted))
  size = int(np.prod(wanted, dtype=np.int64))
  flat = [len(own), len(own_wanted)] in ([1, 2], [2, 1])
  if own == own_wanted or (flat and np.prod(own) == size):
    return x.reshape(len(x), *wanted)
  one = [n for n in x.shape if n != 1] == own_wanted
  raise TflmFgError(
    f"{name}: samples of shape {list(given)}, the model takes {list(wanted)}"
    + ("; is it a single sample? give x[None]" * one)
    + _shape_cure(given, wanted)
  )


def _shape_cure(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
  """What would bring samples into shape; empty where that is not known."""
  if len(given) == len(wanted) == 3:
    if given == (wanted[2], wanted[0], wanted[1]):
      return (
        "; they look like channels first (NCHW): give x.transpose(0, 2, 3, 1)"
      )
    if given[:2] == wanted[:2]:
      return _channel_cure(given[2], wanted[2])
    if given[2] == wanted[2] and given[:2] != wanted[1::-1]:
      return "; they have another size: resize them first"
  if given == wanted[::-1] and len(given) == 2:
    return "; their axes are the other way round: give x.transpose(0, 2, 1)"
  if len(given) == 3 and given == (wanted[1:2] + wanted[:1] + wanted[2:]):
    return "; rows and columns are swapped: give x.transpose(0, 2, 1, 3)"
  if len(given) == 2 and given == wanted[:2] and len(wanted) == 3:
    return _channel_cure(1, wanted[2], "x[..., None]")
  if given == (int(np.prod(wanted, dtype=np.int64)),) and len(wanted) == 3:
    height, width, channels = wanted
    return (
      f"; if they are flat images give x.reshape(-1, {height}, {width}, "
      f"{channels}), or where the channels come first x.reshape(-1, {channels}"
      f", {height}, {width}).transpose(0, 2, 3, 1)"
    )
  return ""


def _channel_cure(given: int, wanted: int, x: str = "x") -> str:
  """What to do with images of another count of channels."""
  if (given, wanted) == (1, 3):
    return (
      f"; they are grey and the model takes colours: np.repeat({x}, 3, -1) "
      "gives it grey in colours, which it may not know"
    )
  if (given, wanted) == (4, 3):
    return "; they have a fourth channel, opacity: give x[..., :3]"
  if (given, wanted) in ((3, 1), (4, 1)):
    return (
      "; they have colours and the model takes grey: give "
      "x[..., :3] @ [[0.299], [0.587], [0.114]]"
    )
  return ""


def _in_parts(
  x: Array, change: Callable[[Any], Array], dtype: DTypeLike
) -> Array:
  """Samples that are changed some at a time, so that no whole copy is wide."""
  made = np.empty(x.shape, dtype)
  for rows in parts(x):
    made[rows] = change(x[rows])
  return made


def _ends_of_pixels(spec: TensorSpec, name: str) -> tuple[float, float]:
  """What black and white are in the model's units.

  Raises:
    TflmFgError: if the input's grid does not say what they are.
  """
  ends = units.pixel_range(spec)
  if ends is not None:
    return ends
  reach = units.reach(spec)
  holds = "" if reach is None else f", from {reach[0]:.4g} to {reach[1]:.4g}"
  raise TflmFgError(
    f"{name}: dtype uint8, and the model's {spec.dtype} input{holds} does not "
    "say what the pixels 0 and 255 are in its units; give floats in the units "
    "it was trained on, as x / 255.0 or x / 127.5 - 1, or --pixel_range=-1,1"
  )


def _require_finite(x: NDArray[Any], name: str) -> None:
  """Refuses NaN and infinity, and says where they are."""
  bad = np.concatenate(
    [~np.isfinite(_flat(x[rows])).all(axis=1) for rows in parts(x)]
  )
  if not bad.any():
    return
  first = int(np.flatnonzero(bad)[0])
  place = [int(i) for i in np.argwhere(~np.isfinite(x[first]))[0]]
  what = "NaN" if np.isnan(x[first][tuple(place)]) else "infinity"
  raise TflmFgError(
    f"{name}: holds NaN or infinity in {counted(int(bad.sum()), 'sample')} of "
    f"{len(x)}, first {what} in sample {first} at {place}; clean the samples "
    "first"
  )


def _flat(x: NDArray[Any]) -> NDArray[Any]:
  return x.reshape(len(x), -1)


def _rows_within(x: Array, spec: TensorSpec, name: str) -> Array:
  """Refuses numbers of rows that the model's table does not have."""
  low, high = int(x.min()), int(x.max())
  if low < 0 or high >= spec.rows:
    raise TflmFgError(
      f"{name}: numbers {low} to {high}, the model looks up rows 0 to "
      f"{spec.rows - 1} of a table"
    )
  return x.astype(spec.dtype)


def saturation(
  x: NDArray[Any],
  spec: TensorSpec,
  name: str,
  real: Callable[[Any], NDArray[Any]] = np.asarray,
) -> str:
  """What to say of samples outside the input's range; empty for nothing.

  Args:
    x: [N, ...].
    spec: the model's input.
    name: what to call the array.
    real: gives some of them in real units.
  """
  grid, ends = units.grid_of(spec), units.reach(spec)
  if grid is None or ends is None:
    return ""
  low, high = ends[0] - grid.scale, ends[1] + grid.scale
  outside = 0
  for rows in parts(x):
    some = real(x[rows])
    outside += int(np.count_nonzero((some < low) | (some > high)))
  share = outside / max(1, x.size)
  if share <= _SATURATION_SHARE:
    return ""
  first, last = (float(some) for some in real(np.array([x.min(), x.max()])))
  span = first, last
  cause = units.why_large(span, ends)
  return (
    f"{name}: {share:.0%} of the values lie outside the model's input range "
    f"({low:.3g} to {high:.3g}); they span {span[0]:.3g} to {span[1]:.3g}; "
    + (cause or "are they in the units it was trained on?")
  )


_SATURATION_SHARE = 0.1
