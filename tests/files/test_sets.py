"""Files that belong together appear together, wherever a process ends."""

import errno
import hashlib
import json
import os
import pathlib
import signal
import time

import pytest

from apps import outputs
from tests.files.killing import another_process, failing_at, killed_at
from tflm_fg import files
from tflm_fg.files import temporaries, writing
from tflm_fg.types import TflmFgError

NAMES = ("report.json", "curves/page.html", "model.tflite")
OLD = {name: f"old {name}".encode() for name in NAMES}
NEW = {name: f"new {name}".encode() for name in NAMES}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
  """A disk that is never waited for: no power is lost here."""
  monkeypatch.setattr(os, "fsync", lambda handle: None)


def write(folder, contents):
  files.write_set(
    {str(folder / name): content for name, content in contents.items()},
    folders=[str(folder / "curves")],
  )


def found(folder):
  """All files that are there, with their bytes."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def in_place(folder):
  """The same without those that are unfinished."""
  return {k: v for k, v in found(folder).items() if ".tflm_fg-" not in k}


def told_apart(there, old):
  """Whether what a reader may find says nothing wrong."""
  others = {there[name] for name in NAMES[:-1] if name in there}
  if there.get("model.tflite") == NEW["model.tflite"]:
    return others == {NEW[name] for name in NAMES[:-1]}
  # The old model, or none: what stands beside it is old, or all of it is new.
  assert there.get("model.tflite") == old.get("model.tflite")
  return others <= set(old.values()) or others <= set(NEW.values())


def after_a_next_run(folder):
  """What is there when somebody has written to both folders."""
  for inner in filter(pathlib.Path.is_dir, (folder, folder / "curves")):
    files.write_atomically(str(inner / "other"), b"")
    (inner / "other").unlink()
  return found(folder)


@pytest.mark.parametrize("old", [{}, OLD, {"model.tflite": b"old"}])
def test_killed_at_any_call_the_next_run_finds_all_of_a_set_or_none(
  tmp_path, monkeypatch, old
):
  outcomes = []
  for number in range(1000):
    folder = tmp_path / str(number)
    folder.mkdir()
    if old:
      write(folder, old)
    with killed_at(monkeypatch, number) as count:
      write(folder, NEW)
    there = in_place(folder)
    assert told_apart(there, old), (number, there)
    with another_process(monkeypatch):
      left = after_a_next_run(folder)
    assert left in (old, NEW), number
    outcomes.append(left == NEW)
    if count.calls <= number:  # it was not killed
      break
  assert outcomes == sorted(outcomes)  # from one moment on, it is written
  assert 20 < len(outcomes) < 100
  assert outcomes.count(True) > 5


def test_a_real_kill_leaves_what_the_next_run_tidies_up(tmp_path, monkeypatch):
  write(tmp_path, OLD)
  for number in (3, 12, 20, 25, 30, 35):
    child = os.fork()
    if not child:
      with killed_at(
        monkeypatch, number, lambda: os.kill(os.getpid(), signal.SIGKILL)
      ):
        write(tmp_path, NEW)
      os._exit(0)
    # It is asked how it ended only later: until then its number is taken.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with monkeypatch.context() as patch:
      patch.setattr(writing, "_settled", set())
      assert after_a_next_run(tmp_path) in (OLD, NEW)
    os.waitpid(child, 0)


@pytest.mark.parametrize("old", [{}, OLD])
def test_a_fault_at_any_call_leaves_the_old_set_or_the_new_one(
  tmp_path, monkeypatch, old
):
  faults = 0
  for number in range(1000):
    folder = tmp_path / str(number)
    folder.mkdir()
    if old:
      write(folder, old)
    fault = OSError(errno.ENOSPC, "No space left on device")
    with failing_at(monkeypatch, number, fault) as count:
      try:
        write(folder, NEW)
        wanted = NEW
      except TflmFgError as told:
        assert "\n" not in str(told)
        assert "No space left" in str(told)
        wanted = NEW if "is written, but" in str(told) else old
        faults += wanted == old
    assert in_place(folder) == wanted, number
    with another_process(monkeypatch):
      assert after_a_next_run(folder) == wanted
    if count.calls <= number:
      break
  assert faults > 15


def test_what_somebody_wrote_since_is_not_replaced_by_a_dead_process(
  tmp_path, monkeypatch
):
  """A user puts a model of their own where a kill left a set half done."""
  seen = set()
  for number in range(20, 60):
    folder = tmp_path / str(number)
    folder.mkdir()
    write(folder, OLD)
    with killed_at(monkeypatch, number):
      write(folder, NEW)
    half = in_place(folder)
    (folder / "model.tflite").write_bytes(b"by hand")
    with another_process(monkeypatch):
      left = after_a_next_run(folder)
    assert left["model.tflite"] == b"by hand"
    if half.get("model.tflite") == OLD["model.tflite"]:
      assert left == {**OLD, "model.tflite": b"by hand"}
      seen.add(len(half))
  assert {1, 2, 3} <= seen  # also while old files were set aside


def test_files_of_living_processes_and_of_others_stay(tmp_path, monkeypatch):
  living = tmp_path / f"{temporaries.own_prefix()}0.new"
  machine, pid, began = living.name.split("-")[1:4]
  names = {
    "living": living.name,
    "dead": f".tflm_fg-{machine}-{2**22 + 1}-{began}-0.new",
    "number given again": f".tflm_fg-{machine}-{pid}-{'0' * 8}-0.new",
    "elsewhere": f".tflm_fg-{'f' * 8}-{pid}-{began}-0.new",
    "old version": ".tflm_fg-abcdefgh",
    "no file of ours": ".tflm_fgx",
  }
  for name in names.values():
    (tmp_path / name).write_bytes(b"x")
  long_ago = time.time() - temporaries.FOREIGN_SECONDS - 60

  def left():
    with monkeypatch.context() as patch:
      patch.setattr(writing, "_settled", set())
      files.write_atomically(str(tmp_path / "any"), b"")
    there = {path.name for path in tmp_path.iterdir()}
    return {what for what, name in names.items() if name in there}

  others = {"elsewhere", "old version"}
  assert left() == {"living", "no file of ours"} | others
  for what in ("living", *others):
    os.utime(tmp_path / names[what], (long_ago, long_ago))
  assert left() == {"living", "no file of ours"}


def test_files_of_other_users_are_left_to_them(tmp_path, monkeypatch):
  name = temporaries.own_prefix()
  (tmp_path / f"{name}0.new").write_bytes(b"x")
  with another_process(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert list(temporaries.abandoned(str(tmp_path))) == []


def test_a_record_that_others_could_have_written_is_not_believed(
  tmp_path, monkeypatch
):
  """It would name any file of this user."""
  mine = tmp_path / "mine"
  mine.write_bytes(b"mine")
  other = tmp_path / "not unfinished"
  other.write_bytes(b"bad")
  prefix = temporaries.own_prefix()
  bad = tmp_path / f"{prefix}0.new"
  bad.write_bytes(b"bad")
  member = {
    "written": str(bad),
    "target": str(mine),
    "aside": str(tmp_path / f"{prefix}1.old"),
    "old": hashlib.sha256(b"mine").hexdigest(),
    "new": hashlib.sha256(b"bad").hexdigest(),
  }
  elsewhere = {**member, "written": str(tmp_path / "sub" / bad.name)}
  whole = {"version": 1, "members": [member]}
  for told, mode in (
    (whole, 0o644),
    ({**whole, "version": 2}, 0o600),
    ({"version": 1, "members": [{**member, "written": str(other)}]}, 0o600),
    ({"version": 1, "members": [elsewhere]}, 0o600),
    ({"version": 1, "members": 5}, 0o600),
    ({"version": 1, "members": [{}]}, 0o600),
    ([], 0o600),
  ):
    record = tmp_path / f"{prefix}2.set"
    record.write_text(json.dumps(told))
    record.chmod(mode)
    bad.write_bytes(b"bad")
    with another_process(monkeypatch):
      left = after_a_next_run(tmp_path)
    assert left == {"mine": b"mine", "not unfinished": b"bad"}, told
  record.write_text(json.dumps(whole))
  record.chmod(0o600)
  bad.write_bytes(b"bad")
  with another_process(monkeypatch):
    assert list(files.unfinished(str(tmp_path))) == [str(mine)]
    assert after_a_next_run(tmp_path)["mine"] == b"bad"


def test_two_paths_of_one_file_are_no_set(tmp_path):
  (tmp_path / "link").symlink_to("one")
  contents = {str(tmp_path / "one"): b"1", str(tmp_path / "link"): b"2"}
  with pytest.raises(TflmFgError, match=r"link: is .*one too; name another"):
    files.write_set(contents)
  assert not (tmp_path / "one").exists()


def test_a_folder_that_went_meanwhile_is_said(tmp_path):
  gone = tmp_path / "gone"
  for call in (
    lambda: files.write_atomically(str(gone / "model"), b"1"),
    lambda: files.write_set({str(gone / "r"): b"1", str(tmp_path / "m"): b"2"}),
  ):
    with pytest.raises(TflmFgError, match=r"no folder .*gone.*make it first"):
      call()
  assert found(tmp_path) == {}


def test_folders_that_were_made_go_where_nothing_was_written(
  tmp_path, monkeypatch
):
  page = tmp_path / "a" / "b"

  def full(*unused):
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(os, "write", full)
    with pytest.raises(TflmFgError, match="No space left"):
      files.write_set({str(page / "r"): b"1"}, [str(page)])
  assert list(tmp_path.iterdir()) == []
  files.write_set({str(page / "r"): b"1"}, [str(page)])
  assert found(tmp_path) == {"a/b/r": b"1"}


def test_a_folder_of_a_killed_process_is_swept_or_whole(tmp_path, monkeypatch):
  whole = {"board/a": b"1", "board/src/b": b"2"}
  outcomes = []
  for number in range(1000):
    folder = tmp_path / str(number)
    folder.mkdir()
    with killed_at(monkeypatch, number) as count:
      files.write_folder(str(folder / "board"), {"a": b"1", "src/b": b"2"})
    with another_process(monkeypatch):
      left = after_a_next_run(folder)
    assert left in ({}, whole)
    outcomes.append(left == whole)
    if count.calls <= number:
      break
  assert outcomes == sorted(outcomes)
  assert len(outcomes) > 12


def test_an_old_file_whose_new_one_waits_is_told(tmp_path, monkeypatch, capsys):
  model = str(tmp_path / "model.tflite")
  told = set()
  for number in range(50):
    write(tmp_path, OLD)
    with killed_at(monkeypatch, number):
      write(tmp_path, NEW)
    with another_process(monkeypatch):
      outputs.note_unfinished(model)
      note = capsys.readouterr().out
      waits = (tmp_path / "model.tflite").read_bytes() == OLD["model.tflite"]
      left = after_a_next_run(tmp_path)
    if note:
      assert "model.tflite is the old file" in note
      assert waits and left == NEW, number
    told.add((bool(note), left == NEW))
  assert told == {(False, False), (True, True), (False, True)}
