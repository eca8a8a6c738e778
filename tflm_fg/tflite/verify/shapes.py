"""Whether an operator's shapes and constants fit each other.

A kernel reads as many numbers as shapes and constants say: with a wrong axis,
size or index it reads what lies behind, and TFLM computes from it without a
word. Where a constant is computed by the model nothing can be said here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_INTEGERS = {
  schema.TensorType.INT32: "<i4",
  schema.TensorType.INT64: "<i8",
}


class Seen(NamedTuple):
  """An operator with what it reads and writes.

  Attributes:
    operator: unpacked.
    inputs: shapes; None for an input that is absent.
    outputs: shapes.
    constants: integers of each input that holds them, in its shape; None where
      it holds none.
  """

  operator: schema.OperatorT
  inputs: list[list[int] | None]
  outputs: list[list[int]]
  constants: list[NDArray[np.int64] | None]

  @property
  def options(self) -> Any:
    """The operator's own table."""
    return self.operator.builtinOptions

  def shape(self, place: int) -> list[int]:
    """The shape of an input that is there."""
    found = self.inputs[place]
    return [] if found is None else found

  def numbers(self, place: int) -> list[int] | None:
    """The integers that an input holds, in a row."""
    held = self.constants[place] if place < len(self.constants) else None
    return None if held is None else [int(n) for n in held.reshape(-1)]


def shapes_fault(
  name: str,
  operator: schema.OperatorT,
  tensors: Sequence[schema.TensorT],
  buffers: Sequence[schema.BufferT],
  checks: Mapping[str, Callable[[Seen], str]],
) -> str:
  """What does not fit; empty where all does, or nothing can be said.

  Args:
    name: of the operator.
    operator: unpacked, with its options and as many inputs as it needs.
    tensors: of its subgraph.
    buffers: of the file.
    checks: by the operator's name.
  """
  check = checks.get(name)
  inputs = [int(i) for i in _list(operator.inputs)]
  outputs = [int(i) for i in _list(operator.outputs)]
  if check is None or any(_is_open(tensors[i]) for i in inputs + outputs):
    return ""
  own = Seen(
    operator,
    [_shape(tensors[i]) if i >= 0 else None for i in inputs],
    [_shape(tensors[i]) for i in outputs],
    [_integers(tensors[i], buffers) if i >= 0 else None for i in inputs],
  )
  return check(own)


def _is_open(tensor: schema.TensorT) -> bool:
  """Whether a size is known only when the model runs: the file has 1 for it."""
  return any(size < 0 for size in _list(tensor.shapeSignature))


def _list(values: Iterable[Any] | None) -> list[Any]:
  return [] if values is None else list(values)


def _shape(tensor: schema.TensorT) -> list[int]:
  return [int(d) for d in _list(tensor.shape)]


def _integers(
  tensor: schema.TensorT, buffers: Sequence[schema.BufferT]
) -> NDArray[np.int64] | None:
  data, kind = buffers[tensor.buffer].data, _INTEGERS.get(tensor.type)
  if data is None or not len(data) or kind is None or tensor.sparsity:
    return None
  held = np.asarray(data, np.uint8).view(kind).astype(np.int64)
  return held.reshape(_shape(tensor))


def _rank(own: Seen, place: int, ranks: Iterable[int]) -> str:
  got = len(own.shape(place))
  if got in ranks:
    return ""
  need = " or ".join(map(str, ranks))
  return f"input {place} of shape {own.shape(place)} needs {need} axes"


def _layer(
  filter_place: int, source: int, bias: int = 2
) -> Callable[[Seen], str]:
  """A convolution: four axes, and channels and bias that fit the kernel."""

  def check(own: Seen) -> str:
    for place in (source, filter_place):
      if fault := _rank(own, place, (4,)):
        return fault
    kernel, x = own.shape(filter_place), own.shape(source)
    if 0 in kernel:
      return f"has a kernel of shape {kernel}"
    if x[3] % kernel[3]:
      return f"reads {x[3]} channels with a kernel for {kernel[3]}"
    return _made(own, kernel[0], bias)

  return check


def _made(own: Seen, channels: int, bias: int = 2) -> str:
  """Bias and output of as many channels as the kernel makes."""
  if len(own.inputs) > bias and own.inputs[bias] is not None:
    held = own.shape(bias)
    if math.prod(held) != channels:
      return f"has a bias of shape {held} for {channels} channels"
  made = own.outputs[0]
  if not made or made[-1] != channels:
    return f"makes {channels} channels, and its output has shape {made}"
  return ""


def _depthwise(own: Seen) -> str:
  for place in (0, 1):
    if fault := _rank(own, place, (4,)):
      return fault
  kernel, depth = own.shape(1), own.shape(0)[3]
  times = int(own.options.depthMultiplier)
  if 0 in kernel or kernel[3] != depth * times:
    return (
      f"has a kernel of shape {kernel} for {depth} channels with "
      f"DepthMultiplier {times}"
    )
  return _made(own, kernel[3])


def _dense(own: Seen) -> str:
  kernel = own.shape(1)
  if len(kernel) != 2 or 0 in kernel:
    return f"has a kernel of shape {kernel}, needs two axes"
  if math.prod(own.shape(0)) % kernel[1]:
    return f"reads shape {own.shape(0)} with a kernel of shape {kernel}"
  return _made(own, kernel[0])


def _pool(own: Seen) -> str:
  return _rank(own, 0, (4,))


def _resize(own: Seen) -> str:
  if fault := _rank(own, 0, (4,)):
    return fault
  sizes = own.numbers(1)
  if sizes is None:
    return ""
  if len(sizes) != 2 or min(sizes) < 1:
    return f"resizes to {sizes[:8]}, needs two sizes above 0"
  return ""


def _blocks(own: Seen) -> str:
  """Depth and space change places."""
  if fault := _rank(own, 0, (4,)):
    return fault
  block, shape = int(own.options.blockSize), own.shape(0)
  if len(own.outputs[0]) == 4 and own.outputs[0][3] > shape[3]:
    fits = shape[1] % block == shape[2] % block == 0
  else:
    fits = shape[3] % (block * block) == 0 or block == 1
  return "" if fits else f"has BlockSize {block} for shape {shape}"


def _upward(own: Seen) -> str:
  sizes = own.numbers(0)
  if sizes is not None and (len(sizes) != 4 or min(sizes) < 1):
    return f"makes shape {sizes[:8]}, needs four sizes above 0"
  return _layer(1, 2, 3)(own)


def _matmul(own: Seen) -> str:
  one, other = own.shape(0), own.shape(1)
  if len(one) < 2 or len(other) < 2:
    return f"multiplies shapes {one} and {other}"
  turned = own.options is not None
  inner = (
    one[-2 if turned and own.options.adjX else -1],
    other[-1 if turned and own.options.adjY else -2],
  )
  if inner[0] != inner[1]:
    return f"multiplies shapes {one} and {other}"
  return ""


def _together(own: Seen) -> str:
  """Two shapes of which one has 1 where they differ."""
  one, other = own.shape(0), own.shape(1)
  for a, b in zip(reversed(one), reversed(other)):
    if a != b and 1 not in (a, b):
      return f"joins shapes {one} and {other}"
  return ""


CHECKS: Mapping[str, Callable[[Seen], str]] = {
  "CONV_2D": _layer(1, 0),
  "DEPTHWISE_CONV_2D": _depthwise,
  "TRANSPOSE_CONV": _upward,
  "FULLY_CONNECTED": _dense,
  **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), _pool),
  "RESIZE_BILINEAR": _resize,
  "RESIZE_NEAREST_NEIGHBOR": _resize,
  "SPACE_TO_DEPTH": _blocks,
  "DEPTH_TO_SPACE": _blocks,
  "BATCH_MATMUL": _matmul,
  **dict.fromkeys(
    "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE PRELU".split(),
    _together,
  ),
}
"""Operators that compute; `rearranging` has those that move numbers."""
