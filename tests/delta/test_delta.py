"""A delta makes its result of its base, or is refused in one line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflm_fg import delta
from tflm_fg.types import TflmFgError

pytest.importorskip("cbor2", reason="needs the extra delta")


def random_bytes(count, seed=0):
  return np.random.default_rng(seed).integers(0, 256, count, np.uint8).tobytes()


BASE = random_bytes(4000)
RESULT = BASE[:1000] + random_bytes(300, 1) + BASE[1300:]


def refused(call, text):
  with pytest.raises(TflmFgError, match=text) as caught:
    call()
  assert "\n" not in str(caught.value)


EDITS = st.lists(
  st.tuples(
    st.sampled_from(["put", "insert", "cut", "move"]),
    st.integers(0, 900),
    st.integers(0, 200),
    st.integers(0, 255),
  ),
  max_size=6,
)


def edited(data, edits):
  """A file after some changes in place, and some that move what is behind."""
  for kind, at, count, seed in edits:
    new = random_bytes(count, seed)
    if kind == "put":
      data = data[:at] + new + data[at + count :]
    elif kind == "insert":
      data = data[:at] + new + data[at:]
    elif kind == "cut":
      data = data[:at] + data[at + count :]
    else:
      data = data[at:] + data[:at]
  return data


@settings(max_examples=60)
@given(st.binary(max_size=40), EDITS, st.booleans())
def test_a_delta_makes_its_result_of_its_base(head, edits, zeros):
  base = head + (bytes(900) if zeros else random_bytes(900))
  result = edited(base, edits)
  assert delta.apply(delta.make(base, result), base) == result
  assert delta.apply(delta.make(result, base), result) == base


@settings(max_examples=60)
@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_delta_makes_any_file_of_any_other(base, result):
  assert delta.apply(delta.make(base, result), base) == result


def test_the_same_two_files_give_the_same_delta():
  assert delta.make(BASE, RESULT) == delta.make(BASE, RESULT)


def test_what_moved_is_copied_and_not_sent():
  moved = BASE[2000:] + random_bytes(50, 2) + BASE[:2000]
  assert len(delta.make(BASE, moved)) < 300
  assert delta.apply(delta.make(BASE, moved), BASE) == moved


def test_what_changed_between_two_places_that_moved_alike_is_no_new_piece():
  small = np.frombuffer(BASE, np.uint8).copy()
  small[1000:1600] += np.random.default_rng(1).integers(0, 3, 600, np.uint8)
  moved = random_bytes(50, 2) + small.tobytes()
  # 600 numbers of three values: less than two bits each.
  assert len(delta.make(BASE, moved)) < 450


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=80), st.data(), st.integers(1, 9))
def test_changes_written_over_the_base_give_the_result(base, data, join):
  size = len(base)
  result = data.draw(st.binary(min_size=size, max_size=size))
  made = bytearray(base)
  by_now = -1
  for at, new in delta.changes(base, result, join):
    assert at - by_now >= join or by_now < 0
    made[at : at + len(new)] = new
    by_now = at + len(new)
    assert new[0] != base[at] and new[-1] != base[by_now - 1]
  assert bytes(made) == result


def test_changes_of_files_of_two_lengths_are_refused():
  refused(lambda: delta.changes(BASE, BASE + b"x"), "4000 bytes.*4001.*delta")


def test_runs_that_are_close_become_one():
  base, result = b"aaaaaaaa", b"baabaaab"
  assert delta.changes(base, result) == [(0, b"b"), (3, b"b"), (7, b"b")]
  assert delta.changes(base, result, 3) == [(0, b"baab"), (7, b"b")]
  assert delta.changes(base, result, 4) == [(0, b"baabaaab")]
  assert delta.changes(base, base) == []
