"""Outputs appear whole or not at all, and never over an input."""

import os

import pytest

from tflm_fg import files, limits
from tflm_fg.types import TflmFgError


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
  path = tmp_path / "out.bin"
  path.write_bytes(b"old")
  files.write_atomically(str(path), b"new")
  assert path.read_bytes() == b"new"
  assert os.listdir(tmp_path) == ["out.bin"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "out.bin"
  path.write_bytes(b"old")

  def full(*unused):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(TflmFgError, match="No space left"):
    files.write_atomically(str(path), b"new")
  assert path.read_bytes() == b"old"
  assert os.listdir(tmp_path) == ["out.bin"]


def test_a_link_is_followed(tmp_path):
  target, link = tmp_path / "target", tmp_path / "link"
  target.write_bytes(b"old")
  link.symlink_to(target)
  files.write_atomically(str(link), b"new")
  assert link.is_symlink()
  assert target.read_bytes() == b"new"


def test_devices_pipes_and_folders_are_never_replaced(tmp_path):
  pipe, link = tmp_path / "pipe", tmp_path / "link"
  os.mkfifo(pipe)  # stands for a device: renaming over one destroys it
  link.symlink_to(pipe)
  for path, message in (
    (link, "not a regular file"),
    (pipe, "not a regular file"),
    (tmp_path, "is a folder"),
  ):
    for check in (
      files.require_writable,
      lambda p: files.write_atomically(p, b""),
    ):
      with pytest.raises(TflmFgError, match=message):
        check(str(path))


@pytest.mark.parametrize("name", ["missing/out", "x" * 300, "", "a\0b"])
def test_paths_that_cannot_be_written_are_refused_before_the_work(
  tmp_path, name
):
  path = str(tmp_path / name) if name else ""
  with pytest.raises(TflmFgError):
    files.require_writable(path)


def test_two_flags_may_not_name_one_file(tmp_path):
  one, two = str(tmp_path / "one"), str(tmp_path / "two")
  files.require_outputs({"out": one, "report": None}, {"model": two})
  with pytest.raises(TflmFgError, match="by --out and by --model"):
    files.require_outputs({"out": one}, {"model": one})
  with pytest.raises(TflmFgError, match="by --log and by --out"):
    files.require_outputs({"out": one, "log": one}, {})


def test_reading_what_is_not_there_is_refused(tmp_path):
  with pytest.raises(TflmFgError, match="no such file"):
    files.read_bytes(str(tmp_path / "missing"))
  with pytest.raises(TflmFgError, match="cannot be read"):
    files.read_bytes(str(tmp_path))


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
  target = tmp_path / "out"
  target.write_bytes(b"old")

  def interrupted(descriptor: int) -> None:
    raise KeyboardInterrupt

  monkeypatch.setattr(os, "fsync", interrupted)
  with pytest.raises(KeyboardInterrupt):
    files.write_atomically(str(target), b"new")
  assert [p.name for p in tmp_path.iterdir()] == ["out"]
  assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
  ("path", "kind"),
  [("/dev/zero", "a device"), ("/dev/random", "a device"), ("/", "a folder")],
)
def test_what_has_no_end_or_is_no_file_is_not_read(path, kind):
  with pytest.raises(
    TflmFgError, match=f"{path}: cannot be read: it is {kind}; name a"
  ):
    files.read_bytes(path)


def test_nobody_waits_for_a_pipe(tmp_path):
  path = str(tmp_path / "pipe")
  os.mkfifo(path)
  with pytest.raises(TflmFgError, match="it is a pipe"):
    files.read_bytes(path)


def sparse(path, size):
  """A file that says a size and takes no place."""
  with open(path, "wb") as file:
    file.truncate(size)
  return str(path)


def test_a_file_larger_than_memory_is_refused_before_it_is_read(tmp_path):
  path = sparse(tmp_path / "x.bin", 1 << 40)
  with limits.at_most("4GB"), pytest.raises(TflmFgError) as told:
    files.read_bytes(path)
  assert "x.bin: 1.0 TB, which takes about 1.0 TB of memory" in str(told.value)
  assert "raise --max_memory" in str(told.value)


def test_a_model_needs_several_times_its_size(tmp_path, monkeypatch):
  monkeypatch.setattr(limits, "resident", lambda: 0)
  path = sparse(tmp_path / "x.tflite", 20 << 20)
  with limits.at_most("100MB"):
    with pytest.raises(TflmFgError, match="20 MB, which takes about 120 MB"):
      files.read_model(path)
    assert len(files.read_bytes(path)) == 20 << 20
