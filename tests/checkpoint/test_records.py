"""What is kept comes back as it was, whatever happened to its file since."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from tests.refusals import refused
from tflm_fg.checkpoint import Kept, Memo, address, record_file, taken_steps
from tflm_fg.checkpoint.record_file import RecordFile
from tflm_fg.checkpoint.taken_steps import LOT, Ran, Step, TakenSteps

ONE, TWO, THREE = (address(name) for name in ("one", "two", "three"))


@pytest.mark.parametrize(
  "array",
  [
    np.array([[-128, 127]], np.int8),
    np.array([-(1 << 31), 1 << 31], np.int64),
    np.zeros(0, np.int32),
    np.array(0.1),
    np.arange(1 << 15).astype(np.int32),  # too long to be packed
    np.array([1, 2], ">i4"),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
  ],
  ids=str,
)
def test_arrays_come_back_as_they_were(array):
  again = Kept.from_text(Kept({"a": array}).to_text()).arrays["a"]
  np.testing.assert_array_equal(again, array)
  assert again.shape == array.shape
  assert again.dtype == array.dtype.newbyteorder("=")
  assert again.flags.writeable


def test_numbers_come_back_to_the_last_bit():
  values = {"loss": 0.1 + 0.2, "total": 1 << 70, "mae": None, "n": [1, 2.5]}
  assert Kept.from_text(Kept(values=values).to_text()).values == values
  told = Kept(values={"n": np.int64(3), "x": np.float64(0.1)})
  assert Kept.from_text(told.to_text()).values == {"n": 3, "x": 0.1}


@pytest.mark.parametrize("text", ["", "{}", '{"arrays":{"a":[1]},"values":0}'])
def test_what_is_no_result_is_said_to_be_none(text):
  with pytest.raises(ValueError):
    Kept.from_text(text)


def test_an_address_tells_all_apart_that_a_result_depends_on():
  a = np.arange(4, dtype=np.int32)
  parts = [
    (),
    (1,),
    ("1",),
    (b"1",),
    (a,),
    (a.astype(np.int64),),
    (a.reshape(2, 2),),
    (a[::-1],),
    (a[:2], a[2:]),
    ({"seed": 1},),
    ({"seed": 2},),
  ]
  found = [address("steps", *p) for p in parts] + [address("head")]
  assert len(set(found)) == len(found)
  assert {len(one) for one in found} == {64}


def opened(tmp_path):
  return RecordFile(str(tmp_path / "work.log"), "c")


def test_records_are_there_when_the_file_is_opened_again(tmp_path):
  file = opened(tmp_path)
  file.append(ONE, "first", firmly=True)
  file.append(TWO, "zweiter, größer", firmly=False)
  assert file.read(ONE) == "first"
  file.close()
  file = opened(tmp_path)
  assert (ONE in file, TWO in file, THREE in file) == (True, True, False)
  assert (len(file), file.cut_bytes) == (2, 0)
  assert file.read(TWO) == "zweiter, größer"


@pytest.mark.parametrize("left", [1, 30, 75, 79])
def test_a_torn_record_is_cut_off_and_the_next_one_is_whole(left, tmp_path):
  file = opened(tmp_path)
  file.append(ONE, "first", firmly=False)
  file.close()
  path = tmp_path / "work.log"
  whole = path.read_bytes()
  assert len(whole) > left
  path.write_bytes(whole + whole.replace(b"first", b"other")[:left])
  file = opened(tmp_path)
  assert (len(file), file.cut_bytes) == (1, left)
  assert path.read_bytes() == whole
  file.append(TWO, "second", firmly=False)
  file.close()
  file = opened(tmp_path)
  assert (file.read(ONE), file.read(TWO)) == ("first", "second")


def test_a_record_that_could_not_be_written_leaves_no_part(
  tmp_path, monkeypatch
):
  file = opened(tmp_path)
  file.append(ONE, "first", firmly=False)
  whole, write = (tmp_path / "work.log").read_bytes(), os.write

  def full(handle, data):
    if len(data) < 50:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(handle, data[: len(data) - 40])

  monkeypatch.setattr(record_file.os, "write", full)
  refused(lambda: file.append(TWO, "second", firmly=True), "c: ", "No space")
  assert TWO not in file
  monkeypatch.setattr(record_file.os, "write", write)
  file.append(THREE, "third", firmly=True)
  assert file.read(THREE) == "third"
  content = (tmp_path / "work.log").read_bytes()
  assert content.startswith(whole)
  assert content.count(b"\n") == 2


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
  (tmp_path / "file").write_bytes(b"")
  path = str(tmp_path / "file" / "work.log")
  refused(lambda: RecordFile(path, "c"), "c: ", "cannot be written")


@pytest.mark.parametrize("diary", [b"my own diary", b"0" * 9, b"0" * 99])
def test_a_file_without_line_breaks_that_is_not_ours_is_left_alone(
  diary, tmp_path
):
  path = tmp_path / "work.log"
  path.write_bytes(diary)
  refused(lambda: opened(tmp_path), "c: ", "something else", "damaged")
  assert path.read_bytes() == diary


@pytest.mark.parametrize("lost", [b"", b"\0\0\0"])
def test_a_first_record_is_cut_off_wherever_it_is_torn(lost, tmp_path):
  file = opened(tmp_path)
  file.append(ONE, "first", firmly=False)
  file.close()
  path = tmp_path / "work.log"
  whole = path.read_bytes()
  for left in range(len(whole)):
    path.write_bytes(whole[:left] + lost)
    file = opened(tmp_path)
    assert (len(file), file.cut_bytes) == (0, left + len(lost))
    file.close()


class Kepts(Memo):
  """Keeps in memory, and counts what must be on the disk."""

  keeps = True

  def __init__(self):
    self.kept, self.firm = {}, 0

  def find(self, address):
    return self.kept.get(address)

  def keep(self, address, kept, firmly=False):
    assert address not in self.kept
    self.kept[address] = Kept.from_text(kept.to_text())
    self.firm += firmly


def step_of(number, size):
  numbers = np.arange(size, dtype=np.int64) + number
  return Step(numbers, numbers[:2], Ran(2, 2 * size))


def test_steps_are_kept_lot_by_lot_and_come_back_with_their_counts():
  memo, sizes = Kepts(), [1] * 20 + [2] * 20  # directions may grow
  taken = TakenSteps(memo, "a phase")
  for number, size in enumerate(sizes):
    taken.keep_step(step_of(number, size))
    if number == 18:
      taken.keep_validation(19, {"loss": 0.5, "total": 3}, Ran(1, 9))
  assert len(memo.kept) == 3  # 16 steps, 3 and a validation, 16 steps
  assert memo.firm == 1
  taken.end()
  assert (len(memo.kept), memo.firm) == (4, 2)
  again = TakenSteps(memo, "a phase")
  for number, size in enumerate(sizes):
    found, want = again.step(number), step_of(number, size)
    np.testing.assert_array_equal(found.slopes, want.slopes)
    np.testing.assert_array_equal(found.losses, want.losses)
    assert found.slopes.dtype == np.int64
    assert found.ran == want.ran
  assert again.step(len(sizes)) is None
  assert again.validation(19) == ({"loss": 0.5, "total": 3}, Ran(1, 9))
  assert again.validation(20) is None
  assert TakenSteps(memo, "another").step(0) is None


def test_slopes_of_64_bits_come_back():
  memo = Kepts()
  taken = TakenSteps(memo, "a phase")
  wide = Step(np.array([1 << 31, -5]), np.array([1 << 50]), Ran(1, 1))
  taken.keep_step(wide)
  taken.end()
  found = TakenSteps(memo, "a phase").step(0)
  np.testing.assert_array_equal(found.slopes, wide.slopes)
  np.testing.assert_array_equal(found.losses, wide.losses)


def test_of_very_many_slopes_the_first_are_kept(monkeypatch):
  monkeypatch.setattr(taken_steps, "MOST_NUMBERS", 100)
  memo = Kepts()
  taken = TakenSteps(memo, "a phase")
  for number in range(3 * LOT):
    taken.keep_step(step_of(number, 5))
  taken.keep_validation(3 * LOT, {"loss": 0.5}, Ran(1, 1))
  taken.end()
  again = TakenSteps(memo, "a phase")
  assert again.step(20) is not None
  assert again.step(21) is None
  assert again.validation(3 * LOT) is None
