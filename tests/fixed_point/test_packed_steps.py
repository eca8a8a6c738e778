"""Steps are written in few bytes and come back as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflm_fg.fixed_point.packed_steps import (
  ONE,
  by_form,
  bytes_of,
  masters_row,
  packed,
)

signs = st.lists(st.sampled_from([-ONE, 0, ONE]), min_size=1, max_size=5)
slopes = st.lists(st.integers(-(1 << 31), 1 << 31), min_size=1, max_size=5)


@given(st.lists(signs, max_size=40) | st.lists(slopes, max_size=9))
def test_steps_come_back_as_they_were(steps):
  rows, masters = by_form(packed(steps, 3))
  assert masters == []
  assert [row["slopes"] for row in rows] == steps
  assert [row["step"] for row in rows] == list(range(len(steps)))
  assert {row["phase"] for row in rows} <= {3}


def test_a_sign_takes_two_bits():
  (row,) = packed([[ONE], [-ONE], [0], [ONE]] * 300, 0)
  coded = bytes_of(row["signs"])
  assert len(coded) == 300
  assert set(coded) == {0b01_00_10_01}


def test_another_count_of_directions_begins_another_line():
  rows = packed([[ONE]] * 3 + [[ONE, 0]] * 2 + [[0]], 0)
  assert [row["directions"] for row in rows] == [1, 2, 1]
  assert [row["step"] for row in rows] == [0, 3, 5]


def line(**changes):
  (row,) = packed([[ONE], [0], [-ONE]], 0)
  return {**row, **changes}


@pytest.mark.parametrize(
  ("row", "words"),
  [
    (line(steps=0), "without its steps"),
    (line(steps=True), "without its steps"),
    (line(directions=None), "without its steps"),
    (line(directions=2.0), "without its steps"),
    (line(steps=1 << 31), "without its steps"),
    (line(steps=5), "1 bytes, need 2"),
    (line(directions=1 << 30), "need"),
    (line(signs="////"), "3 bytes, need 1"),
    (line(signs="/w=="), "a sign that is none"),
    (line(signs="kQ=="), "a sign that is none"),
    (line(signs="MQ=="), "a sign that is none"),
    (line(signs="no base64"), "base64"),
    (line(signs=7), "base64"),
    (line(signs="ä"), "base64"),
    (masters_row(0, 0, [b"ab"]), "masters of no step"),
  ],
)
def test_signs_that_are_none_are_refused(row, words):
  with pytest.raises(ValueError, match=words):
    by_form([row])
