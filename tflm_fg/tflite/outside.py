"""What a .tflite holds outside its flatbuffer: constants, and bytes behind it.

Writers of large models put constants behind the flatbuffer; each buffer says
where in the file they are (`Buffer.offset` and `size`). Behind all of it other
tools append bytes of their own, such as the zip archive of the classes' names
that the TensorFlow Lite metadata library writes.
"""

from __future__ import annotations

import struct

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_NO_PLACE = 1
"""Offsets up to this one stand for none, as engines have it."""

_END, _ENTRY = b"PK\5\6", b"PK\1\2"
"""How a zip archive's last record and its directory's records begin."""


def place(buffer: schema.Buffer) -> tuple[int, int]:
  """Start and length of the bytes that a buffer has outside; (0, 0) if none."""
  start, length = int(buffer.Offset()), int(buffer.Size())
  if buffer.DataLength() or start <= _NO_PLACE or not length:
    return 0, 0
  return start, length


def holds_constants(data: bytes) -> bool:
  """Whether constants of a sound file lie outside its flatbuffer."""
  root = schema.Model.GetRootAsModel(data, 0)
  return any(place(root.Buffers(i))[1] for i in range(root.BuffersLength()))


def take_in(model: schema.ModelT, data: bytes) -> None:
  """Lets an unpacked model hold the constants that lie outside.

  Args:
    model: unpacked from `data`, edited: no buffer has a place any more.
    data: the file.

  Raises:
    ValueError: if a buffer reaches over the file's end.
  """
  root = schema.Model.GetRootAsModel(data, 0)
  for number, buffer in enumerate(model.buffers or []):
    start, length = place(root.Buffers(number))
    if not length:
      continue
    if start + length > len(data):
      raise ValueError(
        f"buffer {number} of {length} bytes at {start} reaches over the file's "
        f"{len(data)} bytes"
      )
    buffer.data = np.frombuffer(data, np.uint8, length, start)
    buffer.offset = buffer.size = 0


def with_tail(packed: bytes, tail: bytes) -> bytes:
  """Puts what stood behind a file behind its successor.

  Args:
    packed: the file written anew, with all constants inside.
    tail: what stood behind the file from before.

  Returns:
    The new file, and from a boundary of 16 bytes on what stood behind the old
    one. A zip archive's offsets are those of its new place. Nothing but zeros
    is dropped.
  """
  if not any(tail):
    return packed
  packed += bytes(-len(packed) % 16)
  return packed + _moved_zip(tail, len(packed))


def _moved_zip(tail: bytes, place: int) -> bytes:
  """A zip archive's bytes with its offsets counted from a file's start.

  Args:
    tail: bytes that may end in an archive; others come back as they are.
    place: where they will stand in the file.
  """
  end = tail.rfind(_END)
  if end < 0 or end + 22 > len(tail):
    return tail
  count, size, offset = struct.unpack_from("<HII", tail, end + 10)
  at = end - size
  by = place + at - offset  # other bytes may have come in front before
  out = bytearray(tail)
  try:
    struct.pack_into("<I", out, end + 16, offset + by)
    for _ in range(count):
      if at < 0 or tail[at : at + 4] != _ENTRY:
        return tail
      lengths = struct.unpack_from("<HHH", tail, at + 28)
      (local,) = struct.unpack_from("<I", tail, at + 42)
      struct.pack_into("<I", out, at + 42, local + by)
      at += 46 + sum(lengths)
  except struct.error:  # no archive after all, or one of more than 4 GB
    return tail
  return bytes(out)
