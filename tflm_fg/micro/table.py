"""A network as tables: what `forward.c` runs, in Python's types."""

from __future__ import annotations

import dataclasses

from tflm_fg.types import Array

KINDS = (
  "FULLY_CONNECTED",
  "CONV_2D",
  "DEPTHWISE_CONV_2D",
  "AVERAGE_POOL_2D",
  "MAX_POOL_2D",
  "MEAN",
  "RESHAPE",
  "ADD",
  "MUL",
)
"""The operators that run, in the order of the kinds in `forward.h`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Values:
  """A tensor of one sample, with channels last.

  Attributes:
    shape: height, width and channels.
    zero_point: of its quantization.
    offset: where it lies in the arena, in bytes.
    held: int8, a constant's values; None for an activation.
  """

  shape: tuple[int, int, int]
  zero_point: int
  offset: int
  held: Array | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
  """One operator, with all that it needs to run.

  Attributes:
    kind: one of `KINDS`.
    inputs: places in `Network.tensors`, one or two.
    output: the same.
    filter: height and width of the window.
    stride: the same of its steps.
    dilation: the same of the gaps between its elements, 1 for none.
    pad: rows above the input and columns to the left of it.
    limits: the least and the largest output.
    depth: see `fg_layer` in forward.h.
    kernel: the file's index of the kernel; -1 for none.
    bias: the same for the bias.
    multipliers: in Q31, with their shifts to the left.
  """

  kind: str
  inputs: tuple[int, ...]
  output: int
  filter: tuple[int, int] = (1, 1)
  stride: tuple[int, int] = (1, 1)
  dilation: tuple[int, int] = (1, 1)
  pad: tuple[int, int] = (0, 0)
  limits: tuple[int, int] = (-128, 127)
  depth: int = 0
  kernel: int = -1
  bias: int = -1
  multipliers: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
  """A .tflite as `forward.c` runs it.

  Attributes:
    tensors: all activations, and constants that ADD and MUL read.
    layers: in the order in which they run.
    inputs: places in `tensors`, in the file's order.
    outputs: the same.
    constants: kernels int8 and biases int32, by the file's tensor index.
    arena_bytes: of all activations, planned.
  """

  tensors: tuple[Values, ...]
  layers: tuple[Layer, ...]
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  constants: dict[int, Array]
  arena_bytes: int
