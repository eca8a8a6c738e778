"""What server and devices say to each other, whatever carries it.

A message is a record: names with numbers, texts, bytes or lists of these, as
Flower's ConfigRecord holds them and as a dictionary does.

  ask        down                                   up
  join       plan                                   name, have
  sums       from, steps, round, position, clients  name, have, sums
  keys       from, steps, round                     name, have, key
  masked     from, steps, round, position, clients, name, have, masked
             names, keys
  reveal     from, steps, round, answered           name, have, revealed
  masters    from, steps, round                     name, have, masters

`from` is the number of the first step in `steps`, and `have` how many steps a
device took; -1 if it knows no plan, which is sent to it then. `round` counts
how often sums were asked for, and `position` is the device's place among
`clients` devices. A device that has fewer than `from` sends `have` alone, and
is sent what is missing. One that cannot answer sends `fault`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from tflm_fg.types import TflmFgError

JOIN, SUMS, MASTERS = "join", "sums", "masters"
KEYS, MASKED, REVEAL = "keys", "masked", "reveal"
"""What a server asks for."""

Record = dict[str, Any]
Records = Mapping[int, Record]
"""A record a node, by the transport's number of it."""

Exchange = Generator[Records, Records, Any]
"""Yields what nodes are sent; is sent what those answered who did."""


def content_of(record: Mapping[str, Any], key: str, name: str) -> bytes:
  """Bytes that a device sent; a number would be read as so many zeros.

  Args:
    record: its answer.
    key: what they are.
    name: of the device.

  Raises:
    TflmFgError: if they are missing, or no bytes.
  """
  found = record.get(key)
  if not isinstance(found, bytes):
    raise TflmFgError(
      f"client {name}: sent no {key}; give it this release of tflm-fg"
    )
  return found


def size(record: Mapping[str, Any]) -> int:
  """Bytes of a record's values: what it takes beside a transport's own."""
  return sum(map(_size, record.values()))


def _size(value: Any) -> int:
  if isinstance(value, bytes):
    return len(value)
  if isinstance(value, str):
    return len(value.encode())
  return sum(map(_size, value)) if isinstance(value, Sequence) else 8
