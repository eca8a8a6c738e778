"""Widen, round, saturate: the only place where a number is clipped.

Masters are int16 with one unit = scale / 256, so the engine's int8 value is
the master's high byte, rounded. Biases are already integers of one unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tflm_fg.base import (
  Array,
  Int8,
  Int16,
  Int32,
  Int64,
  Params,
  TrainableTensor,
  Vectors,
  Weights,
)

MASTER_BITS = 8
MASTER_UNIT = 1 << MASTER_BITS
"""Master units in one int8 step."""

WEIGHT_MAX = 127
"""TFLite's symmetric weights never use -128: kernels rely on it."""

_LIMITS: dict[Any, tuple[int, int]] = {
  np.dtype(d): (int(np.iinfo(d).min), int(np.iinfo(d).max))
  for d in ("int8", "uint8", "int16", "int32", "int64")
}
_MASTER_MAX = WEIGHT_MAX << MASTER_BITS

_Limits = tuple[int, int] | tuple[Array, Array]
"""The lowest and the highest that may be, or an array of each."""


def round_shift(
  x: NDArray[np.signedinteger], bits: int | Int64
) -> NDArray[np.signedinteger]:
  """Divides by 2**bits and rounds half away from zero.

  Symmetric rounding makes a reversed step the exact opposite of the step.

  Args:
    x: signed integers wide enough to add 2**(bits - 1) without overflow.
    bits: at least 1.

  Returns:
    The same dtype and shape.
  """
  # A negative number rounds to the same as one less than half would.
  rounded = x >> (8 * x.itemsize - 1)
  rounded += x
  rounded += 1 << (bits - 1)
  rounded >>= bits
  return rounded


def round_divide(
  x: NDArray[np.signedinteger], divisor: int
) -> NDArray[np.signedinteger]:
  """Divides by a positive integer and rounds half away from zero."""
  if divisor == 1:
    return x
  return np.sign(x) * ((np.abs(x) + divisor // 2) // divisor)


def widen(weights: Int8) -> Int16:
  """Makes the masters of int8 kernel values: the low byte starts at zero."""
  return weights.astype(np.int16) << MASTER_BITS


def narrow(masters: NDArray[np.signedinteger]) -> Int8:
  """Rounds masters (any signed width, any range) to the int8 the engine holds.

  Half a step rounds up, one addition and one shift on a microcontroller.

  Returns:
    int8 in [-127, 127].
  """
  steps = np.empty(masters.shape, np.int8)
  _narrow_into(masters.astype(np.int32), steps)
  return steps


def _narrow_into(
  masters: Int32,
  out: Int8,
  limits: _Limits = (-WEIGHT_MAX, WEIGHT_MAX),
  dither: int | Int32 = MASTER_UNIT >> 1,
) -> None:
  """Narrows into `out`; `masters` is used up.

  Half a step of dither rounds to the nearest, an even draw of 0 to 255
  stochastically.
  """
  masters += dither
  masters >>= MASTER_BITS
  _clip_into(masters, limits, out)


def _clip_into(
  x: NDArray[np.signedinteger], limits: _Limits, out: Array
) -> None:
  """Clips x into `out` of any width; `x` is used up.

  Faster than np.clip on few numbers, and on many where limits are arrays.
  """
  np.minimum(x, limits[1], out=x)
  np.maximum(x, limits[0], out=out, casting="unsafe")


def saturate(x: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
  """Clips integers into `dtype` and casts them."""
  low, high = _LIMITS[np.dtype(dtype)]
  return np.clip(x, low, high).astype(dtype)


def symmetric(x: NDArray[np.signedinteger]) -> Int8:
  """Clips integers to a direction's int8, as far down as up."""
  return np.clip(x, -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)


def apply_updates(params: Params, updates: Vectors) -> Params:
  """Adds updates to the trained state: the one line where a weight changes.

  Args:
    params: the state.
    updates: integers in master units and bias units.

  Returns:
    The new state; kernels saturate at +-127 steps, biases at their dtype.
  """
  new = Params(np.empty_like(params.kernels), np.empty_like(params.biases))
  limits = ((-_MASTER_MAX, _MASTER_MAX), _LIMITS[new.biases.dtype])
  for old, update, limit, out in zip(params, updates, limits, new):
    _clip_into(np.add(old, update, dtype=np.int64), limit, out)
  return new


def quantize(
  x: NDArray[np.floating], scale: float, zero_point: int, dtype: str
) -> Array:
  """Rounds real numbers onto a tensor's grid, as the TFLite converter does."""
  return saturate(np.rint(x / scale) + zero_point, dtype)


def dequantize(q: Array, scale: float, zero_point: int) -> NDArray[np.float64]:
  """The real numbers that a quantized tensor stands for."""
  return (q.astype(np.float64) - zero_point) * scale


class Layout:
  """Where each trainable tensor lies in the flat vectors of `Params`.

  Attributes:
    tensors: the trainable tensors, in the order of the mark.
    places: each tensor with its slice of the kernels or of the biases.
    num_kernels, num_biases: K and B.
    step_units: master or bias units in one step of the layer's own grid, one
      an element: int64 [K] and [B]. Perturbations and updates count in it.
  """

  def __init__(self, tensors: tuple[TrainableTensor, ...]) -> None:
    self.tensors = tensors
    self.places: list[tuple[TrainableTensor, slice]] = []
    ends = {True: 0, False: 0}
    for tensor in tensors:
      start = ends[tensor.has_master]
      ends[tensor.has_master] = start + tensor.size
      self.places.append((tensor, slice(start, start + tensor.size)))
    self.num_kernels, self.num_biases = ends[True], ends[False]
    wide = any(t.dtype == "int64" for t in tensors)
    self._bias_dtype = np.dtype(np.int64 if wide else np.int32)
    self.step_units = Vectors(
      np.concatenate([_EMPTY, *(_steps(t) for t in tensors if t.has_master)]),
      np.concatenate(
        [_EMPTY, *(_steps(t) for t in tensors if not t.has_master)]
      ),
    )

  def gather(self, masters: Mapping[int, Array]) -> Params:
    """The state of these tensors out of the masters of more, by index."""
    kernels = np.zeros(self.num_kernels, np.int16)
    biases = np.zeros(self.num_biases, self._bias_dtype)
    for tensor, where in self.places:
      held = kernels if tensor.has_master else biases
      held[where] = masters[tensor.index]
    return Params(kernels, biases)

  def scatter(self, params: Params) -> dict[int, Array]:
    """Each tensor's masters, flat, by the tensor's index."""
    return {
      tensor.index: (
        params.kernels[where] if tensor.has_master else params.biases[where]
      )
      for tensor, where in self.places
    }

  def params(self, weights: Weights) -> Params:
    """Widens engine weights into the trained state."""
    kernels = np.zeros(self.num_kernels, np.int16)
    biases = np.zeros(self.num_biases, self._bias_dtype)
    for (tensor, where), array in zip(self.places, weights, strict=True):
      if tensor.has_master:
        kernels[where] = widen(array.reshape(-1).astype(np.int8))
      else:
        biases[where] = array.reshape(-1)
    return Params(kernels, biases)

  def weights(self, params: Vectors | Params) -> Weights:
    """Narrows masters, of any width and range, to what the engine holds."""
    kernels = narrow(params.kernels)
    return [
      kernels[where].reshape(tensor.shape)
      if tensor.has_master
      else saturate(params.biases[where], tensor.dtype).reshape(tensor.shape)
      for tensor, where in self.places
    ]


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
    self._kernels = np.empty(self._wide.kernels.shape, np.int8)
    most = np.full(layout.num_kernels, WEIGHT_MAX, np.int32)
    self._limits = -most, most
    # One for all biases, or two where int32 and int64 ones meet; wide first,
    # as clipping uses up what it clips.
    kinds = {np.dtype(t.dtype) for t in layout.tensors if t.role == "bias"}
    self._biases = {
      kind: np.empty(self._wide.biases.shape, kind)
      for kind in sorted(kinds, key=lambda kind: -kind.itemsize)
    }
    tensors = []
    for tensor, where in layout.places:
      held: Array = self._kernels
      if tensor.role == "bias":
        held = self._biases[np.dtype(tensor.dtype)]
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
      dither: added before kernels are rounded down, the same on all sides;
        int32 [K] in 0 to 255.

    Returns:
      `weights`.
    """
    for wide, masters, away in zip(self._wide, params, delta):
      centre = masters.astype(wide.dtype)
      for side, sign in enumerate(self._signs):
        shift = np.add if sign > 0 else np.subtract
        shift(centre, away, out=wide[:, side])
    _narrow_into(self._wide.kernels, self._kernels, self._limits, dither)
    for kind, held in self._biases.items():
      _clip_into(self._wide.biases, _LIMITS[kind], held)
    return self.weights


_EMPTY = np.zeros(0, np.int64)


def _steps(tensor: TrainableTensor) -> NDArray[np.int64]:
  shape = [1] * len(tensor.shape)
  if len(tensor.output_step) > 1:
    shape[tensor.channel_axis] = -1
  steps = np.asarray(tensor.output_step, np.int64).reshape(shape)
  return np.broadcast_to(steps, tensor.shape).reshape(-1)
