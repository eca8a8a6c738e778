"""Say where each trainable number lies: masters, tensors, the engine."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import (
  _MASTER_MAX,
  MASTER_BITS,
  MASTER_UNIT,
  WEIGHT_MAX,
  _narrow_into,
  clip_into,
  saturate,
  widen,
)
from tflm_fg.fixed_point.native import native
from tflm_fg.types import (
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


def _low_into(masters: Int16, high: Int8, out: Int8) -> None:
  """What a rounded high byte leaves of its master.

  Half a step is 128 units up, and one less than that down: kernels of this
  format do not use -128.
  """
  low = high.astype(np.int16)
  low <<= MASTER_BITS
  np.subtract(masters, low, out=low)
  clip_into(low, (-WEIGHT_MAX, WEIGHT_MAX), out)


class TensorSlot(NamedTuple):
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
    slots: of every tensor that the engine holds, in the order of the mark; a
      low byte shares its kernel's slice.
    num_kernels, num_biases: K and B.
    bias_dtype: of the masters of biases, int32 or int64.
    step_units: master or bias units in one step of the layer's own grid, one
      an element: int64 [K] and [B]. Perturbations and updates count in it.
  """

  def __init__(self, tensors: tuple[TrainableTensor, ...]) -> None:
    self.tensors = tuple(t for t in tensors if not t.is_low)
    self.slots: list[TensorSlot] = []
    ends = {True: 0, False: 0}
    for tensor in tensors:
      if tensor.is_low:
        self.slots[-1:] = _pair(tensor, self.slots)
        continue
      start = ends[tensor.has_master]
      ends[tensor.has_master] = start + tensor.size
      form = "whole" if tensor.dtype == "int16" else "rounded"
      self.slots.append(
        TensorSlot(
          tensor,
          slice(start, start + tensor.size),
          form if tensor.has_master else "bias",
        )
      )
    self.places = [(t, where) for t, where, _ in self.slots if not t.is_low]
    self.num_kernels, self.num_biases = ends[True], ends[False]
    wide = any(t.dtype == "int64" for t in tensors)
    self.bias_dtype = np.dtype(np.int64 if wide else np.int32)
    self.step_units = Vectors(
      *(
        np.concatenate(
          [_EMPTY, *(_steps(t) for t in self.tensors if t.has_master == held)]
        )
        for held in (True, False)
      )
    )

  @functools.cached_property
  def _is_plain(self) -> bool:
    """Whether the engine holds int8 kernels and int32 biases alone."""
    forms = {slot.form for slot in self.slots}
    kinds = {slot.tensor.dtype for slot in self.slots if slot.form == "bias"}
    return forms <= {"rounded", "bias"} and kinds <= {"int32"}

  def gather(self, masters: Mapping[int, Array]) -> Params:
    """The state of these tensors out of the masters of more, by index."""
    kernels = np.zeros(self.num_kernels, np.int16)
    biases = np.zeros(self.num_biases, self.bias_dtype)
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
    biases = np.zeros(self.num_biases, self.bias_dtype)
    for (_, where, form), array in zip(self.slots, weights, strict=True):
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
    c = native() if isinstance(params, Params) else None
    if c is not None and self._is_plain:
      rounded = np.empty(len(params.kernels), np.int8)
      c.narrow(params.kernels, rounded)
      held = {"rounded": rounded, "bias": params.biases.copy()}
      return [held[f][where].reshape(t.shape) for t, where, f in self.slots]
    kernels = Kernels(params.kernels.shape, self)
    kernels.narrow(params.kernels.astype(np.int32))
    if isinstance(params, Params):
      kernels.keep_lowest(params.kernels == _UNTRAINED_LOWEST)
    return [
      saturate(params.biases[where], tensor.dtype).reshape(tensor.shape)
      if form == "bias"
      else kernels.forms[form][where].reshape(tensor.shape)
      for tensor, where, form in self.slots
    ]

  def rows(self, flat: Int64) -> Weights:
    """Narrows the masters of several samples to what flows in for each.

    Args:
      flat: int64 [N, K + B], kernels then biases, of any range.

    Returns:
      Arrays [N, ...], one a tensor of shape [1, ...].
    """
    kernels = Kernels((len(flat), self.num_kernels), self)
    kernels.narrow(flat[:, : self.num_kernels].astype(np.int32))
    biases = flat[:, self.num_kernels :]
    return [
      (
        saturate(biases[:, where], tensor.dtype)
        if form == "bias"
        else kernels.forms[form][:, where]
      ).reshape(-1, *tensor.shape[1:])
      for tensor, where, form in self.slots
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
    finer = {slot.form for slot in layout.slots} & {"whole", "high"}
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

  def keep_lowest(self, where: NDArray[np.bool_]) -> None:
    """Leaves a file's own -128 as it is.

    No trained master is that low, so it is a weight that no step has moved.

    Args:
      where: bool [K], the masters of -128.
    """
    for form, value in _LOWEST.items():
      if form in self.forms:
        self.forms[form][where] = value


_LOWEST = {"rounded": -128, "high": -128, "low": 0, "whole": -128 * MASTER_UNIT}
_UNTRAINED_LOWEST = -128 * MASTER_UNIT

_EMPTY = np.zeros(0, np.int64)


def _pair(
  low: TrainableTensor, before: Sequence[TensorSlot]
) -> list[TensorSlot]:
  """A low byte and the kernel that stands before it, as two bytes of one."""
  last = before[-1] if before else None
  if last is None or (last.form, last.tensor.shape) != ("rounded", low.shape):
    raise TflmFgError(
      f"{low.name}: a low byte without its kernel before it; train both"
    )
  return [last._replace(form="high"), TensorSlot(low, last.where, "low")]


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
