"""A tensor of a graph that is being written."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
  """A tensor of a graph; arithmetic with it appends operators.

  Attributes:
    graph: that it is of.
    number: of the tensor.
    shape: of its content.
    dtype: of its content, a name of the schema's types in lower case.
  """

  graph: Any = dataclasses.field(repr=False)
  number: int
  shape: tuple[int, ...]
  dtype: str

  def __add__(self, other: Any) -> Value:
    return self.graph.pair("ADD", self, other)

  def __sub__(self, other: Any) -> Value:
    return self.graph.pair("SUB", self, other)

  def __rsub__(self, other: Any) -> Value:
    return self.graph.pair("SUB", other, self)

  def __mul__(self, other: Any) -> Value:
    return self.graph.pair("MUL", self, other)

  def __floordiv__(self, other: Any) -> Value:
    return self.graph.pair("FLOOR_DIV", self, other)

  def __rfloordiv__(self, other: Any) -> Value:
    return self.graph.pair("FLOOR_DIV", other, self)

  def __truediv__(self, other: Any) -> Value:
    return self.graph.pair("DIV", self, other)

  def __mod__(self, other: Any) -> Value:
    return self.graph.pair("FLOOR_MOD", self, other)

  def __rshift__(self, other: Any) -> Value:
    return self.graph.pair("RIGHT_SHIFT", self, other)

  def __xor__(self, other: Any) -> Value:
    return self.graph.pair("BITWISE_XOR", self, other)

  def __eq__(self, other: Any) -> Value:  # type: ignore[override]
    return self.graph.pair("EQUAL", self, other, "bool")

  def __lt__(self, other: Any) -> Value:
    return self.graph.pair("LESS", self, other, "bool")

  def __ge__(self, other: Any) -> Value:
    return self.graph.pair("GREATER_EQUAL", self, other, "bool")

  def __and__(self, other: Value) -> Value:
    return self.graph.pair("LOGICAL_AND", self, other, "bool")

  __radd__, __rmul__ = __add__, __mul__
