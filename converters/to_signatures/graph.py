"""A subgraph whose operators are written as arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.to_signatures.builder import (
  VERSIONS,
  WITH_OPTIONS,
  FileBuilder,
)
from converters.to_signatures.values import Value
from tflm_fg.signatures import Variable
from tflm_fg.tflite import TYPE_NAMES, new_operator

_TYPES = {name: code for code, name in TYPE_NAMES.items()}


class Graph:
  """A subgraph that operators are appended to, in the order of running.

  It is the counterpart of `signatures.NumpyEngine`: the same methods, which
  append operators in place of computing.
  """

  def __init__(
    self, file: FileBuilder, name: str, made: schema.SubGraphT | None = None
  ) -> None:
    """Appends an empty subgraph to the file, or goes on with one of it."""
    self.file, self.name = file, name
    if made is None:
      made = schema.SubGraphT()
      made.tensors, made.operators = [], []
      file.model.subgraphs.append(made)
    made.name = name.encode()
    self.made = made
    self.number = file.model.subgraphs.index(made)
    self._handles: dict[str, Value] = {}
    self._constants: dict[tuple[bytes, str, tuple[int, ...]], Value] = {}

  def close(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
    """Says what flows in and out."""
    self.made.inputs = np.array([v.number for v in inputs], np.int32)
    self.made.outputs = np.array([v.number for v in outputs], np.int32)

  def signature(
    self, inputs: Mapping[str, Value], outputs: Mapping[str, Value]
  ) -> None:
    """Makes the graph callable by its name."""
    self.close(list(inputs.values()), list(outputs.values()))
    for named in (inputs, outputs):
      for name, value in named.items():
        self.made.tensors[value.number].name = name.encode()
    self.file.signature(
      self.name,
      self.number,
      {name: value.number for name, value in inputs.items()},
      {name: value.number for name, value in outputs.items()},
    )

  def tensor(
    self,
    shape: Sequence[int],
    dtype: str,
    like: schema.TensorT | None = None,
  ) -> Value:
    """Appends a tensor, to be filled by an operator or by whoever calls.

    Args:
      shape: of it.
      dtype: of it.
      like: what it has the quantization of.
    """
    made = schema.TensorT()
    made.shape = np.array(shape, np.int32)
    made.type, made.buffer = _TYPES[dtype], 0
    if like is not None:
      made.quantization = like.quantization
    self.made.tensors.append(made)
    number = len(self.made.tensors) - 1
    return Value(self, number, tuple(int(n) for n in shape), dtype)

  def constant(self, values: Any, dtype: str = "int32") -> Value:
    """A constant; an equal one of this graph is used again."""
    held = np.array(values, dtype)
    key = held.tobytes(), dtype, held.shape
    if key not in self._constants:
      made = self.tensor(held.shape, dtype)
      self.made.tensors[made.number].buffer = self.file.buffer(held.tobytes())
      self._constants[key] = made
    return self._constants[key]

  def append(
    self,
    name: str,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    **options: Any,
  ) -> None:
    """Appends an operator.

    Args:
      name: a builtin operator of `VERSIONS`.
      inputs: tensors.
      outputs: tensors.
      **options: fields of its options table.
    """
    table = None
    if name in WITH_OPTIONS and any(options.values()):
      table = getattr(schema, f"{WITH_OPTIONS[name]}OptionsT")()
      for field, value in options.items():
        setattr(table, field, value)
    op = new_operator(
      self.file.model,
      name,
      [v.number for v in inputs],
      [v.number for v in outputs],
      table,
      VERSIONS[name],
      newer=False,
    )
    self.made.operators.append(op)

  def one(
    self,
    name: str,
    inputs: Sequence[Value],
    shape: Sequence[int],
    dtype: str,
    **options: Any,
  ) -> Value:
    """Appends an operator with one output, which has no quantization."""
    out = self.tensor(shape, dtype)
    self.append(name, inputs, [out], **options)
    return out

  def pair(self, name: str, a: Any, b: Any, dtype: str = "") -> Value:
    """An operator on two arrays; a plain number becomes a constant."""
    kind = a.dtype if isinstance(a, Value) else b.dtype
    first, second = (
      x if isinstance(x, Value) else self.constant(x, kind) for x in (a, b)
    )
    shape = np.broadcast_shapes(first.shape, second.shape)
    return self.one(name, [first, second], shape, dtype or kind)

  def cast(self, x: Value, dtype: str) -> Value:
    """The same numbers as another type; floats are cut off."""
    return self.one("CAST", [x], x.shape, dtype)

  def minimum(self, a: Value, b: Any) -> Value:
    """The lesser of two."""
    return self.pair("MINIMUM", a, b)

  def maximum(self, a: Value, b: Any) -> Value:
    """The greater of two."""
    return self.pair("MAXIMUM", a, b)

  def select(self, truth: Value, a: Any, b: Any) -> Value:
    """Chooses a where the truth holds, else b."""
    kind = a.dtype if isinstance(a, Value) else b.dtype
    first, second = (
      x if isinstance(x, Value) else self.constant(x, kind) for x in (a, b)
    )
    shape = np.broadcast_shapes(truth.shape, first.shape, second.shape)
    return self.one("SELECT_V2", [truth, first, second], shape, kind)

  def sum(self, x: Value, axis: int, keepdims: bool = False) -> Value:
    """Sums along an axis."""
    return self._reduced("SUM", x, axis, keepdims)

  def max(self, x: Value, axis: int, keepdims: bool = False) -> Value:
    """The largest along an axis."""
    return self._reduced("REDUCE_MAX", x, axis, keepdims)

  def _reduced(self, name: str, x: Value, axis: int, keepdims: bool) -> Value:
    shape = list(x.shape)
    shape[axis : axis + 1] = [1] if keepdims else []
    axes = self.constant([axis])
    return self.one(name, [x, axes], shape, x.dtype, keepDims=keepdims)

  def take(self, table: Value, index: Value) -> Value:
    """Rows of a table."""
    shape = index.shape + table.shape[1:]
    return self.one("GATHER", [table, index], shape, table.dtype)

  def matmul(self, a: Value, b: Value) -> Value:
    """Multiplies a [M, K] and the transpose of b [N, K], both int8.

    Returns:
      int32 [M, N], exact.
    """
    return self.one(
      "BATCH_MATMUL",
      [a, b],
      (a.shape[0], b.shape[0]),
      "int32",
      adjY=True,
    )

  def transposed(self, x: Value) -> Value:
    """The transpose of a matrix."""
    order = self.constant([1, 0])
    return self.one("TRANSPOSE", [x, order], x.shape[::-1], x.dtype)

  def counted(self, count: int) -> Value:
    """The numbers from 0 to below a count, int32."""
    ends = [self.constant(n) for n in (0, count, 1)]
    return self.one("RANGE", ends, [count], "int32")

  def reshaped(self, x: Value, shape: Sequence[int]) -> Value:
    """The same numbers in another shape."""
    wanted = self.constant(list(shape))
    return self.one("RESHAPE", [x, wanted], shape, x.dtype)

  def filled(self, shape: Sequence[int], value: int, dtype: str) -> Value:
    """An array of one number."""
    inputs = [self.constant(list(shape)), self.constant(value, dtype)]
    return self.one("FILL", inputs, shape, dtype)

  def joined(self, parts: Sequence[Value]) -> Value:
    """Arrays one after the other along the first axis."""
    rows = sum(part.shape[0] for part in parts)
    shape = (rows, *parts[0].shape[1:])
    return self.one("CONCATENATION", parts, shape, parts[0].dtype)

  def widened(self, x: Value, more: int) -> Value:
    """A matrix with more columns behind, of zeros."""
    sizes = self.constant([[0, 0], [0, more]])
    return self.one("PAD", [x, sizes], (x.shape[0], x.shape[1] + more), x.dtype)

  def with_row(self, x: Value, row: Value, slot: Value) -> Value:
    """Puts a row [1, ...] into a slot, int32 [1], of x [N, ...]."""
    zeros = [self.constant([0] * (len(x.shape) - 1))] if x.shape[1:] else []
    start = self.joined([slot, *zeros]) if zeros else slot
    inputs = [x, row, start]
    return self.one("DYNAMIC_UPDATE_SLICE", inputs, x.shape, x.dtype)

  def call(
    self,
    name: str,
    function: Callable[..., Sequence[Value]],
    inputs: Sequence[Value],
  ) -> list[Value]:
    """Runs a function that is written once, however often it is called.

    It is an IF that is always true, whose two branches are the function.

    Args:
      name: of it.
      function: (engine, *inputs) -> outputs.
      inputs: of the function.
    """
    if name not in self.file.functions:
      inside = Graph(self.file, name)
      own = [inside.tensor(v.shape, v.dtype) for v in inputs]
      inside.close(own, list(function(inside, *own)))
      self.file.functions[name] = inside
    inside = self.file.functions[name]
    made = [inside.made.tensors[n] for n in inside.made.outputs]
    out = [self.tensor(t.shape, TYPE_NAMES[t.type]) for t in made]
    self.append(
      "IF",
      [self.constant(True, "bool"), *inputs],
      out,
      thenSubgraphIndex=inside.number,
      elseSubgraphIndex=inside.number,
    )
    return out

  def loop(
    self,
    name: str,
    steps: Value,
    state: Sequence[Value],
    kept: Sequence[Value],
    body: Callable[[Any, Value, list[Value], list[Value]], Sequence[Value]],
  ) -> list[Value]:
    """Runs a body for step 0, 1, ... below `steps`.

    Args:
      name: of it.
      steps: int32 [1].
      state: what a step changes.
      kept: what steps read only.
      body: (engine, step int32 [1], state, kept) -> the state after it.

    Returns:
      The state after the last step.
    """
    first = [self.filled([1], 0, "int32"), steps, *state, *kept]
    condition = Graph(self.file, f"{name}_more")
    inside = Graph(self.file, f"{name}_step")
    asked = [condition.tensor(v.shape, v.dtype) for v in first]
    condition.close(asked, [condition.reshaped(asked[0] < asked[1], [])])
    step, most, *rest = (inside.tensor(v.shape, v.dtype) for v in first)
    own, others = rest[: len(state)], rest[len(state) :]
    after = list(body(inside, step, own, others))
    inside.close([step, most, *rest], [step + 1, most, *after, *others])
    out = [self.tensor(v.shape, v.dtype) for v in first]
    self.append(
      "WHILE",
      first,
      out,
      condSubgraphIndex=condition.number,
      bodySubgraphIndex=inside.number,
    )
    return out[2 : 2 + len(state)]

  def read(self, variable: Variable) -> Value:
    """What a variable holds."""
    handle = self._handle(variable)
    return self.one("READ_VARIABLE", [handle], variable.shape, variable.dtype)

  def assign(self, variable: Variable, value: Value) -> None:
    """Gives a variable another content."""
    self.append("ASSIGN_VARIABLE", [self._handle(variable), value], [])

  def _handle(self, variable: Variable) -> Value:
    name = variable.name
    if name not in self._handles:
      self._handles[name] = self.one(
        "VAR_HANDLE", [], [], "resource", sharedName=name
      )
    return self._handles[name]

  def once(self, number: int) -> None:
    """Runs a subgraph if no call of this session has run it."""
    self.append("CALL_ONCE", [], [], initSubgraphIndex=number)

  def copied(
    self,
    op: schema.OperatorT,
    inputs: Sequence[Value | None],
    outputs: Sequence[Value],
  ) -> None:
    """Appends an operator as another graph has it, with other tensors."""
    made = copy.copy(op)
    made.inputs = np.array(
      [-1 if v is None else v.number for v in inputs], np.int32
    )
    made.outputs = np.array([v.number for v in outputs], np.int32)
    self.made.operators.append(made)
