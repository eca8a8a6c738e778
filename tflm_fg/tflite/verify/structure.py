"""Check a .tflite's structure byte by byte before any engine reads it.

Engines trust the file: TFLM follows any offset, LiteRT divides by any stride.
`structure_fault` walks every table that they read; `verify.indices` then looks
at every index and size.
"""

from __future__ import annotations

import struct

from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"

CORRUPTED = "corrupted .tflite: {}; copy or convert it again"

_MOST_OVERLAP = 16
"""Tables and vectors may lie over each other, as equal names do, but not so
often that a small file becomes an enormous model: no more bytes are read than
so many times the file's."""

_LEAST_TABLE = 8
"""Bytes of the smallest table, with the offset that points to it."""

# A field is a scalar's size, "N" + size for a vector of scalars, "S" for a
# string, a table's name, or a list with a table's name for a vector of tables.
_Field = int | str | list[str]
_TABLES: dict[str, dict[int, _Field]] = {
  "Model": {
    0: 4,
    1: ["OperatorCode"],
    2: ["SubGraph"],
    3: "S",
    4: ["Buffer"],
    5: "N4",
    6: ["Metadata"],
    7: ["SignatureDef"],
  },
  "OperatorCode": {0: 1, 1: "S", 2: 4, 3: 4},
  "SubGraph": {
    0: ["Tensor"],
    1: "N4",
    2: "N4",
    3: ["Operator"],
    4: "S",
    5: 4,
  },
  "Tensor": {
    0: "N4",
    1: 1,
    2: 4,
    3: "S",
    4: "Quantization",
    5: 1,
    6: "Sparsity",
    7: "N4",
    8: 1,
  },
  "Quantization": {0: "N4", 1: "N4", 2: "N4", 3: "N8", 4: 1, 5: "Any", 6: 4},
  "Sparsity": {0: "N4", 1: "N4", 2: ["Any"]},
  "Operator": {
    0: 4,
    1: "N4",
    2: "N4",
    3: 1,
    4: "Any",
    5: "N1",
    6: 1,
    7: "N1",
    8: "N4",
    9: 8,
    10: 8,
    11: 1,
    12: "Any",
    13: 4,
  },
  "Buffer": {0: "N1", 1: 8, 2: 8},
  "Metadata": {0: "S", 1: 4},
  "SignatureDef": {0: ["TensorMap"], 1: ["TensorMap"], 2: "S", 4: 4},
  "TensorMap": {0: "S", 1: 4},
  "Any": {},
  "ReshapeOptions": {0: "N4"},
  "SqueezeOptions": {0: "N4"},
  "VarHandleOptions": {0: "S", 1: "S"},
  "BucketizeOptions": {0: "N4"},
  "FullyConnectedOptions": {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: "N1"},
}
_OPTION_TABLES = {
  getattr(schema.BuiltinOptions, name): name
  for name in _TABLES
  if name.endswith("Options")
}


def structure_fault(data: bytes) -> str:
  """The first fault of a file's tables and offsets; empty for none."""
  if not data:
    return "the file is empty; need a .tflite"
  if len(data) < 16 or data[4:8] != IDENTIFIER:
    return "no TFL3 identifier, this is not a .tflite file"
  try:
    walker = _Walker(data)
    walker.table("Model", walker.offset(0), 0)
  except (struct.error, IndexError, ValueError, TypeError) as fault:
    return CORRUPTED.format(fault)
  return ""


def flatbuffer_end(data: bytes) -> int:
  """The position behind the last byte that a sound file's tables reach."""
  walker = _Walker(data)
  walker.table("Model", walker.offset(0), 0)
  return walker.end


class _Walker:
  """Follows offsets, each checked against the file's end before it is read.

  Attributes:
    end: behind the last byte that was seen to belong to the flatbuffer.
  """

  def __init__(self, data: bytes) -> None:
    self._data = data
    self.end = 0
    self._left = _MOST_OVERLAP * len(data) + (1 << 16)

  def _read(self, form: str, at: int) -> int:
    if at < 0 or at + struct.calcsize(form) > len(self._data):
      raise ValueError(f"offset {at} is outside the file")
    self.end = max(self.end, at + struct.calcsize(form))
    return int(struct.unpack_from(form, self._data, at)[0])

  def offset(self, at: int) -> int:
    """The position that the unsigned offset stored at `at` points to."""
    distance = self._read("<I", at)
    if distance == 0 or at + distance + 4 > len(self._data):
      raise ValueError(f"offset at {at} points outside the file")
    return at + distance

  def table(self, kind: str, at: int, option_type: int) -> None:
    """Checks a table, its vtable and all that its known fields point to."""
    self._spend(_LEAST_TABLE)
    vtable = at - self._read("<i", at)
    vtable_bytes = self._read("<H", vtable)
    table_bytes = self._read("<H", vtable + 2)
    if vtable_bytes < 4 or vtable_bytes % 2 or table_bytes < 4:
      raise ValueError(f"{kind} table at {at} has a broken vtable")
    self._read("<B", vtable + vtable_bytes - 1)
    self._read("<B", at + table_bytes - 1)
    if kind == "Any":
      kind = _OPTION_TABLES.get(option_type, "Any")
    slots = range((vtable_bytes - 4) // 2)
    fields = [self._read("<H", vtable + 4 + 2 * slot) for slot in slots]
    for slot, where in enumerate(fields):
      if where:
        if where < 4 or where >= table_bytes:
          raise ValueError(
            f"{kind} field {slot} lies outside its table at {at}"
          )
        self._field(kind, slot, at, where, table_bytes, fields)

  def _field(
    self,
    kind: str,
    slot: int,
    at: int,
    where: int,
    table_bytes: int,
    fields: list[int],
  ) -> None:
    field = _TABLES[kind].get(slot, 1)
    size = field if isinstance(field, int) else 4
    if where + size > table_bytes:
      raise ValueError(f"{kind} field {slot} overruns its table at {at}")
    if isinstance(field, int):
      return
    target = self.offset(at + where)
    if isinstance(field, list):
      for i in range(self._vector(target, 4)):
        self.table(field[0], self.offset(target + 4 + 4 * i), 0)
    elif field == "S":
      self._read("<B", target + 4 + self._vector(target, 1))
    elif field.startswith("N"):
      self._vector(target, int(field[1:]))
    else:
      union = fields[slot - 1] if field == "Any" else 0
      first = kind == "Operator" and slot == 4 and union
      self.table(field, target, self._read("<B", at + union) if first else 0)

  def _vector(self, at: int, size: int) -> int:
    length = self._read("<I", at)
    if at + 4 + length * size > len(self._data):
      raise ValueError(f"vector of {length} at {at} runs over the file's end")
    self.end = max(self.end, at + 4 + length * size)
    self._spend(length * size)
    return length

  def _spend(self, count: int) -> None:
    """Counts bytes that are read, whatever else lies there."""
    self._left -= count
    if self._left < 0:
      raise ValueError("its tables lie over each other")
