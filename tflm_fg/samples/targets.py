"""Check targets: classes, labels of 0 and 1, and real numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import Array, Int64, TflmFgError


def one_column(y: Array, outputs: int) -> Array:
  """Targets [N, 1] as [N], where a model has several outputs.

  Args:
    y: targets of any shape; others than [N, 1] come back as they are.
    outputs: of the model; one output takes [N, 1] as it is.
  """
  return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 and outputs > 1 else y


def class_labels(
  y: Array, samples: int, classes: int, name: str = "y"
) -> Int64:
  """Checks class indices.

  Args:
    y: integers [N] or [N, 1], or one-hot [N, classes]: a 1 for the class and 0
      for every other, of any type.
    samples: N.
    classes: of the model.
    name: what to call the array in errors.

  Returns:
    int64 [N].

  Raises:
    TflmFgError: for a wrong length, dtype or range.
  """
  y = one_column(y, classes)
  if y.ndim == 2 and len(y) == samples:
    y = _hot(y, classes, name)
  if y.shape != (samples,):
    raise TflmFgError(
      f"{name}: shape {list(y.shape)}, need one class for each of {samples} "
      "samples"
    )
  if y.dtype.kind not in "iu":
    whole = y.dtype.kind == "f" and np.all(np.mod(y, 1) == 0)
    raise TflmFgError(
      f"{name}: dtype {y.dtype}, need integer class indices"
      + (": give y.astype(int)" if whole else "")
      + "; real targets need --loss=mse or huber"
    )
  low, high = int(y.min()), int(y.max())
  if low < 0 or high >= classes:
    from_one = (
      f"; {name} spans 1 to {high} and the model has {classes} outputs: labels "
      "look as if they count from 1; subtract 1"
    )
    raise TflmFgError(
      f"{name}: classes {low} to {high}, the model has 0 to {classes - 1}"
      + from_one * (low == 1 and high == classes)
    )
  return y.astype(np.int64)


def _hot(y: Array, classes: int, name: str) -> Array:
  """The classes of one-hot rows.

  Raises:
    TflmFgError: if they are not, or of another count of classes.
  """
  hot = y.dtype.kind in "biuf" and bool(
    np.all((y == 0) | (y == 1)) and np.all((y == 1).sum(axis=1) == 1)
  )
  if hot and y.shape[1] == classes:
    return np.argmax(y, axis=1)
  raise TflmFgError(
    f"{name}: shape {list(y.shape)}"
    + (
      f", one-hot of {y.shape[1]} classes, and the model has {classes}"
      if hot
      else f", need one class for each sample, or one-hot [N, {classes}] with "
      "one 1 in each row; shares of classes are not taken: give "
      "y.argmax(axis=1)"
    )
  )


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
