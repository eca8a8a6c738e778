"""A device boots a whole model, whenever it loses power, hangs or is full."""

import os
import pathlib
import shutil

import pytest

from tests import power
from tflm_fg import files
from tflm_fg.slots import Slots
from tflm_fg.types import TflmFgError

OLD, NEW, NEWER = b"old model" * 20, b"new model" * 21, b"newer model" * 19


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
  """The simulation knows what was waited for; a real disk need not."""
  monkeypatch.setattr(os, "fsync", lambda handle: None)


def device(folder, *models, **options):
  """Slots with models that were confirmed, one after the other."""
  slots = Slots(folder, **options)
  for model in models:
    slots.commit(model)
    slots.confirm()
  return slots


def boots(slots):
  return slots.boot().model


@pytest.fixture
def folder(tmp_path):
  path = tmp_path / "slots"
  path.mkdir()
  return path


def laid_out(state, folder):
  """Makes a folder hold what a disk has kept."""
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  for name, content in state.items():
    (folder / name).write_bytes(content)


CHANGES = {
  "commit": lambda slots: slots.commit(NEWER),
  "boot": lambda slots: slots.boot(),
  "confirm": lambda slots: slots.confirm(),
  "revert": lambda slots: slots.revert(),
}


@pytest.mark.parametrize("trial", [False, True])
@pytest.mark.parametrize("change", list(CHANGES))
def test_power_lost_at_any_moment_leaves_a_whole_model(
  folder, tmp_path, monkeypatch, change, trial
):
  slots = device(folder, OLD, NEW)
  if trial:  # NEW is what a commit must keep; the other slot waits
    slots = device(folder, OLD)
    slots.commit(NEW)
  elif change == "revert":
    pytest.skip("nothing is on trial")
  with power.recorded(monkeypatch, folder) as disk:
    CHANGES[change](slots)
  after = tmp_path / "after"
  given, states = set(), list(disk.states())
  for state in states:
    laid_out(state, after)
    given.add(boots(Slots(after)))
    again = Slots(after)  # and the next commit finds its way
    again.commit(b"next")
    assert boots(again) == b"next"
    again.revert()
    assert boots(again) in (OLD, NEW, NEWER)
  may = {
    ("commit", False): {NEW, NEWER},
    ("commit", True): {OLD, NEWER, NEW},
    ("revert", True): {OLD, NEW},
    ("boot", True): {NEW},
    ("confirm", True): {NEW},
  }
  assert given == may.get((change, trial), {NEW})
  assert change != "commit" or len(states) > 10


def test_a_record_that_was_torn_in_place_costs_only_its_own_slot(folder):
  device(folder, OLD, NEW)
  for record in sorted(folder.glob("*.record")):
    whole = record.read_bytes()
    for torn in (b"", whole[:13], bytes(len(whole)), whole + b"x"):
      record.write_bytes(torn)
      assert boots(Slots(folder)) in (OLD, NEW)
    record.write_bytes(whole)
  assert boots(Slots(folder)) == NEW


def test_one_changed_bit_in_a_slot_boots_the_other(folder):
  device(folder, OLD, NEW)
  for name in ("slot1.tflite", "slot1.record"):
    whole = (folder / name).read_bytes()
    for at in range(0, 8 * len(whole), 7):
      changed = bytearray(whole)
      changed[at // 8] ^= 1 << at % 8
      (folder / name).write_bytes(changed)
      assert boots(Slots(folder)) == OLD
    (folder / name).write_bytes(whole)
  assert boots(Slots(folder)) == NEW


def test_a_model_that_is_not_confirmed_is_given_a_few_times(folder):
  slots = device(folder, OLD, tries=2)
  slots.commit(NEW)
  first, second, third = (Slots(folder, tries=2).boot() for _ in range(3))
  assert [b.model for b in (first, second, third)] == [NEW, NEW, OLD]
  assert [b.boots_left for b in (first, second, third)] == [1, 0, 0]
  assert [b.trial for b in (first, second, third)] == [True, True, False]
  assert pathlib.Path(third.path).read_bytes() == OLD


def test_a_confirmed_model_stays_and_a_reverted_one_is_gone(folder):
  slots = device(folder, OLD, tries=1)
  slots.commit(NEW)
  slots.revert()
  assert boots(slots) == OLD
  slots.commit(NEWER)
  slots.confirm()
  slots.confirm()  # changes nothing
  assert [boots(slots) for _ in range(3)] == [NEWER] * 3


def test_a_commit_never_overwrites_what_was_confirmed_last(folder):
  slots = device(folder, OLD)
  for model in (NEW, NEWER, b"newest"):
    slots.commit(model)
    assert boots(slots) == model
    found = {slots.path(slot) for slot in (0, 1)}
    assert OLD in {pathlib.Path(path).read_bytes() for path in found}
  slots.revert()
  assert boots(slots) == OLD


def test_the_first_model_falls_back_to_the_one_of_the_factory(tmp_path):
  shipped = tmp_path / "shipped.tflite"
  shipped.write_bytes(b"shipped")
  slots = Slots(tmp_path / "new/slots", factory=shipped, tries=1)
  booted = slots.boot()
  assert (booted.model, booted.path) == (b"shipped", str(shipped))
  assert (booted.slot, booted.trial) == (None, False)
  slots.commit(OLD)
  assert [boots(slots), boots(slots)] == [OLD, b"shipped"]
  slots.commit(NEW)
  slots.revert()
  assert boots(slots) == b"shipped"
  assert boots(Slots(tmp_path / "none", factory=b"raw")) == b"raw"


def test_a_device_with_one_model_gets_that_one(folder):
  slots = Slots(folder, tries=1)
  slots.commit(OLD)
  assert [boots(slots) for _ in range(3)] == [OLD] * 3


def test_sequence_numbers_wrap_around(folder, monkeypatch):
  slots = device(folder, OLD)
  record = slots._record(0)
  last = type(record)(2**32 - 1, *[getattr(record, n) for n in (
    "size", "content", "state", "boots")])  # fmt: skip
  slots._write(0, last)
  slots.commit(NEW)
  assert slots._record(1).sequence == 0
  assert boots(slots) == NEW


def test_a_trial_that_cannot_be_counted_is_not_begun(folder, monkeypatch):
  slots = device(folder, OLD)
  slots.commit(NEW)

  def full(*unused):
    raise TflmFgError("No space left on device")

  monkeypatch.setattr(files, "write_atomically", full)
  assert boots(slots) == OLD


def test_what_cannot_be_done_is_refused_in_one_line(folder):
  slots = Slots(folder)
  for call, text in (
    (slots.boot, "neither slot holds a whole model; commit one"),
    (slots.revert, "no model is on trial"),
    (lambda: slots.commit(b""), "the model is empty"),
    (lambda: Slots(folder, tries=0), "tries=0"),
    (lambda: Slots(folder, tries="3"), "tries='3'"),
  ):
    with pytest.raises(TflmFgError, match=text):
      call()
  slots.commit(OLD)
  with pytest.raises(TflmFgError, match="no model but the one on trial"):
    slots.revert()


def test_a_commit_that_fails_leaves_what_boots(folder, monkeypatch):
  slots = device(folder, OLD)

  def full(*unused):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "write", full)
  with pytest.raises(TflmFgError, match=r"slot1\.tflite.*No space left"):
    slots.commit(NEW)
  assert boots(Slots(folder)) == OLD
  assert not list(folder.glob(".*"))
