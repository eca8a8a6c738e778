"""Write a model of the schema's own classes as the bytes of a .tflite."""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

ALIGNMENT = 16
"""Constants start on this boundary: some microcontrollers fault otherwise."""


def align(position: int, to: int = ALIGNMENT) -> int:
  """The next position on a boundary."""
  return -(-position // to) * to


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
  """Starts every byte vector, and so every constant, on 16 bytes."""

  def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802,N803
    if elemSize == 1:
      alignment = ALIGNMENT
    return super().StartVector(elemSize, numElems, alignment)


def pack(model: schema.ModelT) -> bytes:
  """Writes a model with every constant aligned to 16 bytes."""
  builder = _AlignedBuilder(1 << 16)
  builder.Finish(model.Pack(builder), b"TFL3")
  return bytes(builder.Output())
