"""Widen, round, saturate: the only place where a number is clipped.

Masters are int16. An engine that holds an int8 holds the master's high byte,
rounded; one that holds a low byte beside it, or an int16, holds all of it.
Biases are already integers of one unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tflm_fg.base import (
  Array,
  Int8,
  Int16,
  Int32,
  Int64,
  Params,
  TflmFgError,
  TrainableTensor,
  Vectors,
  Weights,
)

MASTER_BITS = 8
MASTER_UNIT = 1 << MASTER_BITS
"""Master units in one int8 step."""

WEIGHT_MAX = 127
"""TFLite's symmetric weights never use -128: kernels rely on it."""

LIMITS: dict[Any, tuple[int, int]] = {
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
  clip_into(masters, limits, out)


def _low_into(masters: Int16, high: Int8, out: Int8) -> None:
  """What a rounded high byte leaves of its master.

  Half a step is 128 units up, and one less than that down: kernels of this
  format do not use -128.
  """
  low = high.astype(np.int16)
  low <<= MASTER_BITS
  np.subtract(masters, low, out=low)
  clip_into(low, (-WEIGHT_MAX, WEIGHT_MAX), out)


def clip_into(
  x: NDArray[np.signedinteger], limits: _Limits, out: Array
) -> None:
  """Clips x into `out` of any width; `x` is used up.

  Faster than np.clip on few numbers, and on many where limits are arrays.
  """
  np.minimum(x, limits[1], out=x)
  np.maximum(x, limits[0], out=out, casting="unsafe")


def saturate(x: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
  """Clips integers into `dtype` and casts them."""
  low, high = LIMITS[np.dtype(dtype)]
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
  limits = ((-_MASTER_MAX, _MASTER_MAX), LIMITS[new.biases.dtype])
  for old, update, limit, out in zip(params, updates, limits, new):
    clip_into(np.add(old, update, dtype=np.int64), limit, out)
  return new


def quantize(
  x: NDArray[np.floating], scale: float, zero_point: int, dtype: str
) -> Array:
  """Rounds real numbers onto a tensor's grid, as the TFLite converter does."""
  return saturate(np.rint(x / scale) + zero_point, dtype)


def fixed_point(
  x: NDArray[np.floating], step: float, low: int, high: int
) -> Int64:
  """Rounds real numbers to whole steps, saturated at `low` and `high`."""
  with np.errstate(over="ignore"):  # far beyond the ends is still beyond
    steps = np.rint(x / step)
  return np.clip(steps, low, high).astype(np.int64)


def dequantize(q: Array, scale: float, zero_point: int) -> NDArray[np.float64]:
  """The real numbers that a quantized tensor stands for."""
  return (q.astype(np.float64) - zero_point) * scale


class Home(NamedTuple):
  """Where an engine's tensor lies in the flat vectors, and what it is there.

  Attributes:
    tensor: one of the trainable tensors.
    where: its slice of the biases, or of the kernels' masters.
    form: "bias", or what the engine holds of the masters: "rounded" to int8,
      "whole", or of a layer that runs twice the "high" or the "low" byte.
  """

  tensor: TrainableTensor
  where: slice
  form: str


class Layout:
  """Where each trainable tensor lies in the flat vectors of `Params`.

  Attributes:
    tensors: the trainable tensors that have numbers of their own, in the order
      of the mark: all but low bytes.
    places: each of them with its slice of the kernels or of the biases.
    homes: of every tensor that the engine holds, in the order of the mark; a
      low byte shares its kernel's slice.
    num_kernels, num_biases: K and B.
    step_units: master or bias units in one step of the layer's own grid, one
      an element: int64 [K] and [B]. Perturbations and updates count in it.
  """

  def __init__(self, tensors: tuple[TrainableTensor, ...]) -> None:
    self.tensors = tuple(t for t in tensors if not t.is_low)
    self.homes: list[Home] = []
    ends = {True: 0, False: 0}
    for tensor in tensors:
      if tensor.is_low:
        self.homes[-1:] = _pair(tensor, self.homes)
        continue
      start = ends[tensor.has_master]
      ends[tensor.has_master] = start + tensor.size
      form = "whole" if tensor.dtype == "int16" else "rounded"
      self.homes.append(
        Home(
          tensor,
          slice(start, start + tensor.size),
          form if tensor.has_master else "bias",
        )
      )
    self.places = [(t, where) for t, where, _ in self.homes if not t.is_low]
    self.num_kernels, self.num_biases = ends[True], ends[False]
    wide = any(t.dtype == "int64" for t in tensors)
    self._bias_dtype = np.dtype(np.int64 if wide else np.int32)
    self.step_units = Vectors(
      *(
        np.concatenate(
          [_EMPTY, *(_steps(t) for t in self.tensors if t.has_master == held)]
        )
        for held in (True, False)
      )
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
    for (_, where, form), array in zip(self.homes, weights, strict=True):
      if form == "bias":
        biases[where] = array.reshape(-1)
      elif form == "low":
        kernels[where] += array.reshape(-1).astype(np.int16)
      elif form == "whole":
        kernels[where] = array.reshape(-1)
      else:
        kernels[where] = widen(array.reshape(-1).astype(np.int8))
    return Params(kernels, biases)

  def weights(self, params: Vectors | Params) -> Weights:
    """Narrows masters, of any width and range, to what the engine holds."""
    kernels = Kernels(params.kernels.shape, self)
    kernels.narrow(params.kernels.astype(np.int32))
    return [
      saturate(params.biases[where], tensor.dtype).reshape(tensor.shape)
      if form == "bias"
      else kernels.forms[form][where].reshape(tensor.shape)
      for tensor, where, form in self.homes
    ]


class Kernels:
  """What the engine holds of some masters, in buffers made once.

  Attributes:
    forms: "rounded", the int8 kernels; and where the layout asks for them
      "whole", "high" and "low".
  """

  def __init__(self, shape: tuple[int, ...], layout: Layout) -> None:
    kinds = {"rounded": np.int8, "whole": np.int16}
    kinds |= {"high": np.int8, "low": np.int8}
    finer = {home.form for home in layout.homes} & {"whole", "high"}
    self.forms: dict[str, NDArray[Any]] = {
      form: np.empty(shape, kind)
      for form, kind in kinds.items()
      if finer or form == "rounded"
    }
    most = np.full(shape[-1], WEIGHT_MAX, np.int32)
    self._limits = -most, most

  def narrow(
    self, masters: Int32, dither: int | Int32 = MASTER_UNIT >> 1
  ) -> None:
    """Fills the buffers; `masters` is used up, and only "rounded" dithered."""
    if "whole" in self.forms:
      whole, high = self.forms["whole"], self.forms["high"]
      np.clip(masters, -_MASTER_MAX, _MASTER_MAX, out=masters)
      whole[...] = masters
      _narrow_into(masters.copy(), high, self._limits)
      _low_into(whole, high, self.forms["low"])
    _narrow_into(masters, self.forms["rounded"], self._limits, dither)


_EMPTY = np.zeros(0, np.int64)


def _pair(low: TrainableTensor, before: Sequence[Home]) -> list[Home]:
  """A low byte and the kernel that stands before it, as two bytes of one."""
  last = before[-1] if before else None
  if last is None or (last.form, last.tensor.shape) != ("rounded", low.shape):
    raise TflmFgError(
      f"{low.name}: a low byte without its kernel before it; train both"
    )
  return [last._replace(form="high"), Home(low, last.where, "low")]


def _steps(tensor: TrainableTensor) -> NDArray[np.int64]:
  return along_channels(tensor, np.asarray(tensor.output_step, np.int64))


def along_channels(
  tensor: TrainableTensor, values: NDArray[Any]
) -> NDArray[Any]:
  """One value a channel, or one for all, spread over all elements: flat."""
  shape = [1] * len(tensor.shape)
  if len(values) > 1:
    shape[tensor.channel_axis] = -1
  return np.broadcast_to(values.reshape(shape), tensor.shape).reshape(-1)
