"""Read and write .tflite bytes: the mark, the weights, the aligned file.

Marking puts a new root in front of the file and leaves every old byte as it
was, so stripping gives back the original bytes, and an adapted file differs
from its original in the trained bytes alone:

    [new root, vectors, mark][the original file, whole]
"""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.base import ROLES, Mark, TflmFgError, TrainableTensor
from tflm_fg.flatbuffer_patch import data_span
from tflm_fg.flatbuffer_prepend import ALIGNMENT, align, prepend_metadata
from tflm_fg.flatbuffer_verify import IDENTIFIER, verify
from tflm_fg.quant import MASTER_UNIT, Layout

MARK_NAME = "tflm_fg"
MARK_VERSION = 1

OP_NAMES: dict[int, str] = {
  code: name
  for name, code in vars(schema.BuiltinOperator).items()
  if isinstance(code, int)
}
TYPE_NAMES: dict[int, str] = {
  code: name.lower()
  for name, code in vars(schema.TensorType).items()
  if isinstance(code, int)
}


def read(data: bytes, name: str = "model") -> schema.ModelT:
  """Verifies the file and unpacks it, to be changed at will.

  Raises:
    TflmFgError: if the bytes are not a sound .tflite.
  """
  verify(data, name)
  try:
    model = schema.ModelT.InitFromPackedBuf(data, 0)
  except Exception as fault:  # options tables that only the schema knows
    raise TflmFgError(
      f"{name}: corrupted .tflite: {fault}; copy or convert it again"
    ) from None
  for graph in model.subgraphs:
    for op in graph.operators or []:  # engines take a missing vector as empty
      op.inputs = [] if op.inputs is None else op.inputs
      op.outputs = [] if op.outputs is None else op.outputs
  return model


@functools.lru_cache(maxsize=16)
def look(data: bytes, name: str = "model") -> schema.ModelT:
  """The same, shared by all who look at these bytes: not to be changed."""
  return read(data, name)


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
  """Starts every byte vector, and so every constant, on 16 bytes."""

  def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802,N803
    if elemSize == 1:
      alignment = ALIGNMENT
    return super().StartVector(elemSize, numElems, alignment)


def pack(model: schema.ModelT) -> bytes:
  """Writes a model with every constant aligned to 16 bytes."""
  builder = _AlignedBuilder(1 << 16)
  builder.Finish(model.Pack(builder), IDENTIFIER)
  return bytes(builder.Output())


def describe(
  model: schema.ModelT, operator: int, index: int, role: str
) -> TrainableTensor:
  """Says what a trainable constant is, from the graph around it.

  Args:
    model: the unpacked model; the operator is in subgraph 0.
    operator: the operator that reads the tensor.
    index: the tensor.
    role: one of `base.ROLES`.
  """
  graph = model.subgraphs[0]
  tensor, op = graph.tensors[index], graph.operators[operator]
  quantization = tensor.quantization
  name = (tensor.name or b"").decode("utf-8", "replace")
  if quantization is None or not np.all(np.atleast_1d(quantization.scale) > 0):
    raise TflmFgError(
      f"{name}: a {role} without a scale; convert the model again"
    )
  scales = tuple(float(s) for s in quantization.scale)
  steps = [MASTER_UNIT] * len(scales)
  if role == "bias":
    out_step = _output_step(model, operator)
    steps = [max(1, round(out_step / s)) for s in scales]
  return TrainableTensor(
    name=name,
    subgraph=0,
    index=int(index),
    operator=operator,
    op_name=op_name(model, op),
    role=role,
    shape=tuple(int(d) for d in tensor.shape),
    dtype=TYPE_NAMES[tensor.type],
    scales=scales,
    channel_axis=int(quantization.quantizedDimension),
    output_step=tuple(steps),
  )


def _output_step(model: schema.ModelT, operator: int) -> float:
  """A layer's output step: int8's, or as coarse, so that one epsilon fits."""
  graph = model.subgraphs[0]
  made = int(graph.operators[operator].outputs[0])
  step = float(graph.tensors[made].quantization.scale[0])
  if graph.tensors[made].type != schema.TensorType.INT16:
    return step
  for op in graph.operators[operator + 1 :]:
    if op_name(model, op) == "QUANTIZE" and int(op.inputs[0]) == made:
      return float(graph.tensors[op.outputs[0]].quantization.scale[0])
  return step * 256


def op_name(model: schema.ModelT, op: schema.OperatorT) -> str:
  """An operator's builtin name, or its custom code."""
  code = model.operatorCodes[op.opcodeIndex]
  number = max(code.builtinCode, code.deprecatedBuiltinCode)
  if number == schema.BuiltinOperator.CUSTOM:
    return (code.customCode or b"CUSTOM").decode("utf-8", "replace")
  return OP_NAMES.get(number, f"operator code {number}")


@functools.lru_cache(maxsize=32)
def operator_names(data: bytes) -> tuple[str, ...]:
  """Subgraph 0's operators in order; one that ends in a ReLU ends in "+"."""
  model = look(data)
  return tuple(
    op_name(model, op)
    + "+" * bool(getattr(op.builtinOptions, "fusedActivationFunction", 0))
    for op in model.subgraphs[0].operators or []
  )


def read_mark(data: bytes, name: str = "model") -> Mark | None:
  """Reads the mark of a file; None if it has none.

  Raises:
    TflmFgError: if the file or its mark is not sound.
  """
  model = look(data, name)
  text = _mark_text(model)
  if text is None:
    return None
  try:
    content = json.loads(text)
    version = content["version"]
    if version != MARK_VERSION:
      raise TflmFgError(
        f"{name}: mark version {version}, this release reads {MARK_VERSION}; "
        "convert the model again"
      )
    tensors = tuple(_marked_tensor(model, e) for e in content["trainable"])
    if not tensors or len({t.index for t in tensors}) < len(tensors):
      raise ValueError("no tensor, or one twice")
    Layout(tensors)  # refuses a low byte without its kernel
    return Mark(
      trainable=tensors,
      logits=_activation(model, content["logits"]),
      head_input=_activation(model, content["head_input"]),
      frontend=_frontend(content.get("frontend")),
      classes=_classes(content.get("classes")),
      statistics=_statistics(model, content.get("statistics", [])),
    )
  except (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    RecursionError,
    OverflowError,
  ) as fault:
    raise TflmFgError(
      f"{name}: the training mark is broken ({fault}); convert it again"
    ) from None


def _mark_text(model: schema.ModelT) -> bytes | None:
  for entry in model.metadata or []:
    if entry.name == MARK_NAME.encode():
      held = model.buffers[entry.buffer].data
      return b"" if held is None else bytes(held)
  return None


def _index(model: schema.ModelT, index: Any) -> int:
  if type(index) is not int or not 0 <= index < len(model.subgraphs[0].tensors):
    raise IndexError(f"tensor {index}")
  return index


def _activation(model: schema.ModelT, index: Any) -> int:
  tensor = model.subgraphs[0].tensors[_index(model, index)]
  if model.buffers[tensor.buffer].data is not None:
    raise ValueError(f"tensor {index} is a constant")
  return int(index)


def _statistics(model: schema.ModelT, found: Any) -> dict[int, tuple[int, ...]]:
  means = {_activation(model, index): tuple(row) for index, row in found}
  for index, row in means.items():
    channels = int(model.subgraphs[0].tensors[index].shape[-1])
    if len(row) != channels or any(type(mean) is not int for mean in row):
      raise ValueError(f"means of tensor {index}")
  return means


def _frontend(found: Any) -> dict[str, Any] | None:
  if found is not None and not isinstance(found, dict):
    raise ValueError("its front end is no object")
  return found


def _classes(found: Any) -> tuple[str, ...] | None:
  if found is None:
    return None
  if not isinstance(found, list) or not all(type(n) is str for n in found):
    raise ValueError("its classes are no list of names")
  return tuple(found)


def _marked_tensor(
  model: schema.ModelT, entry: dict[str, Any]
) -> TrainableTensor:
  graph = model.subgraphs[0]
  index, operator = _index(model, entry["index"]), entry["operator"]
  role = entry["role"]
  if entry["subgraph"] != 0 or role not in ROLES:
    raise ValueError(f"tensor {index}")
  if type(operator) is not int or not 0 <= operator < len(graph.operators):
    raise IndexError(f"operator {operator}")
  if index not in graph.operators[operator].inputs:
    raise ValueError(f"operator {operator} does not read tensor {index}")
  tensor = describe(model, operator, index, role)
  if not _may_be(tensor) or tensor.name != entry["name"]:
    raise ValueError(f"tensor {index} is not the {role} that was marked")
  if model.buffers[graph.tensors[index].buffer].data is None:
    raise ValueError(f"tensor {index} is not a constant")
  return tensor


def _may_be(tensor: TrainableTensor) -> bool:
  """Whether a tensor's type and operator go with its role."""
  whole = {"kernel": "BATCH_MATMUL", "bias": "ADD"}
  if tensor.dtype == "int16":
    return whole.get(tensor.role) == tensor.op_name
  if tensor.role == "bias":
    return tensor.dtype in ("int32", "int64")
  return tensor.dtype == "int8"


def write_mark(data: bytes, mark: Mark) -> bytes:
  """Puts the mark in front of a verified, aligned file without one."""
  content: dict[str, Any] = {
    "version": MARK_VERSION,
    "trainable": [
      {
        "subgraph": t.subgraph,
        "index": t.index,
        "name": t.name,
        "role": t.role,
        "operator": t.operator,
      }
      for t in mark.trainable
    ],
    "logits": mark.logits,
    "head_input": mark.head_input,
  }
  if mark.statistics:
    content["statistics"] = list(mark.statistics.items())
  if mark.frontend is not None:  # a mark without them stays as it always was
    content["frontend"] = mark.frontend
  if mark.classes is not None:
    content["classes"] = list(mark.classes)
  text = json.dumps(content, separators=(",", ":")).encode()
  return prepend_metadata(data, MARK_NAME, text)


def describe_input(
  data: bytes,
  frontend: dict[str, Any] | None,
  classes: tuple[str, ...] | None,
  name: str = "model",
) -> bytes:
  """Writes into the mark what the input is made by and the outputs mean.

  Args:
    data: a marked .tflite.
    frontend: as `Mark.frontend`.
    classes: as `Mark.classes`.
    name: what to call the file in errors.

  Raises:
    TflmFgError: if the file has no mark.
  """
  found = read_mark(data, name)
  if found is None:
    raise TflmFgError(f"{name}: has no training mark; run tflm-fg-convert")
  told = dataclasses.replace(found, frontend=frontend, classes=classes)
  return write_mark(strip(data, name), told)


def strip(data: bytes, name: str = "model") -> bytes:
  """Takes the mark off: the bytes that were marked, with today's weights.

  A file whose mark no longer stands in front (another tool wrote it again) is
  written anew without it. A file without a mark comes back as it is.
  """
  if _mark_text(look(data, name)) is None:
    return data
  rest = data[_mark_end(data) :]
  if rest[4:8] == IDENTIFIER:
    return rest
  model = read(data, name)
  model.metadata = [e for e in model.metadata if e.name != MARK_NAME.encode()]
  return pack(model)


def _mark_end(data: bytes) -> int:
  model = schema.Model.GetRootAsModel(data, 0)
  for i in range(model.MetadataLength()):
    if model.Metadata(i).Name() == MARK_NAME.encode():
      start, length = data_span(model.Buffers(model.Metadata(i).Buffer()))
      return align(start + length, ALIGNMENT)
  return 0
