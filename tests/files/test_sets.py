"""Files that belong together appear together, wherever a process ends."""

import os
import pathlib
import signal

import pytest

from tests.files.killing import another_process, killed_at
from tflm_fg import files
from tflm_fg.files import writing

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
