"""Read and write what fleets send: integers in as few bits as they need.

One format serves sums, masked sums and steps (docs/fleet.md has it byte by
byte). All numbers are little-endian, and one content has one form in bytes, so
that a SHA-256 of the bytes is one of the content.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from tflm_fg.types import Int64, TflmFgError

MAGIC, VERSION = b"FGFL", 1

SUMS, STEP, MASKED, REVEALED = 1, 2, 3, 4
KINDS = {
  SUMS: "sums",
  STEP: "step",
  MASKED: "masked sums",
  REVEALED: "revealed masks",
}

DIGEST = 16
"""Bytes of a SHA-256 that are sent."""

_HEAD = struct.Struct(f"<4sBBHIIQ{DIGEST}s{DIGEST}s")
_FIELD = struct.Struct("<IB")
_CRC = struct.Struct("<I")
_MOST_NUMBERS = 1 << 24
_LONGEST_NAME = 64

MOST_SENDERS = (1 << 16) - 1
"""Clients whose sums one message can hold."""


@dataclasses.dataclass(frozen=True)
class Message:
  """What a file or a transmission holds.

  Attributes:
    kind: one of `KINDS`.
    number: of the round, from 0.
    plan: the first 16 bytes of the plan's SHA-256.
    masters: the same of the masters: of sums those where they were taken, of a
      step those behind it.
    samples: how many it is about.
    senders: names of the clients, in order, each once.
    fields: int64 arrays [n] each.
  """

  kind: int
  number: int
  plan: bytes
  masters: bytes
  samples: int
  senders: tuple[str, ...]
  fields: tuple[Int64, ...]

  def to_bytes(self) -> bytes:
    """The message in its one form."""
    counts = len(self.senders), self.number, len(self.fields), self.samples
    parts = [
      _HEAD.pack(MAGIC, VERSION, self.kind, *counts, self.plan, self.masters)
    ]
    for sender in self.senders:
      name = sender.encode()
      parts.append(bytes([len(name)]) + name)
    for field in self.fields:
      bits = width(field)
      parts.append(_FIELD.pack(len(field), bits) + packed(field, bits))
    content = b"".join(parts)
    return content + _CRC.pack(zlib.crc32(content))


def read(content: bytes, name: str, kinds: Sequence[int]) -> Message:
  """Reads a message.

  Args:
    content: its bytes.
    name: what to call it in errors.
    kinds: which of `KINDS` may come.

  Raises:
    TflmFgError: if it is damaged, of another version, or of another kind.
  """
  cure = "have it sent again"
  if content[:4] != MAGIC[: len(content[:4])] or not content:
    raise TflmFgError(f"{name}: begins as no message of a fleet does; {cure}")
  if len(content) < _HEAD.size + _CRC.size:
    raise TflmFgError(f"{name}: {len(content)} bytes, cut off; {cure}")
  if content[4] != VERSION:
    raise TflmFgError(
      f"{name}: format {content[4]}, need {VERSION}; write it with the release "
      "that reads it"
    )
  body, (crc,) = content[: -_CRC.size], _CRC.unpack(content[-_CRC.size :])
  if zlib.crc32(body) != crc:
    raise TflmFgError(
      f"{name}: damaged or cut off, its check sum does not fit; {cure}"
    )
  _, _, kind, senders, number, fields, samples, plan, masters = (
    _HEAD.unpack_from(body)
  )
  if kind not in kinds:
    wanted = " or ".join(KINDS[k] for k in kinds)
    came = KINDS.get(kind, f"kind {kind}")
    raise TflmFgError(f"{name}: holds {came}, need {wanted}")
  rest = _Rest(body, _HEAD.size, name)
  names = tuple(rest.sender() for _ in range(senders))
  if list(names) != sorted(set(names)):
    raise TflmFgError(f"{name}: its senders are not in order, each once")
  arrays = tuple(rest.field() for _ in range(fields))
  if rest.at != len(body):
    raise TflmFgError(f"{name}: {len(body) - rest.at} bytes too many; {cure}")
  return Message(kind, number, plan, masters, samples, names, arrays)


@dataclasses.dataclass
class _Rest:
  """What is still to be read of a message whose check sum fits."""

  body: bytes
  at: int
  name: str
  numbers: int = 0

  def taken(self, size: int) -> bytes:
    """The next bytes."""
    found = self.body[self.at : self.at + size]
    if len(found) < size:
      raise TflmFgError(
        f"{self.name}: ends within a field; whoever wrote it counts wrongly"
      )
    self.at += size
    return found

  def sender(self) -> str:
    """The next name."""
    raw = self.taken(self.taken(1)[0])
    try:
      return checked_name(raw.decode())
    except UnicodeDecodeError:
      raise TflmFgError(f"{self.name}: a sender's name is no UTF-8") from None

  def field(self) -> Int64:
    """The next numbers."""
    count, bits = _FIELD.unpack(self.taken(_FIELD.size))
    self.numbers += count  # zeros take no bytes, and memory all the same
    if self.numbers > _MOST_NUMBERS or bits > 64:
      raise TflmFgError(
        f"{self.name}: fields of {self.numbers} numbers, the last of {bits} "
        f"bits, need at most {_MOST_NUMBERS} of 64"
      )
    raw = self.taken((count * bits + 7) // 8)
    found = unpacked(raw, count, bits)
    if width(found) != bits or packed(found, bits) != raw:
      raise TflmFgError(
        f"{self.name}: a field of {bits} bits a number that needs "
        f"{width(found)}, or with bits behind its end; need the shortest form"
      )
    return found


def checked_name(name: str) -> str:
  """A client's name, 1 to 64 bytes of printable UTF-8.

  Raises:
    TflmFgError: if it is none.
  """
  if not 0 < len(name.encode()) <= _LONGEST_NAME or not name.isprintable():
    raise TflmFgError(
      f"client {name!r}: need a name of 1 to {_LONGEST_NAME} printable bytes"
    )
  return name


def width(numbers: Int64) -> int:
  """The fewest bits that hold all numbers, two's complement; 0 for zeros."""
  if not numbers.any():
    return 0
  ends = int(numbers.max()), int(numbers.min())
  return 1 + max((e if e >= 0 else ~e).bit_length() for e in ends)


def packed(numbers: Int64, bits: int) -> bytes:
  """Numbers one behind the other, the lowest bit of the first one first."""
  if not bits:
    return b""
  raw = numbers.astype("<i8").view(np.uint8).reshape(-1, 8)
  each = np.unpackbits(raw, axis=1, bitorder="little")[:, :bits]
  return np.packbits(each.reshape(-1), bitorder="little").tobytes()


def unpacked(raw: bytes, count: int, bits: int) -> Int64:
  """Numbers that were packed: int64 [count]."""
  if not bits:
    return np.zeros(count, np.int64)
  flat = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
  each = flat[: count * bits].reshape(count, bits)
  sign = np.repeat(each[:, -1:], 64 - bits, axis=1)
  whole = np.packbits(np.hstack([each, sign]), axis=1, bitorder="little")
  return whole.reshape(-1).view("<i8").astype(np.int64)
