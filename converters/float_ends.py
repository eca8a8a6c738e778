"""Give a .tflite ends of floats, so that a browser's engine can run it.

LiteRT.js passes float32, int32 and uint8 alone to and from a model, and refuses
a whole file with one int8 tensor at the end of one signature. So each such
input gets a QUANTIZE behind it, each such output a DEQUANTIZE, and whole
numbers that have no scale (a state that is saved, say) a CAST from or to int32.
What lies between stays as it was, byte for byte: floats that lie on the steps
of the old input give the numbers of before.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.packing import packed
from tflm_fg.tflite import TYPE_NAMES, ModelFile, new_operator, with_tail_of
from tflm_fg.types import TflmFgError

TAKEN = ("float32", "int32", "uint8")
"""Types of tensors that LiteRT.js passes."""

_CODES = {name: code for code, name in TYPE_NAMES.items()}

_SCALED = ("int8", "uint8", "int16")
_WHOLE = ("bool", "int8", "int16", "int64")
_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}

_CALLS = (
  "condSubgraphIndex",
  "bodySubgraphIndex",
  "thenSubgraphIndex",
  "elseSubgraphIndex",
  "initSubgraphIndex",
  "subgraph",
)
"""Fields of operators' options that name a subgraph which the operator runs."""


def with_float_ends(source: bytes | ModelFile, name: str = "model") -> bytes:
  """Gives every way into a file inputs and outputs that LiteRT.js takes.

  The ways in are the first subgraph and that of each signature. Names of
  signatures, inputs and outputs stay, and so do shapes.

  Args:
    source: a .tflite, opened or as bytes; one whose ends are float32, int32
      and uint8 without a scale comes back with the same content.
    name: what to call it in errors.

  Returns:
    The file. int8, uint8 and int16 with a scale became float32; bool, int8,
    int16 and int64 without one became int32. An int32 input for int8 or int16
    is clipped to what these hold; an int64 output loses its upper half.

  Raises:
    TflmFgError: naming an end of another type, or a way in that operators of
      the model run as well.
  """
  file = ModelFile.of(source, name)
  model = file.unpack()
  give_float_ends(model, file.name)
  try:
    data = packed(model)
  except flatbuffers.builder.BuilderSizeError:
    raise TflmFgError(
      f"{file.name}: with its constants inside, the file would pass 2 GiB, "
      "which no browser loads; choose a smaller model"
    ) from None
  return with_tail_of(data, file)


def give_float_ends(model: schema.ModelT, name: str = "model") -> None:
  """What `with_float_ends` does, to an unpacked model.

  Args:
    model: edited; where it is refused, a part of it may have been.
    name: what to call it in errors.

  Raises:
    TflmFgError: see `with_float_ends`.
  """
  called = set(_called(model))
  for number in _entries(model):
    graph = _Graph(model, number, name)
    ends = [*graph.changing("inputs"), *graph.changing("outputs")]
    if ends and number in called:
      raise TflmFgError(
        f"{name}: operators run subgraph {number}, which is a way in as well, "
        "so its inputs and outputs cannot change; convert the model again with "
        "a signature that runs a subgraph of its own"
      )
    graph.change_inputs()
    graph.change_outputs()


def described(source: bytes | ModelFile, name: str = "model") -> list[str]:
  """A line for each way into a file: its inputs and outputs.

  Args:
    source: a .tflite, opened or as bytes.
    name: what to call it in errors.

  Returns:
    Lines such as "infer(x float32 [1, 4]) -> probabilities float32 [1, 2]".
  """
  model = ModelFile.of(source, name).unpack()
  graphs = model.subgraphs

  def ends(number: int, pairs: Iterable[tuple[str, int]]) -> str:
    tensors = graphs[number].tensors
    return ", ".join(
      f"{name} {_type(tensors[i])} {_shape(tensors[i])}".strip()
      for name, i in pairs
    )

  found = []
  for signature in model.signatureDefs or []:
    inputs, outputs = (
      ends(signature.subgraphIndex, [(_text(e.name), e.tensorIndex) for e in x])
      for x in (signature.inputs or [], signature.outputs or [])
    )
    key = _text(signature.signatureKey)
    found.append(f"{key}({inputs}) -> {outputs or 'nothing'}")
  if not found:
    inputs, outputs = (
      ends(0, [(_text(graphs[0].tensors[i].name), int(i)) for i in x])
      for x in (graphs[0].inputs, graphs[0].outputs)
    )
    found.append(f"({inputs}) -> {outputs}")
  return found


def _entries(model: schema.ModelT) -> list[int]:
  """The first subgraph, and those of signatures, each once."""
  signed = (int(s.subgraphIndex) for s in model.signatureDefs or [])
  return list(dict.fromkeys(itertools.chain([0], signed)))


def _called(model: schema.ModelT) -> Iterator[int]:
  """Subgraphs that operators run."""
  for graph in model.subgraphs:
    for op in graph.operators or []:
      for options in (op.builtinOptions, op.builtinOptions2):
        for field in _CALLS:
          if isinstance(number := getattr(options, field, None), int):
            yield number


@dataclasses.dataclass
class _Graph:
  """One subgraph, edited; operators are added at its two ends."""

  model: schema.ModelT
  number: int
  name: str

  @property
  def graph(self) -> schema.SubGraphT:
    """The subgraph as the schema has it."""
    return self.model.subgraphs[self.number]

  def changing(self, field: str) -> list[int]:
    """Which inputs or outputs must change, each once.

    Raises:
      TflmFgError: naming one that cannot.
    """
    held = getattr(self.graph, field)
    indices = list(
      dict.fromkeys(int(i) for i in ([] if held is None else held))
    )
    found = []
    for index in indices:
      tensor = self.graph.tensors[index]
      kind = _type(tensor)
      if _has_scale(tensor) and kind in _SCALED:
        if len(tensor.quantization.scale) > 1:
          raise self._fault(tensor, field, f"{kind} with a scale a channel")
        found.append(index)
      elif kind not in TAKEN:
        if kind not in _WHOLE:
          raise self._fault(tensor, field, kind)
        found.append(index)
    return found

  def change_inputs(self) -> None:
    """Puts operators in front that make the old inputs of the new ones."""
    first = []
    for old in self.changing("inputs"):
      kind = _type(self.graph.tensors[old])
      scaled = _has_scale(self.graph.tensors[old])
      new = self._twin(old, "float32" if scaled else "int32")
      if scaled:
        first.append(self._operator("QUANTIZE", [new], old, 2))
      else:
        between = new
        for op, limit in zip(("MAXIMUM", "MINIMUM"), _LIMITS.get(kind, ())):
          tensor = self._like(new, f"{op.lower()} of {limit}")
          inputs = [between, self._constant(limit)]
          first.append(self._operator(op, inputs, tensor, 1))
          between = tensor
        first.append(self._cast(between, old))
      self._replace("inputs", old, new)
    self.graph.operators = [*first, *(self.graph.operators or [])]

  def change_outputs(self) -> None:
    """Puts operators behind that make new outputs of the old ones."""
    last = []
    for old in self.changing("outputs"):
      scaled = _has_scale(self.graph.tensors[old])
      new = self._twin(old, "float32" if scaled else "int32")
      if scaled:
        version = 3 if _type(self.graph.tensors[old]) == "int16" else 2
        last.append(self._operator("DEQUANTIZE", [old], new, version))
      else:
        last.append(self._cast(old, new))
      self._replace("outputs", old, new)
    self.graph.operators = [*(self.graph.operators or []), *last]

  def _replace(self, field: str, old: int, new: int) -> None:
    """Names another tensor as an end, in the graph and its signatures."""
    held = np.asarray(getattr(self.graph, field), np.int32)
    setattr(self.graph, field, np.where(held == old, new, held).astype("i4"))
    for signature in self.model.signatureDefs or []:
      if signature.subgraphIndex == self.number:
        for entry in getattr(signature, field) or []:
          if entry.tensorIndex == old:
            entry.tensorIndex = new

  def _twin(self, old: int, kind: str) -> int:
    """A tensor of an end's shape and name; the old one gets another name."""
    tensor = self.graph.tensors[old]
    name = tensor.name or b""
    new = self._like(old, "", kind)
    self.graph.tensors[new].name = name
    tensor.name = name + b"/" + _type(tensor).encode()
    return new

  def _like(self, old: int, suffix: str, kind: str = "int32") -> int:
    source, tensor = self.graph.tensors[old], schema.TensorT()
    tensor.name = (source.name or b"") + b"/" + suffix.encode()
    tensor.shape, tensor.hasRank = source.shape, source.hasRank
    tensor.shapeSignature = source.shapeSignature
    tensor.type, tensor.buffer = _CODES[kind], 0
    self.graph.tensors.append(tensor)
    return len(self.graph.tensors) - 1

  def _constant(self, value: int) -> int:
    """An int32 number without a shape."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.int32(value).tobytes(), np.uint8)
    self.model.buffers.append(buffer)
    tensor = schema.TensorT()
    tensor.name, tensor.shape = str(value).encode(), np.zeros(0, np.int32)
    tensor.type, tensor.hasRank = _CODES["int32"], True
    tensor.buffer = len(self.model.buffers) - 1
    self.graph.tensors.append(tensor)
    return len(self.graph.tensors) - 1

  def _cast(self, source: int, target: int) -> schema.OperatorT:
    options = schema.CastOptionsT()
    options.inDataType = self.graph.tensors[source].type
    options.outDataType = self.graph.tensors[target].type
    kinds = {_type(self.graph.tensors[i]) for i in (source, target)}
    version = 3 if "int16" in kinds else 2 if "int8" in kinds else 1
    return self._operator("CAST", [source], target, version, options)

  def _operator(
    self, name: str, inputs: list[int], output: int, version: int,
    options: Any = None,
  ) -> schema.OperatorT:  # fmt: skip
    """An operator that is in no graph yet."""
    kinds = {
      "QUANTIZE": schema.QuantizeOptionsT,
      "DEQUANTIZE": schema.DequantizeOptionsT,
      "MAXIMUM": schema.MaximumMinimumOptionsT,
      "MINIMUM": schema.MaximumMinimumOptionsT,
    }
    options = kinds[name]() if options is None else options
    return new_operator(self.model, name, inputs, [output], options, version)

  def _fault(
    self, tensor: schema.TensorT, field: str, kind: str
  ) -> TflmFgError:
    return TflmFgError(
      f"{self.name}: {field.removesuffix('s')} {_text(tensor.name)!r} of "
      f"subgraph {self.number} is {kind}, which LiteRT.js does not pass and "
      "this command does not convert; convert the model again with float32 or "
      "int8 ends"
    )


def _type(tensor: schema.TensorT) -> str:
  return TYPE_NAMES.get(tensor.type, "unknown")


def _has_scale(tensor: schema.TensorT) -> bool:
  quantization = tensor.quantization
  scale = None if quantization is None else quantization.scale
  return scale is not None and len(scale) > 0


def _shape(tensor: schema.TensorT) -> str:
  shape = [] if tensor.shape is None else [int(d) for d in tensor.shape]
  return str(shape) if shape else ""


def _text(name: bytes | None) -> str:
  return (name or b"").decode("utf-8", "replace")
