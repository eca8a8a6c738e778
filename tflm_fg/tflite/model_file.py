"""Open a .tflite once: its bytes, verified, and what they say.

`ModelFile.open` turns bytes into facts that nobody can change. To edit a file,
`unpack()` gives a model of the schema's own classes, and `pack` writes it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import struct
from collections.abc import Iterable

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite import outside
from tflm_fg.tflite.packing import ALIGNMENT, pack
from tflm_fg.tflite.subgraph import Operator, Subgraph, Tensor
from tflm_fg.tflite.verify import (
  arity,
  indices,
  operators,
  options,
  rearranging,
  scales,
  shapes,
)
from tflm_fg.tflite.verify.indices import (
  ITEM_BYTES,
  check_indices,
  check_root,
  with_meant_axes,
)
from tflm_fg.tflite.verify.structure import (
  CORRUPTED,
  flatbuffer_end,
  structure_fault,
)
from tflm_fg.types import TflmFgError

OP_NAMES, TYPE_NAMES = operators.NAMES, indices.TYPE_NAMES


@dataclasses.dataclass(frozen=True)
class ModelFile:
  """A .tflite, verified and parsed once; nothing of it can be changed.

  Whoever needs facts of a file takes a ModelFile and hands it on. Whoever edits
  a file asks for `unpack()`, and packs what comes of it into another file.

  Attributes:
    data: the file's bytes.
    name: what to call the file in errors.
    subgraph: the first subgraph.
    spans: start and length of each buffer's bytes in the file, inside or
      behind the flatbuffer.
    metadata: names of the metadata entries, with their buffers.
    notes: what was mended when it was opened; `data` has it.
  """

  data: bytes = dataclasses.field(repr=False)
  name: str = dataclasses.field(compare=False)
  subgraph: Subgraph = dataclasses.field(compare=False, repr=False)
  spans: tuple[tuple[int, int], ...] = dataclasses.field(
    compare=False, repr=False
  )
  metadata: tuple[tuple[bytes, int], ...] = dataclasses.field(
    compare=False, repr=False
  )
  notes: tuple[str, ...] = dataclasses.field(
    default=(), compare=False, repr=False
  )

  @classmethod
  def open(cls, data: bytes, name: str = "model") -> ModelFile:
    """Verifies and parses a file.

    Args:
      data: the file; a bytearray is copied, since others could write to it.
      name: what to call it in errors.

    Raises:
      TflmFgError: if the bytes are not a sound .tflite.
    """
    data = data if isinstance(data, bytes) else bytes(memoryview(data))
    if len(data) > _MOST_BYTES_KEPT:
      return cls._parsed(data, name)
    return _kept(data, name)

  @classmethod
  def _parsed(cls, data: bytes, name: str) -> ModelFile:
    model = verify(data, name)
    mended, notes = with_meant_axes(data)
    if notes:
      model = _unpack(mended)
    return dataclasses.replace(cls._of(mended, name, model), notes=notes)

  @classmethod
  def packed(cls, model: schema.ModelT, name: str) -> ModelFile:
    """Writes a model that was made of a sound one by leaving out parts."""
    return cls._of(pack(model), name, model)

  @classmethod
  def _of(cls, data: bytes, name: str, model: schema.ModelT) -> ModelFile:
    root = schema.Model.GetRootAsModel(data, 0)
    return cls(
      data=data,
      name=name,
      subgraph=subgraph_of(model),
      spans=tuple(_span(root.Buffers(i)) for i in range(root.BuffersLength())),
      metadata=tuple((e.name or b"", e.buffer) for e in model.metadata or []),
    )

  @classmethod
  def of(cls, source: Source, name: str = "model") -> ModelFile:
    """The file itself if it is open already; bytes are opened."""
    return source if isinstance(source, ModelFile) else cls.open(source, name)

  def unpack(self) -> schema.ModelT:
    """A model to edit, made anew at each call."""
    model = schema.ModelT.InitFromPackedBuf(self.data, 0)
    outside.take_in(model, self.data)
    for graph in model.subgraphs:  # engines take a missing vector as empty
      for op in graph.operators or []:
        op.inputs = [] if op.inputs is None else op.inputs
        op.outputs = [] if op.outputs is None else op.outputs
      for tensor in graph.tensors or []:
        tensor.shape = [] if tensor.shape is None else tensor.shape
    return model

  def repacked(self, model: schema.ModelT) -> bytes:
    """Writes a model that was unpacked from this file, and edited.

    All constants lie in the flatbuffer, and what stood behind the file (a zip
    archive with the classes' names, say) stands behind the new one.
    """
    if fault := outside.room_fault(model):
      raise TflmFgError(f"{self.name}: {fault}")
    return outside.with_tail(pack(model), self.tail)

  @property
  def tail(self) -> bytes:
    """What stands behind the flatbuffer and behind all constants."""
    return self.data[max(flatbuffer_end(self.data), *map(sum, self.spans)) :]

  def with_constants(self, data: bytes) -> ModelFile:
    """The file with other values in its constants, and no other change.

    Args:
      data: laid out as the file's; not verified again, as values of constants
        say nothing of the structure.
    """
    if len(data) != len(self.data):
      raise ValueError(f"{len(data)} bytes, the file has {len(self.data)}")
    return dataclasses.replace(self, data=data)

  def span(self, tensor: int) -> tuple[int, int]:
    """Start and length of a constant's bytes; (0, 0) if there are none."""
    return self.spans[self.subgraph.tensors[tensor].buffer]

  @property
  def is_aligned(self) -> bool:
    """Whether every constant starts on 16 bytes."""
    return all(start % ALIGNMENT == 0 for start, _ in self.spans)

  @property
  def shares_bytes(self) -> bool:
    """Whether two constants lie on the same bytes, as none may that trains."""
    held = sorted(span for span in self.spans if span[1])
    return any(sum(a) > b[0] for a, b in itertools.pairwise(held))

  @property
  def operator_names(self) -> tuple[str, ...]:
    """The operators in order; one with an activation behind ends in "+"."""
    return tuple(
      op.name + "+" * op.has_activation for op in self.subgraph.operators
    )


@functools.lru_cache(maxsize=32)
def _kept(data: bytes, name: str) -> ModelFile:
  """A small file, parsed once however often the same bytes are opened."""
  return ModelFile._parsed(data, name)


_MOST_BYTES_KEPT = 1 << 17

_FITS = functools.partial(
  shapes.shapes_fault, checks={**shapes.CHECKS, **rearranging.CHECKS}
)
_CHECKS = arity.arity_fault, options.options_fault, scales.scales_fault, _FITS

Source = bytes | ModelFile
"""A file as bytes, or opened. Bytes are opened anew wherever they come."""


def verify(data: bytes, name: str = "model") -> schema.ModelT:
  """Refuses bytes that are not a sound .tflite.

  Args:
    data: the file.
    name: what to call it in the error.

  Returns:
    The model, unpacked.

  Raises:
    TflmFgError: with the first fault found.
  """
  fault = structure_fault(data)
  if fault:
    raise TflmFgError(f"{name}: {fault}")
  try:
    root = schema.Model.GetRootAsModel(data, 0)
    check_root(root)
    model = _unpack(data)
    check_indices(model)
    operators.check_graphs(model, _CHECKS)
  except (struct.error, IndexError, ValueError, TypeError) as broken:
    raise TflmFgError(f"{name}: {CORRUPTED.format(broken)}") from None
  return model


def _unpack(data: bytes) -> schema.ModelT:
  try:
    model = schema.ModelT.InitFromPackedBuf(data, 0)
  except Exception as fault:  # options tables that only the schema knows
    raise ValueError(f"{fault}") from None
  outside.take_in(model, data)
  return model


def read(source: Source, name: str = "model") -> schema.ModelT:
  """Verifies a file if it is not open yet, and unpacks it to be edited.

  Raises:
    TflmFgError: if the bytes are not a sound .tflite.
  """
  return ModelFile.of(source, name).unpack()


def subgraph_of(
  model: schema.ModelT, chosen_output: int | None = None
) -> Subgraph:
  """What an unpacked model says of its first subgraph at this moment.

  Args:
    model: unpacked.
    chosen_output: position of the output that is meant; None for no choice.
  """
  graph = model.subgraphs[0]
  return Subgraph(
    tensors=tuple(_tensor(model, t) for t in graph.tensors or []),
    operators=tuple(_operator(model, op) for op in graph.operators or []),
    inputs=_integers(graph.inputs),
    outputs=_integers(graph.outputs),
    output_keys=_output_keys(model),
    chosen_output=chosen_output,
  )


def _output_keys(model: schema.ModelT) -> tuple[str, ...]:
  """The first signature's name of each output of the first subgraph."""
  for signature in model.signatureDefs or []:
    if signature.subgraphIndex == 0:
      names = {
        entry.tensorIndex: (entry.name or b"").decode("utf-8", "replace")
        for entry in signature.outputs or []
      }
      outputs = _integers(model.subgraphs[0].outputs)
      return tuple(names.get(tensor, "") for tensor in outputs)
  return ()


def _tensor(model: schema.ModelT, tensor: schema.TensorT) -> Tensor:
  quantization = tensor.quantization or schema.QuantizationParametersT()
  scales = () if quantization.scale is None else quantization.scale
  shape = _integers(tensor.shape)
  held = model.buffers[tensor.buffer].data
  return Tensor(
    name=(tensor.name or b"").decode("utf-8", "replace"),
    shape=shape,
    dtype=TYPE_NAMES.get(tensor.type, "unknown"),
    scales=tuple(float(scale) for scale in scales),
    zero_points=_integers(quantization.zeroPoint),
    channel_axis=int(quantization.quantizedDimension),
    num_bytes=math.prod(shape) * ITEM_BYTES.get(tensor.type, 0),
    buffer=int(tensor.buffer),
    held_bytes=0 if held is None else len(held),
    is_constant=held is not None,
    is_variable=bool(tensor.isVariable),
    is_sparse=tensor.sparsity is not None,
  )


def _operator(model: schema.ModelT, op: schema.OperatorT) -> Operator:
  options = op.builtinOptions
  return Operator(
    name=op_name(model, op),
    inputs=_integers(op.inputs),
    outputs=_integers(op.outputs),
    is_custom=_builtin(model, op) == schema.BuiltinOperator.CUSTOM,
    has_activation=bool(getattr(options, "fusedActivationFunction", 0)),
    transposes=(
      bool(getattr(options, "adjX", False)),
      bool(getattr(options, "adjY", False)),
    ),
    bias_dtype=TYPE_NAMES.get(
      getattr(options, "quantizedBiasType", 0), "unknown"
    ),
  )


def _integers(values: Iterable[int] | None) -> tuple[int, ...]:
  return () if values is None else tuple(int(value) for value in values)


def op_name(model: schema.ModelT, op: schema.OperatorT) -> str:
  """An unpacked operator's builtin name, or its custom code."""
  number = _builtin(model, op)
  if number == schema.BuiltinOperator.CUSTOM:
    code = model.operatorCodes[op.opcodeIndex]
    return (code.customCode or b"CUSTOM").decode("utf-8", "replace")
  return OP_NAMES.get(number, f"operator code {number}")


def _builtin(model: schema.ModelT, op: schema.OperatorT) -> int:
  code = model.operatorCodes[op.opcodeIndex]
  return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _span(buffer: schema.Buffer) -> tuple[int, int]:
  if not buffer.DataLength():
    return outside.place(buffer)
  table = buffer._tab
  return int(table.Vector(table.Offset(4))), int(buffer.DataLength())
