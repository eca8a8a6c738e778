"""Turn what users have on disk into the model's own integers, in batches."""

from __future__ import annotations

import functools
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.arithmetic import quantize, read_only
from tflm_fg.types import Array, Int64, TensorSpec, TflmFgError


class Dataset(NamedTuple):
  """Samples and their targets; x [N, ...], y [N], [N, C] or None."""

  x: Array
  y: Array | None


def array_of(values: Any, name: str) -> Array:
  """What a user gave as an array; lists of numbers will do.

  Raises:
    TflmFgError: if it is none.
  """
  try:
    return np.asarray(values)
  except Exception:  # ragged lists, or odd __array__ methods
    raise TflmFgError(
      f"{name}: {type(values).__name__} that is no array; need numbers, "
      "as many for each sample"
    ) from None


def load_npz(path: str, labels: bool = True) -> Dataset:
  """Reads `x` and `y` from an .npz.

  Raises:
    TflmFgError: if the file is missing, is no .npz, or lacks an array.
  """
  try:
    with np.load(path, allow_pickle=False) as archive:
      names = list(archive.files)
      arrays = {k: np.asarray(archive[k]) for k in ("x", "y") if k in names}
  except FileNotFoundError:
    raise TflmFgError(f"{path}: no such file") from None
  except Exception:  # zip, header and array faults have no common type
    raise TflmFgError(
      f"{path}: not a readable .npz of plain arrays; save it with numpy.savez"
    ) from None
  for key, array in arrays.items():
    if array.dtype.kind not in "biuf":
      raise TflmFgError(
        f"{path}: {key!r} holds {array.dtype}; need numbers"
        + (" (class indices from 0, or real targets)" if key == "y" else "")
      )
  for key in ("x", "y") if labels else ("x",):
    if key not in arrays:
      found = ", ".join(names) or "nothing"
      raise TflmFgError(f"{path}: holds no array {key!r}, only {found}")
  return Dataset(arrays["x"], arrays.get("y"))


def model_input(x: Array, spec: TensorSpec, name: str = "x") -> Array:
  """Checks samples and puts them on the model's input grid.

  Args:
    x: [N, ...]; floats in the units the model was trained on, or integers
      already of the input's dtype.
    spec: the model's input.
    name: what to call the array in errors.

  Returns:
    [N, ...] of the input's dtype.

  Raises:
    TflmFgError: for a wrong shape or dtype, NaN, or no samples.
  """
  if x.ndim == 0 or len(x) == 0:
    raise TflmFgError(f"{name}: no samples in an array of shape {x.shape}")
  if x.shape[1:] != spec.shape[1:]:
    raise TflmFgError(
      f"{name}: samples of shape {list(x.shape[1:])}, the model takes "
      f"{list(spec.shape[1:])}"
    )
  if x.dtype.kind == "f":
    if not np.all(np.isfinite(x)):
      raise TflmFgError(
        f"{name}: holds NaN or infinity; clean the samples first"
      )
    if spec.dtype == "float32":
      return x.astype(np.float32)
    if spec.scale > 0 and spec.dtype in _GRIDS:
      _warn_of_saturation(x, spec, name)
      return quantize(
        x.astype(np.float64), spec.scale, spec.zero_point, spec.dtype
      )
  if x.dtype.name == spec.dtype or (spec.rows and x.dtype.kind in "iu"):
    return _rows_within(x, spec, name) if spec.rows else x
  raise TflmFgError(
    f"{name}: dtype {x.dtype}, the model takes {spec.dtype}; give {spec.dtype} "
    "or floats in the units it was trained on"
  )


def _rows_within(x: Array, spec: TensorSpec, name: str) -> Array:
  """Refuses numbers of rows that the model's table does not have."""
  low, high = int(x.min()), int(x.max())
  if low < 0 or high >= spec.rows:
    raise TflmFgError(
      f"{name}: numbers {low} to {high}, the model looks up rows 0 to "
      f"{spec.rows - 1} of a table"
    )
  return x.astype(spec.dtype)


_GRIDS = ("int8", "uint8", "int16", "int32", "int64")


def _warn_of_saturation(x: NDArray[Any], spec: TensorSpec, name: str) -> None:
  """Says when the floats can hardly be in the model's units."""
  info = np.iinfo(spec.dtype)
  low = (info.min - 1 - spec.zero_point) * spec.scale
  high = (info.max + 1 - spec.zero_point) * spec.scale
  share = np.count_nonzero((x < low) | (x > high)) / max(1, x.size)
  if share > _SATURATION_SHARE:
    warnings.warn(
      f"{name}: {share:.0%} of the values lie outside the model's input range "
      f"({low:.3g} to {high:.3g}); are they in the units it was trained on?",
      stacklevel=3,
    )


_SATURATION_SHARE = 0.1


def class_labels(
  y: Array, samples: int, classes: int, name: str = "y"
) -> Int64:
  """Checks class indices.

  Returns:
    int64 [N].

  Raises:
    TflmFgError: for a wrong length, dtype or range.
  """
  if y.shape != (samples,):
    raise TflmFgError(
      f"{name}: shape {list(y.shape)}, need one class for each of {samples} "
      "samples"
    )
  if y.dtype.kind not in "iu":
    raise TflmFgError(
      f"{name}: dtype {y.dtype}, need integer class indices; real targets need "
      "--loss=mse or huber"
    )
  low, high = int(y.min()), int(y.max())
  if low < 0 or high >= classes:
    raise TflmFgError(
      f"{name}: classes {low} to {high}, the model has 0 to {classes - 1}"
    )
  return y.astype(np.int64)


def binary_labels(
  y: Array, samples: int, outputs: int, name: str = "y"
) -> Int64:
  """Checks labels of outputs that each stand alone.

  Args:
    y: 0 and 1 of any type, [N, outputs], or [N] where there is one output.
    samples: N.
    outputs: of the model.
    name: what to call the array in errors.

  Returns:
    int64 [N, outputs].

  Raises:
    TflmFgError: for a wrong shape, or another number than 0 and 1.
  """
  fits = y.shape == (samples, outputs) or (
    y.shape == (samples,) and outputs == 1
  )
  if not fits:
    wanted = [samples, outputs] if outputs > 1 else [samples]
    raise TflmFgError(
      f"{name}: shape {list(y.shape)}, need {wanted}: 0 or 1 for each of "
      f"{outputs} output{'s' * (outputs > 1)} of {samples} samples"
    )
  if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
    other = y[~np.isin(y, (0, 1))].reshape(-1)[:1]
    raise TflmFgError(
      f"{name}: holds {', '.join(map(str, other)) or y.dtype}; the model ends "
      "in a sigmoid, so need 0 and 1"
    )
  return y.astype(np.int64).reshape(samples, outputs)


def real_targets(
  y: Array, samples: int, outputs: int, name: str = "y", any_shape: bool = False
) -> NDArray[np.float64]:
  """Checks real targets.

  Args:
    y: numbers [N, outputs], or [N] where there is one output.
    samples: N.
    outputs: of the model.
    name: what to call the array in errors.
    any_shape: for a user's own loss, which knows what they are: [N, ...].

  Returns:
    float64 [N, outputs], or [N, ...] as given where any shape will do.

  Raises:
    TflmFgError: for a wrong shape or dtype, or NaN.
  """
  if y.dtype.kind not in "biuf":
    raise TflmFgError(f"{name}: dtype {y.dtype}, need real targets, numbers")
  fits = y.shape == (samples, outputs) or (
    y.shape == (samples,) and outputs == 1
  )
  if not fits and not (any_shape and y.shape[:1] == (samples,)):
    wanted = [samples, outputs] if outputs > 1 else [samples]
    raise TflmFgError(
      f"{name}: shape {list(y.shape)}, need {wanted}: {outputs} real "
      f"target{'s' * (outputs > 1)} for each of {samples} samples"
    )
  if not np.all(np.isfinite(y)):
    raise TflmFgError(f"{name}: holds NaN or infinity; clean the targets first")
  real = y.astype(np.float64)
  return real.reshape(samples, outputs) if fits else real


def hold_out(
  y: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
  """Splits samples into a part to train on and a part kept aside.

  Every class gives its share, rounded; a class with a single sample gives none.

  Args:
    y: int64 [N], classes.
    fraction: share kept aside, 0 <= fraction < 1.
    seed: the run's seed.

  Returns:
    (train, kept), indices in ascending order.

  Raises:
    TflmFgError: if the fraction is out of range.
  """
  if not 0 <= fraction < 1:
    raise TflmFgError(f"validation_fraction={fraction}: need 0 <= f < 1")
  order = random_bits.permutation(seed, _SPLIT_EPOCH, len(y))
  kept = np.zeros(len(y), bool)
  for label in np.unique(y):
    members = order[y[order] == label]
    count = min(round(fraction * len(members)), len(members) - 1)
    kept[members[:count]] = True
  return np.flatnonzero(~kept), np.flatnonzero(kept)


def folds(y: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
  """Deals samples to folds, each class evenly.

  Args:
    y: int64 [N], classes.
    count: of folds.
    seed: the run's seed.

  Returns:
    int64 [N], each sample's fold.
  """
  order = random_bits.permutation(seed, _SPLIT_EPOCH, len(y))
  by_class = order[np.argsort(y[order], kind="stable")]
  dealt = np.empty(len(y), np.int64)
  dealt[by_class] = np.arange(len(y)) % count
  return dealt


_SPLIT_EPOCH = 0xFFFFFFFF


class Batches:
  """Which samples a step takes: addressed shuffles, one an epoch.

  Every sample comes once an epoch; a batch may straddle two epochs. A batch as
  large as the set, or larger, is the whole set.
  """

  def __init__(self, samples: int, batch_size: int, seed: int) -> None:
    if batch_size < 1:
      raise TflmFgError(f"batch_size={batch_size}: need at least 1")
    self.size = min(batch_size, samples)
    self._samples = samples
    # Several epochs are drawn at once, to hide NumPy's cost for a call.
    self._chunk = max(1, min(64, (1 << 16) // samples))
    self._cached = functools.lru_cache(maxsize=2)(
      lambda first: read_only(
        random_bits.permutation(
          seed, np.arange(first, first + self._chunk), samples
        )
      )
    )

  @property
  def whole(self) -> bool:
    """Whether every batch is the whole set, in its own order."""
    return self.size == self._samples

  def at(self, step: int) -> NDArray[np.int64]:
    """The samples of a step, int64 [size]."""
    if self.whole:
      return np.arange(self._samples)
    epoch, start = divmod(step * self.size, self._samples)
    taken = self._shuffle(epoch)[start : start + self.size]
    missing = self.size - len(taken)
    if not missing:
      return taken
    return np.concatenate([taken, self._shuffle(epoch + 1)[:missing]])

  def _shuffle(self, epoch: int) -> NDArray[np.int64]:
    within = epoch % self._chunk
    return self._cached(epoch - within)[within]
