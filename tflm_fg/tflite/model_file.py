"""Read and write .tflite bytes: the mark, the weights, the aligned file.

Marking puts a new root in front of the file and leaves every old byte as it
was, so stripping gives back the original bytes, and an adapted file differs
from its original in the trained bytes alone:

    [new root, vectors, mark][the original file, whole]
"""

from __future__ import annotations

import functools

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.fixed_point.arithmetic import MASTER_UNIT
from tflm_fg.tflite.verify_structure import IDENTIFIER, verify
from tflm_fg.types import TflmFgError, TrainableTensor

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
def read_shared(data: bytes, name: str = "model") -> schema.ModelT:
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
  model = read_shared(data)
  return tuple(
    op_name(model, op)
    + "+" * bool(getattr(op.builtinOptions, "fusedActivationFunction", 0))
    for op in model.subgraphs[0].operators or []
  )


def data_span(buffer: schema.Buffer) -> tuple[int, int]:
  """Start and length of a buffer's bytes in the file; (0, 0) if empty."""
  if not buffer.DataLength():
    return 0, 0
  table = buffer._tab
  return int(table.Vector(table.Offset(4))), int(buffer.DataLength())


ALIGNMENT = 16
"""Constants start on this boundary: some microcontrollers fault otherwise."""


def align(position: int, to: int = ALIGNMENT) -> int:
  """The next position on a boundary."""
  return -(-position // to) * to


def is_aligned(data: bytes) -> bool:
  """Whether every constant of a verified file starts on 16 bytes."""
  model = schema.Model.GetRootAsModel(data, 0)
  return all(
    data_span(model.Buffers(i))[0] % ALIGNMENT == 0
    for i in range(model.BuffersLength())
  )
