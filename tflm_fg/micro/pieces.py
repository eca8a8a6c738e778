"""A marked model in the pieces that a microcontroller holds.

What is frozen stays in flash and runs once a sample. What trains is a small
model of its own in RAM, where its constants can be written; or, where the
trained numbers flow in as data, a whole model in flash to which nothing is
written at all.
"""

from __future__ import annotations

import dataclasses
import math

from tflm_fg.memory.arena import arena_of
from tflm_fg.memory.dataflow import read_dataflow
from tflm_fg.tflite.contents.operators import Kernel, kernels_of
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel
from tflm_fg.tflite.split_graph import cut
from tflm_fg.tflite.surgery.perturbation_inputs import weights_to_inputs
from tflm_fg.tflite.tensors import Part, weights_of
from tflm_fg.types import Array, TflmFgError, TrainableTensor

FLOWING = ("offset", "gain")
"""Roles of numbers that flow in as data."""

WRITTEN = ("kernel", "bias")
"""Roles of numbers that are written to constants."""

_SPARE_BYTES, _PLANNING_BYTES = 512, 128
"""TFLM makes its plan where the activations will lie, which takes some bytes a
tensor: measured with the wheel, on small models, and rounded up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
  """A part of a model that an interpreter runs.

  Attributes:
    data: a .tflite.
    kernels: its operators, each once, in the order of the alphabet.
    arena_bytes: to give TFLM's interpreter, planned; see `memory.arena`.
    sample_bytes: of the inputs that a sample takes.
    output_bytes: of all outputs.
  """

  data: bytes
  kernels: tuple[Kernel, ...]
  arena_bytes: int
  sample_bytes: int
  output_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class DevicePieces:
  """A marked model as a device holds it.

  Attributes:
    prefix: what is frozen, from a sample to features; None where there is none.
    trained: from features, or a sample, to logits.
    tensors: the trainable tensors, in the mark's order.
    values: what they hold, in the same order.
    places: where each begins in `trained.data`; empty where they flow in as the
      last inputs of `trained`.
    indices: the tensors' indices in `trained`; empty likewise.
    classes: names of the outputs.
    zero_point: of the logits.
  """

  prefix: Piece | None
  trained: Piece
  tensors: tuple[TrainableTensor, ...]
  values: tuple[Array, ...]
  places: tuple[int, ...]
  indices: tuple[int, ...]
  classes: tuple[str, ...]
  zero_point: int

  @property
  def input_bytes(self) -> int:
    """Bytes of the model's input."""
    return (self.prefix or self.trained).sample_bytes

  @property
  def flows(self) -> bool:
    """Whether the trained numbers flow in as data."""
    return not self.places


def device_pieces(marked: MarkedModel) -> DevicePieces:
  """Takes a marked model apart for a device.

  Args:
    marked: an int8 model of which kernels and biases are marked, or offsets
      and gains of the input.

  Raises:
    TflmFgError: naming what a device cannot hold.
  """
  mark, name = marked.mark, marked.file.name
  roles = {t.role for t in mark.trainable}
  if not roles <= set(WRITTEN) and not roles <= set(FLOWING):
    raise TflmFgError(
      f"{name}: a device trains kernels and biases, or offsets and gains of "
      f"the input, and not {', '.join(sorted(roles))} together; choose "
      "--trainable=head or --trainable=prompt"
    )
  for tensor in mark.trainable:
    if tensor.dtype not in ("int8", "int32"):
      raise TflmFgError(
        f"{name}: {tensor.name!r} is {tensor.dtype}; a device trains int8 "
        "models, so convert with --activations=int8 --weights=int8"
      )
  pieces = cut(marked.file, mark)
  suffix, prefix = pieces.suffix, pieces.prefix
  if prefix is not None and suffix.inputs != prefix.outputs:
    raise TflmFgError(
      f"{name}: what trains reads the model's input beside frozen layers; "
      "choose --trainable=head"
    )
  flowing = suffix
  if roles <= set(FLOWING):
    flowing = weights_to_inputs(suffix).part
  own_inputs = len(suffix.inputs)
  outputs = suffix.file.subgraph.tensors[suffix.file.subgraph.outputs[0]]
  count = math.prod(outputs.shape)
  return DevicePieces(
    prefix=None if prefix is None else _piece(prefix, 1, name),
    trained=_piece(flowing, own_inputs, name),
    tensors=mark.trainable,
    values=tuple(weights_of(suffix.file, _as_held(mark.trainable, suffix))),
    places=tuple(suffix.file.span(i)[0] for i in flowing.writable),
    indices=flowing.writable,
    classes=mark.classes or tuple(f"class {i}" for i in range(count)),
    zero_point=outputs.zero_points[0] if outputs.zero_points else 0,
  )


def _as_held(
  tensors: tuple[TrainableTensor, ...], part: Part
) -> list[TrainableTensor]:
  """The tensors by the part's own indices."""
  return [
    dataclasses.replace(t, index=i) for t, i in zip(tensors, part.writable)
  ]


def _piece(part: Part, own_inputs: int, name: str) -> Piece:
  file = part.file
  graph = file.subgraph
  for index in (*graph.inputs, *graph.outputs):
    if graph.tensors[index].dtype != "int8":
      raise TflmFgError(
        f"{name}: {graph.tensors[index].name!r} is "
        f"{graph.tensors[index].dtype}; a device trains int8 models, so "
        "convert with --activations=int8"
      )
  return Piece(
    data=file.data,
    kernels=tuple({k.name: k for k in kernels_of(file)}.values()),
    arena_bytes=_arena_bytes(file),
    sample_bytes=_bytes(file, graph.inputs[:own_inputs]),
    output_bytes=_bytes(file, graph.outputs),
  )


def _arena_bytes(file: ModelFile) -> int:
  """What to give TFLM, planned and with what planning takes."""
  flow = read_dataflow(file)
  arena = arena_of(flow)
  planning = _PLANNING_BYTES * len(flow.pieces)
  return arena.bookkeeping + max(arena.activations, planning) + _SPARE_BYTES


def _bytes(file: ModelFile, tensors: tuple[int, ...]) -> int:
  return sum(file.subgraph.tensors[i].num_bytes for i in tensors)
