"""Put a new root with one more metadata entry in front of a .tflite.

The old file stands behind it whole, so what is put in front can be cut off.
"""

from __future__ import annotations

import struct

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite import outside
from tflm_fg.tflite.packing import align
from tflm_fg.tflite.verify.structure import IDENTIFIER

# Slots of the Model table that a copied root carries over.
_VERSION, _BUFFERS, _METADATA, _SLOTS = 0, 4, 6, 8

_PLACED = 40
"""Bytes of a buffer's table with its place in the file, and of its vtable."""


def prepend_metadata(data: bytes, name: str, payload: bytes) -> bytes:
  """Adds a metadata entry without changing a byte of the file.

  Args:
    data: a verified .tflite whose constants are aligned.
    name: of the entry, ASCII.
    payload: its content.

  Returns:
    A head of a multiple of 16 bytes, then `data`. The payload's end, rounded
    up to 16, is where `data` begins.
  """
  root = schema.Model.GetRootAsModel(data, 0)
  buffers = [root.Buffers(i)._tab.Pos for i in range(root.BuffersLength())]
  places = {
    i: outside.place(root.Buffers(i))
    for i in range(len(buffers))
    if outside.place(root.Buffers(i))[1]
  }
  entries = [root.Metadata(i)._tab.Pos for i in range(root.MetadataLength())]

  # The head in order: root, two vectors, entry, buffer, buffers with a place in
  # the file, which is another one now, name, payload. A table stands behind its
  # vtable.
  root_at = 8 + align(4 + 2 * _SLOTS, 4)
  buffers_at = root_at + 4 + 4 * _SLOTS
  entries_at = buffers_at + 4 + 4 * (len(buffers) + 1)
  entry_at = entries_at + 4 + 4 * (len(entries) + 1) + 8
  buffer_at = entry_at + 12 + 8
  name_at = buffer_at + 8
  if places:
    placed_at = align(name_at, 8)
    name_at = placed_at + _PLACED * len(places)
  payload_at = align(name_at + 4 + len(name) + 1 + 4) - 4
  head = _Head(align(payload_at + 4 + len(payload)))

  head.offset(0, root_at)
  head.content[4:8] = IDENTIFIER
  head.root(root_at, root, {_BUFFERS: buffers_at, _METADATA: entries_at})
  tables = [head.size + b for b in buffers]
  for number, (buffer, (start, length)) in enumerate(places.items()):
    tables[buffer] = placed_at + _PLACED * number + 16
    head.placed(tables[buffer], head.size + start, length)
  head.vector(buffers_at, [*tables, buffer_at])
  head.vector(entries_at, [*(head.size + e for e in entries), entry_at])
  head.table(entry_at, (4, 8), 12)
  head.offset(entry_at + 4, name_at)
  head.put("I", entry_at + 8, len(buffers))
  head.table(buffer_at, (4, 0), 8)
  head.offset(buffer_at + 4, payload_at)
  head.text(name_at, name.encode())
  head.text(payload_at, payload)
  return bytes(head.content) + data


class _Head:
  """Bytes with FlatBuffers' few forms."""

  def __init__(self, size: int) -> None:
    self.size = size
    self.content = bytearray(size)

  def put(self, form: str, at: int, *values: int) -> None:
    struct.pack_into("<" + form, self.content, at, *values)

  def offset(self, at: int, target: int) -> None:
    self.put("I", at, target - at)

  def vector(self, at: int, targets: list[int]) -> None:
    self.put("I", at, len(targets))
    for i, target in enumerate(targets):
      self.offset(at + 4 + 4 * i, target)

  def text(self, at: int, content: bytes) -> None:
    self.put("I", at, len(content))
    self.content[at + 4 : at + 4 + len(content)] = content

  def table(self, at: int, fields: tuple[int, ...], size: int) -> None:
    """Writes a vtable in front of `at` and the table's link to it."""
    length = 4 + 2 * len(fields)
    self.put("HH", at - length, length, size)
    self.put(f"{len(fields)}H", at - length + 4, *fields)
    self.put("i", at, length)

  def placed(self, at: int, start: int, length: int) -> None:
    """Writes a buffer's table that says where its bytes lie in the file."""
    self.table(at, (0, 8, 16), 24)
    self.put("QQ", at + 8, start, length)

  def root(self, at: int, old: schema.Model, fresh: dict[int, int]) -> None:
    """Copies a Model table whose targets lie `size` further on."""
    table = old._tab
    fields = []
    for slot in range(_SLOTS):
      where, field = table.Offset(4 + 2 * slot), at + 4 + 4 * slot
      fields.append(4 + 4 * slot if where or slot in fresh else 0)
      if slot in fresh:
        self.offset(field, fresh[slot])
      elif slot == _VERSION:
        self.put("I", field, old.Version())
      elif where:
        self.offset(field, self.size + table.Indirect(table.Pos + where))
    self.table(at, tuple(fields), 4 + 4 * _SLOTS)
