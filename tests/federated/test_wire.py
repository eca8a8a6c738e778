"""One content has one form in bytes, and damage is told by name."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflm_fg.federated import wire
from tflm_fg.types import TflmFgError

NUMBERS = st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=20)


def message(*fields, senders=("a",), samples=3):
  arrays = tuple(np.array(f, np.int64) for f in fields)
  return wire.Message(
    wire.SUMS, 7, b"p" * 16, b"m" * 16, samples, tuple(senders), arrays
  )


def read(content):
  return wire.read(content, "sums", [wire.SUMS])


@settings(max_examples=60)
@given(fields=st.lists(NUMBERS, max_size=4))
def test_what_is_written_is_read(fields):
  content = message(*fields).to_bytes()
  found = read(content)
  assert [f.tolist() for f in found.fields] == fields
  assert found.to_bytes() == content
  assert (found.number, found.samples, found.senders) == (7, 3, ("a",))


@pytest.mark.parametrize(
  ("numbers", "bits"),
  [
    ([], 0),
    ([0, 0], 0),
    ([-1], 1),
    ([1], 2),
    ([-2, 1], 2),
    ([127], 8),
    ([-128], 8),
    ([128], 9),
    ([-(1 << 63)], 64),
  ],
)
def test_numbers_take_as_few_bits_as_hold_them(numbers, bits):
  array = np.array(numbers, np.int64)
  assert wire.width(array) == bits
  raw = wire.packed(array, bits)
  assert len(raw) == (len(numbers) * bits + 7) // 8


def test_the_bytes_are_those_that_the_docs_tell():
  content = message([1, -2, 3], senders=("ab",), samples=5).to_bytes()
  head = b"FGFL" + bytes([1, 1]) + struct.pack("<HIIQ", 1, 7, 1, 5)
  assert content[: len(head)] == head
  rest = content[len(head) + 32 :]
  # 3 numbers of 3 bits: 001, 110, 011 from the lowest bit on.
  own = b"\x02ab" + struct.pack("<IB", 3, 3) + bytes([0b11110001, 0b0])
  assert rest[:-4] == own
  assert rest[-4:] == struct.pack("<I", zlib.crc32(content[:-4]))


@pytest.mark.parametrize("at", range(0, 80, 3))
def test_a_flipped_bit_is_told(at):
  content = bytearray(message([5, 9, -3], [1]).to_bytes())
  content[at % len(content)] ^= 4
  with pytest.raises(TflmFgError, match=r"^sums: "):
    read(bytes(content))


@pytest.mark.parametrize("left", [0, 3, 20, 60, -1])
def test_a_part_is_told(left):
  with pytest.raises(TflmFgError, match=r"^sums: .*have it sent again"):
    read(message([5, 9, -3]).to_bytes()[:left])


def resealed(content):
  """Bytes with a check sum that fits, as a careless writer gives them."""
  return content[:-4] + struct.pack("<I", zlib.crc32(content[:-4]))


@pytest.mark.parametrize(
  ("edit", "cause"),
  [
    (lambda c: c[:4] + b"\x02" + c[5:], "format 2, need 1"),
    (lambda c: c[:5] + b"\x02" + c[6:], "holds step, need sums"),
    (lambda c: c[:5] + b"\x63" + c[6:], "holds kind 99, need sums"),
    (lambda c: c[:-4] + b"\x00" + c[-4:], "1 bytes too many"),
    (lambda c: c[:-6] + c[-4:], "ends within a field"),
    (lambda c: c[:-7] + b"\x41" + c[-6:], "65 bits"),
    (lambda c: c[:-5] + b"\xf0" + c[-4:], "bits behind its end"),
    (lambda c: c[:57] + b"\x07" + c[58:], "printable"),
    (lambda c: c[:57] + b"\xff" + c[58:], "no UTF-8"),
  ],
)
def test_a_form_that_is_not_the_shortest_or_of_others_is_told(edit, cause):
  # 56 bytes, a name of one, a field of four bits a number at the end.
  content = message([5, -8, 1]).to_bytes()
  assert content[-7] == 4
  with pytest.raises(TflmFgError, match=cause):
    read(resealed(edit(content)))


def test_zeros_that_would_fill_the_memory_are_told():
  content = message(senders=("a",)).to_bytes()
  many = struct.pack("<IB", 1 << 24, 0)
  head = content[:12] + struct.pack("<I", 1000) + content[16:-4]
  with pytest.raises(TflmFgError, match="fields of 33554432 numbers"):
    read(resealed(head + 1000 * many + bytes(4)))


def test_a_field_of_more_bits_than_it_needs_is_told():
  content = message([1]).to_bytes()
  assert content[-6:-4] == b"\x02\x01"  # two bits of the number 1
  with pytest.raises(TflmFgError, match="7 bits a number that needs 2"):
    read(resealed(content[:-6] + b"\x07" + content[-5:]))


def test_senders_stand_in_order_and_once():
  for senders in (("b", "a"), ("a", "a")):
    with pytest.raises(TflmFgError, match="in order, each once"):
      read(message([1], senders=senders).to_bytes())


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines"])
def test_a_name_that_is_none_is_refused(name):
  with pytest.raises(TflmFgError, match="1 to 64 printable"):
    wire.checked_name(name)
