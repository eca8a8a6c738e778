"""The tool that tortures finds what is wrong, and its faults are real ones."""

from __future__ import annotations

import os
import signal

import pytest

from tools import torture, torture_points, tortured
from tools.faults import Faults

OLD = {"report": b"old report", "model": b"old"}
NEW = {"report": b"new report", "model": b"new"}


@pytest.mark.parametrize(
  ("found", "fault"),
  [
    (OLD, ""),
    (NEW, ""),
    ({"model": b"old"}, ""),
    ({"report": b"new report", "model": b"old"}, ""),
    ({"report": b"old report", "model": b"new"}, "beside files of before"),
    ({"model": b"new"}, "beside files of before"),
    ({"report": b"old report"}, "gone or broken"),
    ({"report": b"old report", "model": b"ne"}, "gone or broken"),
    ({"report": b"new", "model": b"old"}, "or broken ones"),
  ],
)
def test_what_a_kill_may_not_leave_is_named(found, fault):
  said = tortured.mixed(found, OLD, NEW, "model")
  assert (fault in said) if fault else said == ""


def test_a_process_is_killed_within_a_write(tmp_path):
  def work():
    handle = os.open("file", os.O_WRONLY | os.O_CREAT)
    os.write(handle, b"abcdef")
    return 0

  whole = tortured.forked(tmp_path, work)
  assert (whole.status, whole.calls) == (0, 2)
  (tmp_path / "file").unlink()
  first = tortured.forked(tmp_path, work, Faults(kill_at=1))
  assert first.status == 128 + signal.SIGKILL
  assert not (tmp_path / "file").exists()
  second = tortured.forked(tmp_path, work, Faults(kill_at=2))
  assert second.status == 128 + signal.SIGKILL
  assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_disk_is_full_from_a_call_on(tmp_path):
  def work():
    handle = os.open("file", os.O_WRONLY | os.O_CREAT)
    assert os.write(handle, b"abcdef") == 3
    os.write(handle, b"def")
    return 0

  ended = tortured.forked(tmp_path, work, Faults(full_at=2))
  assert ended.status == 70
  assert "No space left on device" in ended.said
  assert (tmp_path / "file").read_bytes() == b"abc"


@pytest.mark.parametrize(
  "points", [torture_points.sets_of_files, torture_points.slots_of_a_device]
)
def test_sets_and_slots_hold_at_some_of_their_calls(points, tmp_path):
  every = list(points(tmp_path))
  assert len(every) > 10
  name, count, faults = torture.tortured("few", iter(every[::5]), print)
  assert (name, faults) == ("few", [])
  assert torture.table([(name, count, ["a fault"])]).splitlines()[-1] == (
    f"| few | {count} | {count - 1} |"
  )
