"""Read and write tensors of an opened .tflite."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import MASTER_UNIT
from tflm_fg.tflite.layer_gains import ScaleSpans
from tflm_fg.tflite.layers import bias_of, dead_channels
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.types import (
  SCALE_ONE,
  Array,
  TensorSpec,
  TflmFgError,
  TrainableTensor,
  Weights,
)


class Part(NamedTuple):
  """A piece of the graph as a .tflite of its own.

  Attributes:
    file: the piece, aligned, without a mark.
    inputs: the whole graph's tensor indices that flow in, in input order.
    outputs: the same for what flows out.
    writable: the piece's own indices of the trainable tensors, mark's order;
      of a layer's gains the index of the kernel whose scales hold them.
    gains: which of these are gains, as places in `writable`.
  """

  file: ModelFile
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  writable: tuple[int, ...]
  gains: tuple[int, ...] = ()

  @property
  def data(self) -> bytes:
    """The piece's bytes."""
    return self.file.data


class Flow(NamedTuple):
  """How a trainable tensor flows into a piece.

  Attributes:
    role: "prompt", "bias" or "gain".
    dtype: of the input, "int8" or "int16".
    shape: of one sample's values, behind the axis of samples.
    steps: of a bias, float64 [C]: the input's steps in one unit; of a gain [1].
    gain: of a bias, the place of its layer's gain among the trainable tensors;
      -1 where that does not train.
  """

  role: str
  dtype: str
  shape: tuple[int, ...]
  steps: NDArray[np.float64]
  gain: int = -1


def tensor_spec(source: Source, index: int) -> TensorSpec:
  """A tensor's shape and quantization."""
  tensor = ModelFile.of(source).subgraph.tensors[index]
  given = bool(tensor.scales)
  return TensorSpec(
    shape=tensor.shape,
    dtype=tensor.dtype,
    scale=tensor.scales[0] if given else 0.0,
    zero_point=tensor.zero_points[0] if given and tensor.zero_points else 0,
  )


def activation_bytes(source: Source) -> int:
  """The most bytes of activations alive at once in the first subgraph.

  Variables are alive all the time. This is a lower bound of an engine's arena,
  which adds its own book-keeping and the gaps of its planner.
  """
  graph = ModelFile.of(source).subgraph
  last: dict[int, int] = {}
  first = dict.fromkeys(graph.inputs, 0)
  for number, op in enumerate(graph.operators):
    last.update(dict.fromkeys(op.inputs, number))
    first.update(dict.fromkeys(op.outputs, number))
  count = len(graph.operators)
  last.update(dict.fromkeys(graph.outputs, count))
  kept = sum(t.num_bytes for t in graph.tensors if t.is_variable)
  return kept + max(
    sum(
      graph.tensors[t].num_bytes
      for t, start in first.items()
      if start <= number <= last.get(t, start)
    )
    for number in range(max(count, 1))
  )


def arena_bytes(file: ModelFile) -> int:
  """Bytes of TFLM's arena: far too few make it crash, so they are many."""
  return 10 * len(file.data) + 4 * activation_bytes(file) + (1 << 16)


class Patchable:
  """A file whose constants can be read and written by tensor index.

  The gains of a layer are among them: not values of a constant, but what the
  scales of kernel and bias are multiplied by, from 1 in the file as it is.

  Attributes:
    file: a write gives another one and leaves this.
  """

  def __init__(
    self, source: Source, indices: Sequence[int], gains: Collection[int] = ()
  ) -> None:
    """Finds the constants.

    Args:
      source: the file.
      indices: tensors; of gains the kernel that has them.
      gains: which of them are gains, as places in `indices`.
    """
    self.file = ModelFile.of(source)
    data, graph = self.file.data, self.file.subgraph
    self._scales = {
      n: ScaleSpans.of(data, graph, indices[n], bias_of(graph, indices[n]))
      for n in gains
    }
    own = [i for n, i in enumerate(indices) if n not in self._scales]
    tensors = [graph.tensors[i] for i in own]
    self.spans = [self.file.span(i) for i in own]
    self._dtypes = [np.dtype(t.dtype) for t in tensors]
    self._shapes = [t.shape for t in tensors]

  @classmethod
  def of(cls, source: Source, tensors: Sequence[TrainableTensor]) -> Patchable:
    """The file with these of its tensors."""
    gains = [n for n, t in enumerate(tensors) if t.role == "scale"]
    return cls(source, [t.index for t in tensors], gains)

  def read(self, source: bytes | Array | None = None) -> Weights:
    """The constants as arrays, copied from `source` or the file."""
    held = self.file.data if source is None else source
    found: list[Array] = [
      np.frombuffer(held, dtype, length // dtype.itemsize, start)
      .reshape(shape)
      .copy()
      for (start, length), dtype, shape in zip(
        self.spans, self._dtypes, self._shapes
      )
    ]
    for number, spans in self._scales.items():  # in rising order
      found.insert(number, spans.read(self.file.data, held))
    return found

  def write(self, weights: Weights) -> bytes:
    """The file with other constants: their own bytes and no other change.

    Raises:
      TflmFgError: if an array does not fill its constant.
    """
    out = bytearray(self.file.data)
    self.write_into(out, weights)
    return bytes(out)

  def written(self, weights: Weights) -> ModelFile:
    """The same, opened; it is not parsed again."""
    return self.file.with_constants(self.write(weights))

  def write_into(self, out: bytearray | Array, weights: Weights) -> None:
    """Writes the constants' bytes into a buffer laid out as the file."""
    view = memoryview(out)  # type: ignore[arg-type]
    for number, spans in self._scales.items():
      spans.write(self.file.data, view, weights[number])
    own = [w for n, w in enumerate(weights) if n not in self._scales]
    for (start, length), array, dtype in zip(
      self.spans, own, self._dtypes, strict=True
    ):
      if array.nbytes != length or array.dtype != dtype:
        raise TflmFgError(
          f"a constant of {length} bytes of {dtype} cannot hold "
          f"{array.nbytes} bytes of {array.dtype}"
        )
      view[start : start + length] = array.tobytes()


def weights_of(source: Source, tensors: Sequence[TrainableTensor]) -> Weights:
  """The trainable tensors' values, as copies."""
  return Patchable.of(source, tensors).read()


def private_copy(data: bytes) -> tuple[bytes, NDArray[np.uint8]]:
  """A copy of a file for an engine that points into it, writable by a view.

  Returns:
    The copy, which must outlive the view, and uint8 [len(data)] over it.
  """
  model = bytes(bytearray(data))
  address = np.frombuffer(model, np.uint8).ctypes.data
  memory = (ctypes.c_uint8 * len(model)).from_address(address)
  return model, np.ctypeslib.as_array(memory)


def describe(
  graph: Subgraph, operator: int, index: int, role: str
) -> TrainableTensor:
  """Says what a trainable constant is, from the graph around it.

  Args:
    graph: the subgraph.
    operator: the operator that reads the tensor.
    index: the tensor.
    role: one of `types.ROLES`.
  """
  tensor = graph.tensors[index]
  if not tensor.scales or not all(scale > 0 for scale in tensor.scales):
    raise TflmFgError(
      f"{tensor.name}: a {role} without a scale; convert the model again"
    )
  steps = [MASTER_UNIT] * len(tensor.scales)
  if role == "bias":
    out_step = _output_step(graph, operator)
    steps = [max(1, min(round(out_step / s), _MOST)) for s in tensor.scales]
  if role in ("kernel", "bias"):
    dead = dead_channels(graph, operator)
    if len(dead) == len(steps):
      steps = [0 if none else step for step, none in zip(steps, dead)]
  held = TrainableTensor(
    name=tensor.name,
    subgraph=0,
    index=int(index),
    operator=operator,
    op_name=graph.operators[operator].name,
    role=role,
    shape=tensor.shape,
    dtype=tensor.dtype,
    scales=tensor.scales,
    channel_axis=tensor.channel_axis,
    output_step=tuple(steps),
  )
  if role != "scale":
    return held
  return dataclasses.replace(  # a gain a channel, in the kernel's scales
    held,
    shape=(1, len(tensor.scales)),
    dtype="int16",
    scales=(1 / SCALE_ONE,),
    channel_axis=1,
    output_step=(MASTER_UNIT,),
  )


_MOST = (1 << 31) - 1
"""An output step counts as so many bias units at most: updates in integers of
64 bits have room for no more, and an int32 bias goes no further."""


def _output_step(graph: Subgraph, operator: int) -> float:
  """A layer's output step: int8's, or as coarse, so that one epsilon fits."""
  made = graph.output(operator)
  step = graph.tensors[made].scales[0]
  if graph.tensors[made].dtype != "int16":
    return step
  for op in graph.operators[operator + 1 :]:
    if op.name == "QUANTIZE" and op.inputs[0] == made:
      return graph.tensors[op.outputs[0]].scales[0]
  return step * 256


def require_no_gains(part: Part) -> None:
  """Refuses to write a layer's gains into a living interpreter.

  Raises:
    TflmFgError: an engine reads scales once, when it is made.
  """
  if part.gains:
    index = part.writable[part.gains[0]]
    raise TflmFgError(
      f"{part.file.subgraph.tensors[index].name!r}: its gains are in scales, "
      "which an engine reads once; use --method=per-sample"
    )
