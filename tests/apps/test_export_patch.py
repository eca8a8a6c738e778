"""What changed in a .tflite, for ten lines in any language to apply."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.export import patch
from tflm_fg.types import TflmFgError

BYTES = st.binary(max_size=200)


def pair(seed=0, inserted=b""):
  """A file, and one with two runs of bytes changed and others put in."""
  random = np.random.default_rng(seed)
  base = random.bytes(3000)
  changed = base[:300] + random.bytes(20) + base[320:1000]
  changed += random.bytes(100) + base[1100:]
  return base, changed[:2000] + inserted + changed[2000:]


@given(BYTES, BYTES, BYTES, BYTES)
@settings(max_examples=60, deadline=None)
def test_a_patch_makes_the_result_of_the_base(start, old, new, end):
  base, result = start * 3 + old + end, start * 3 + new + end
  made = patch.make(base, result)
  assert patch.apply(base, made) == result


def test_a_head_is_its_own_bytes_and_little_more():
  base, result = pair()
  assert len(patch.make(base, result)) <= 120 + 20 + 3 * 12


def test_bytes_that_were_put_in_move_the_others_and_cost_little():
  base, result = pair(inserted=b"x" * 50)
  assert len(patch.make(base, result)) <= 170 + 20 + 4 * 12


def test_files_of_one_size_are_patched_in_place():
  base, result = pair()
  made, at, place = patch.make(base, result), patch.HEAD.size, 0
  while at < len(made):
    start, kept, fresh = patch.PART.unpack_from(made, at)
    assert start == place
    place, at = place + kept + fresh, at + patch.PART.size + fresh


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_changed_bit_is_refused_or_changes_nothing(byte, bit):
  base, result = pair(inserted=b"some")
  made = bytearray(patch.make(base, result))
  made[byte % len(made)] ^= 1 << bit
  with contextlib.suppress(TflmFgError):
    assert patch.apply(base, bytes(made)) == result


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_patch_that_was_cut_off_is_refused(length):
  base, result = pair(inserted=b"some")
  made = patch.make(base, result)
  with pytest.raises(TflmFgError, match=r"no patch|damaged"):
    patch.apply(base, made[: length % len(made)])


def test_a_patch_of_another_file_is_refused_with_both_sums():
  base, result = pair()
  made = patch.make(base, result)
  with pytest.raises(TflmFgError, match="of 3000 bytes with the CRC-32"):
    patch.apply(result, made, "p.bin")


def test_what_is_no_patch_is_refused_by_its_name():
  with pytest.raises(TflmFgError, match=r"p\.bin: no patch"):
    patch.apply(b"", b"TFL3" * 10, "p.bin")
