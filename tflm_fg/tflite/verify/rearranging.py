"""Whether axes, sizes and indices of what moves numbers fit the shapes.

A kernel that copies reads as many numbers as its constants say, from where they
say. `shapes` has the operators that compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Seen(Protocol):
  """An operator with what it reads and writes, as `shapes.Seen` has it."""

  @property
  def inputs(self) -> list[list[int] | None]:
    """Shapes; None for an input that is absent."""

  @property
  def outputs(self) -> list[list[int]]:
    """Shapes."""

  @property
  def constants(self) -> list[NDArray[np.int64] | None]:
    """The integers of each input that holds them, in its shape."""

  @property
  def options(self) -> Any:
    """The operator's own table."""

  def shape(self, place: int) -> list[int]:
    """The shape of an input that is there."""

  def numbers(self, place: int) -> list[int] | None:
    """The integers that an input holds, in a row."""


def _list(values: Iterable[Any] | None) -> list[Any]:
  return [] if values is None else list(values)


def _axis_fault(axis: int, rank: int, what: str = "axis") -> str:
  if -rank <= axis < rank:
    return ""
  return f"has {what} {axis}, and its input has {rank} axes"


def _over_axes(own: Seen) -> str:
  for axis in own.numbers(1) or ():
    if fault := _axis_fault(axis, len(own.shape(0))):
      return fault
  return ""


def _reduced(own: Seen) -> str:
  """Axes that are there, and an output of as many as are left."""
  axes, rank = own.numbers(1), len(own.shape(0))
  if fault := _over_axes(own):
    return fault
  if axes is None or not own.outputs[0]:
    return ""
  keeps = own.options is not None and own.options.keepDims
  left = rank if keeps else rank - len({axis % rank for axis in axes})
  if len(own.outputs[0]) != left:
    return f"leaves {left} axes, and its output has shape {own.outputs[0]}"
  return ""


def _of_one_axis(place: int, axis_place: int) -> Callable[[Seen], str]:
  """One axis stands in a constant."""

  def check(own: Seen) -> str:
    axes = own.numbers(axis_place)
    if axes is None:
      return ""
    if len(axes) != 1:
      return f"has {len(axes)} axes, needs one"
    return _axis_fault(axes[0], len(own.shape(place)))

  return check


def _split(own: Seen) -> str:
  parts = int(own.options.numSplits)
  if parts != len(own.outputs):
    return f"has NumSplits {parts} and {len(own.outputs)} outputs"
  axes = own.numbers(0)
  if axes is None:
    return ""
  if fault := _of_one_axis(1, 0)(own):
    return fault
  size = own.shape(1)[axes[0]]
  return f"cannot split {size} into {parts} parts" if size % parts else ""


def _split_v(own: Seen) -> str:
  parts = int(own.options.numSplits)
  if parts != len(own.outputs):
    return f"has NumSplits {parts} and {len(own.outputs)} outputs"
  axes, sizes = own.numbers(2), own.numbers(1)
  if axes is None or sizes is None:
    return ""
  if fault := _of_one_axis(0, 2)(own):
    return fault
  size = own.shape(0)[axes[0]]
  is_open = sizes.count(-1) == 1
  known = sum(n for n in sizes if n != -1)
  if len(sizes) != parts or min(n for n in [*sizes, 0] if n != -1) < 0:
    return f"splits into sizes {sizes[:8]}, needs {parts} of them"
  if known > size or (known < size and not is_open):
    return f"splits {size} into sizes {sizes[:8]}"
  return ""


def _unpack(own: Seen) -> str:
  shape, axis = own.shape(0), int(own.options.axis)
  if fault := _axis_fault(axis, len(shape)):
    return fault
  if not int(own.options.num) == len(own.outputs) == shape[axis]:
    return (
      f"has Num {own.options.num} and {len(own.outputs)} outputs for "
      f"{shape[axis]} parts"
    )
  return ""


def _pack(own: Seen) -> str:
  if int(own.options.valuesCount) != len(own.inputs):
    return (
      f"has ValuesCount {own.options.valuesCount} and {len(own.inputs)} inputs"
    )
  if any(shape != own.inputs[0] for shape in own.inputs):
    return f"packs shapes {own.inputs[:4]}"
  return _axis_fault(int(own.options.axis), len(own.shape(0)) + 1)


def _concatenation(own: Seen) -> str:
  axis = int(own.options.axis) if own.options is not None else 0
  first = own.shape(0)
  if fault := _axis_fault(axis, len(first)):
    return fault
  for shape in own.inputs:
    rest = [[d for i, d in enumerate(s or []) if i != axis % len(first)]
            for s in (first, shape)]  # fmt: skip
    if len(shape or []) != len(first) or rest[0] != rest[1]:
      return f"joins shapes {first} and {shape} on axis {axis}"
  return ""


def _transpose(own: Seen) -> str:
  order, rank = own.numbers(1), len(own.shape(0))
  if order is None:
    return ""
  if sorted(axis % rank if rank else axis for axis in order) != list(
    range(rank)
  ) or any(not -rank <= axis < rank for axis in order):
    return f"orders {rank} axes as {order[:8]}"
  return ""


def _reshape(own: Seen) -> str:
  wanted, size = own.numbers(1), math.prod(own.shape(0))
  if math.prod(own.outputs[0]) != size:
    return f"reshapes {own.shape(0)} to {own.outputs[0]}"
  if wanted is None:
    return ""
  known = math.prod(n for n in wanted if n != -1)
  is_open = wanted.count(-1) == 1
  fits = known == size or (is_open and known > 0 and size % known == 0)
  if min([*wanted, 0]) < -1 or not fits:
    return f"reshapes {own.shape(0)} to {wanted[:8]}"
  return ""


def _squeeze(own: Seen) -> str:
  dims = _list(own.options.squeezeDims) if own.options is not None else []
  shape = own.shape(0)
  for axis in dims:
    if fault := _axis_fault(int(axis), len(shape), "axis"):
      return fault
    if shape[int(axis)] != 1:
      return f"takes axis {axis} from shape {shape}"
  return ""


def _expand(own: Seen) -> str:
  axes = own.numbers(1)
  if axes is None:
    return ""
  if len(axes) != 1:
    return f"has {len(axes)} axes, needs one"
  return _axis_fault(axes[0], len(own.shape(0)) + 1)


def _slice(own: Seen) -> str:
  starts, sizes, shape = own.numbers(1), own.numbers(2), own.shape(0)
  if starts is None or sizes is None:
    return ""
  fits = len(starts) == len(sizes) == len(shape) and all(
    0 <= start <= of and -1 <= size <= of - start
    for start, size, of in zip(starts, sizes, shape)
  )
  return "" if fits else f"takes {sizes[:8]} from {starts[:8]} of {shape}"


def _strided_slice(own: Seen) -> str:
  lists = [own.numbers(place) for place in (1, 2, 3)]
  known = [one for one in lists if one is not None]
  if any(len(one) > len(own.shape(0)) for one in known):
    return f"slices more axes than shape {own.shape(0)} has"
  if len({len(one) for one in known}) > 1:
    return "has begins, ends and strides for other numbers of axes"
  if lists[2] is not None and 0 in lists[2]:
    return f"has strides {lists[2][:8]}"
  return ""


def _pads(own: Seen) -> str:
  pads, rank = own.constants[1], len(own.shape(0))
  if pads is None:
    return ""
  if list(pads.shape) != [rank, 2] or pads.min(initial=0) < 0:
    return f"pads {rank} axes by {pads.tolist()}"
  return ""


def _tile(own: Seen) -> str:
  times = own.numbers(1)
  if times is None:
    return ""
  if len(times) != len(own.shape(0)) or min([*times, 0]) < 0:
    return f"repeats shape {own.shape(0)} {times[:8]} times"
  return ""


def _gather(own: Seen) -> str:
  axis = int(own.options.axis) if own.options is not None else 0
  if fault := _axis_fault(axis, len(own.shape(0))):
    return fault
  return _rows(own.numbers(1), own.shape(0)[axis])


def _lookup(own: Seen) -> str:
  held = own.shape(1)
  return _rows(own.numbers(0), held[0] if held else 0)


def _rows(indices: list[int] | None, count: int) -> str:
  for index in indices or ():
    if not 0 <= index < count:
      return f"looks up {index} of {count}"
  return ""


def _gather_nd(own: Seen) -> str:
  indices, shape = own.constants[1], own.shape(0)
  if indices is None or not indices.size:
    return ""
  depth = indices.shape[-1] if indices.ndim else 0
  if not 0 < depth <= len(shape):
    return f"looks up indices of {depth} axes in shape {shape}"
  rows = indices.reshape(-1, depth)
  if rows.min() < 0 or (rows >= np.array(shape[:depth])).any():
    return f"looks up indices that shape {shape} does not have"
  return ""


def _batches(own: Seen) -> str:
  blocks, ends = own.numbers(1), own.constants[2]
  if blocks is not None and min([*blocks, 1]) < 1:
    return f"has blocks {blocks[:8]}"
  if blocks is not None and len(blocks) > max(0, len(own.shape(0)) - 2):
    return f"has {len(blocks)} blocks for shape {own.shape(0)}"
  if ends is None:
    return ""
  count = ends.shape[0] if blocks is None else len(blocks)
  if list(ends.shape) != [count, 2] or ends.min(initial=0) < 0:
    return f"pads or crops by {ends.tolist()}"
  return ""


CHECKS: Mapping[str, Callable[[Seen], str]] = {
  **dict.fromkeys(
    "MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_ANY REDUCE_ALL".split(),
    _reduced,
  ),
  "REVERSE_V2": _over_axes,
  "ARG_MAX": _of_one_axis(0, 1),
  "ARG_MIN": _of_one_axis(0, 1),
  "CUMSUM": _of_one_axis(0, 1),
  "SPLIT": _split,
  "SPLIT_V": _split_v,
  "UNPACK": _unpack,
  "PACK": _pack,
  "CONCATENATION": _concatenation,
  "TRANSPOSE": _transpose,
  "RESHAPE": _reshape,
  "SQUEEZE": _squeeze,
  "EXPAND_DIMS": _expand,
  "SLICE": _slice,
  "STRIDED_SLICE": _strided_slice,
  "PAD": _pads,
  "PADV2": _pads,
  "MIRROR_PAD": _pads,
  "TILE": _tile,
  "GATHER": _gather,
  "EMBEDDING_LOOKUP": _lookup,
  "GATHER_ND": _gather_nd,
  "SPACE_TO_BATCH_ND": _batches,
  "BATCH_TO_SPACE_ND": _batches,
}
"""Operators by their names."""
