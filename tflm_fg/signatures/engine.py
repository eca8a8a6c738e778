"""The operations that a file which trains itself is made of.

An algorithm is written once, over an engine. `NumpyEngine` computes with
NumPy's int32 arrays. The converter's engine, which has the same methods,
appends operators to a .tflite. So both do the same integer arithmetic, and what
NumPy gives is what every runtime gives, byte for byte.

Arrays know + - * // % >> ^ == < >= and &. Sums and products that do not fit 32
bits wrap around in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Value = Any
"""An array of NumPy's, or a tensor of a graph that is being written."""

Engine = Any
"""A `NumpyEngine`, or the graph that is being written."""

LoopBody = Callable[[Engine, Value, list[Value], list[Value]], Sequence[Value]]
"""(engine, step int32 [1], state, kept) -> the state after the step."""


class Variable(NamedTuple):
  """An array that a file keeps from call to call.

  Attributes:
    name: of the resource.
    shape: of its content.
    dtype: of its content, a name of NumPy's.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str


class NumpyEngine:
  """Runs an algorithm in NumPy.

  Attributes:
    variables: what each variable holds, by its name.
  """

  def __init__(self) -> None:
    """Begins with no variable."""
    self.variables: dict[str, NDArray[Any]] = {}

  def constant(self, values: Any, dtype: str = "int32") -> Value:
    """An array of these numbers."""
    return np.array(values, dtype)

  def cast(self, x: Value, dtype: str) -> Value:
    """The same numbers as another type; floats are cut off."""
    return x.astype(dtype)

  def minimum(self, a: Value, b: Any) -> Value:
    """The lesser of two."""
    return np.minimum(a, b)

  def maximum(self, a: Value, b: Any) -> Value:
    """The greater of two."""
    return np.maximum(a, b)

  def select(self, truth: Value, a: Any, b: Any) -> Value:
    """Chooses a where the truth holds, else b."""
    kind = (a if isinstance(a, np.ndarray) else b).dtype
    return np.where(truth, a, b).astype(kind)

  def sum(self, x: Value, axis: int, keepdims: bool = False) -> Value:
    """Sums along an axis."""
    return x.sum(axis=axis, keepdims=keepdims, dtype=x.dtype)

  def max(self, x: Value, axis: int, keepdims: bool = False) -> Value:
    """The largest along an axis."""
    return x.max(axis=axis, keepdims=keepdims)

  def take(self, table: Value, index: Value) -> Value:
    """Rows of a table."""
    return table[index]

  def matmul(self, a: Value, b: Value) -> Value:
    """Multiplies a [M, K] and the transpose of b [N, K], both int8.

    Returns:
      int32 [M, N], exact.
    """
    # Products of int8 that are summed in float64 are exact.
    return (a.astype(np.float64) @ b.astype(np.float64).T).astype(np.int32)

  def transposed(self, x: Value) -> Value:
    """The transpose of a matrix."""
    return x.T

  def counted(self, count: int) -> Value:
    """The numbers from 0 to below a count, int32."""
    return np.arange(count, dtype=np.int32)

  def reshaped(self, x: Value, shape: Sequence[int]) -> Value:
    """The same numbers in another shape."""
    return x.reshape(shape)

  def filled(self, shape: Sequence[int], value: int, dtype: str) -> Value:
    """An array of one number."""
    return np.full(shape, value, dtype)

  def joined(self, parts: Sequence[Value]) -> Value:
    """Arrays one after the other along the first axis."""
    return np.concatenate(parts)

  def widened(self, x: Value, more: int) -> Value:
    """A matrix with more columns behind, of zeros."""
    return np.pad(x, [(0, 0), (0, more)])

  def with_row(self, x: Value, row: Value, slot: Value) -> Value:
    """Puts a row [1, ...] into a slot, int32 [1], of x [N, ...]."""
    changed = x.copy()
    changed[slot] = row
    return changed

  def call(
    self,
    name: str,
    function: Callable[..., Sequence[Value]],
    inputs: Sequence[Value],
  ) -> list[Value]:
    """Runs a function that is written once, however often it is called.

    Args:
      name: of it.
      function: (engine, *inputs) -> outputs.
      inputs: of the function.
    """
    del name
    return list(function(self, *inputs))

  def loop(
    self,
    name: str,
    steps: Value,
    state: Sequence[Value],
    kept: Sequence[Value],
    body: LoopBody,
  ) -> list[Value]:
    """Runs a body for step 0, 1, ... below `steps`.

    Args:
      name: of it.
      steps: int32 [1].
      state: what a step changes.
      kept: what steps read only.
      body: gives the state after a step.

    Returns:
      The state after the last step.
    """
    del name
    now = list(state)
    for step in range(int(steps[0])):
      now = list(body(self, np.array([step], np.int32), now, list(kept)))
    return now

  def read(self, variable: Variable) -> Value:
    """What a variable holds."""
    return self.variables[variable.name]

  def assign(self, variable: Variable, value: Value) -> None:
    """Gives a variable another content."""
    self.variables[variable.name] = value.astype(variable.dtype)


def within(e: Engine, x: Value, low: int, high: int) -> Value:
  """Clips an array to two numbers."""
  return e.minimum(e.maximum(x, low), high)
