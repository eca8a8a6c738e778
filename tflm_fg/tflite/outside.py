"""What a .tflite holds outside its flatbuffer: constants, and bytes behind it.

Writers of large models put constants behind the flatbuffer; each buffer says
where in the file they are (`Buffer.offset` and `size`). Behind all of it other
tools append bytes of their own, such as the zip archive of the classes' names
that the TensorFlow Lite metadata library writes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_NO_PLACE = 1
"""Offsets up to this one stand for none, as engines have it."""

MOST_BYTES = (1 << 31) - (1 << 24)
"""Constants that a flatbuffer holds beside a graph; offsets have 31 bits."""

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


def room_fault(model: schema.ModelT) -> str:
  """Why an unpacked model's constants do not fit inside; empty if they do."""
  held = sum(len(b.data) for b in model.buffers or [] if b.data is not None)
  if held <= MOST_BYTES:
    return ""
  return (
    f"{held} bytes of constants do not fit into one flatbuffer of at most "
    f"{MOST_BYTES}, and what was asked for writes the file anew with all of "
    "them inside; choose what changes no graph, as --trainable=head"
  )


def with_tail(packed: bytes, tail: bytes) -> bytes:
  """Puts what stood behind a file behind its successor.

  Args:
    packed: the file written anew, with all constants inside.
    tail: what stood behind the file from before.

  Returns:
    The new file, and from a boundary of 16 bytes on what stood behind the old
    one, byte for byte. Of a zip archive that counts offsets from the file's
    start its directory counts them from the new one's. Nothing but zeros is
    dropped.
  """
  if not any(tail):
    return packed
  packed += bytes(-len(packed) % 16)
  found = _archive(tail)
  if found is None or found.counts_from_itself:
    return packed + tail
  # Other bytes may have come in front before, so its own word is not taken.
  return packed + _shifted(tail, found, len(packed) + found.lead)


def without_front(data: bytes, front: int) -> bytes:
  """A file whose front was cut off, with an archive behind it that knows it.

  An archive that was appended before the front came has offsets that fit the
  file now, and stays. One that was appended since counts the front too.

  Args:
    data: the file without its front.
    front: bytes that were cut off.
  """
  found = _archive(data)
  if found is None or found.lead != -front:
    return data
  return _shifted(data, found, -front)


class _Archive(NamedTuple):
  """A zip archive at the end of some bytes.

  Attributes:
    end: where its last record lies.
    at: where its directory lies.
    entries: of the directory.
    lead: from where it says that its directory lies to where it does.
  """

  end: int
  at: int
  entries: int
  lead: int

  @property
  def counts_from_itself(self) -> bool:
    """Whether its offsets do not reach in front of the bytes it ends."""
    return self.lead >= 0


def _archive(data: bytes) -> _Archive | None:
  """The archive that some bytes end in, if any.

  One of the large form has other records in front of the last one, where this
  looks for the directory, so it is not found.
  """
  end = data.rfind(_END)
  if end < 0 or end + 22 > len(data):
    return None
  count, size, offset = struct.unpack_from("<HII", data, end + 10)
  at = end - size
  if at < 0 or (count and data[at : at + 4] != _ENTRY):
    return None
  return _Archive(end, at, count, at - offset)


def _shifted(data: bytes, found: _Archive, by: int) -> bytes:
  """The bytes with an archive's offsets moved; as they are if one is broken."""
  at, out = found.at, bytearray(data)
  try:
    (offset,) = struct.unpack_from("<I", data, found.end + 16)
    struct.pack_into("<I", out, found.end + 16, offset + by)
    for _ in range(found.entries):
      if data[at : at + 4] != _ENTRY:
        return data
      lengths = struct.unpack_from("<HHH", data, at + 28)
      (local,) = struct.unpack_from("<I", data, at + 42)
      struct.pack_into("<I", out, at + 42, local + by)
      at += 46 + sum(lengths)
  except struct.error:  # no archive after all
    return data
  return bytes(out)
