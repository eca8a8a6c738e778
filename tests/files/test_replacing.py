"""What is replaced keeps its mode and owner, and is replaced only if it may."""

import os
import stat

import pytest

from tflm_fg import files
from tflm_fg.types import TflmFgError


def mode_of(path):
  return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def mask():
  old = os.umask(0o022)
  yield
  os.umask(old)


def test_a_new_file_gets_what_the_mask_leaves(tmp_path, mask):
  path = tmp_path / "new"
  files.write_atomically(str(path), b"1")
  assert mode_of(path) == 0o644
  os.umask(0o077)
  files.write_set({str(tmp_path / "a"): b"", str(tmp_path / "b"): b""})
  assert mode_of(tmp_path / "a") == mode_of(tmp_path / "b") == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755, 0o4755])
def test_the_mode_of_a_replaced_file_stays(tmp_path, mode, mask):
  path, link = tmp_path / "old", tmp_path / "link"
  path.write_bytes(b"old")
  path.chmod(mode)
  link.symlink_to(path)
  files.write_atomically(str(link), b"new")
  assert (mode_of(path), path.read_bytes()) == (mode, b"new")


def test_while_it_is_written_nobody_else_can_read_it(tmp_path, monkeypatch):
  seen, sync = [], os.fsync

  def watched(handle):
    seen.extend(mode_of(p) for p in tmp_path.iterdir() if p.name[0] == ".")
    sync(handle)

  path = tmp_path / "secret"
  path.write_bytes(b"old")
  path.chmod(0o600)
  monkeypatch.setattr(os, "fsync", watched)
  files.write_atomically(str(path), b"new")
  assert seen == [0o600]


def test_the_owner_of_a_replaced_file_stays(tmp_path):
  path = tmp_path / "theirs"
  path.write_bytes(b"old")
  try:
    os.chown(path, 1234, 4321)
  except OSError:  # another user, or a root of a sandbox that knows no others
    pytest.skip("files cannot be given away here")
  path.chmod(0o640)
  files.write_atomically(str(path), b"new")
  status = path.stat()
  assert (status.st_uid, status.st_gid) == (1234, 4321)
  assert mode_of(path) == 0o640


@pytest.mark.parametrize(
  ("group", "mode", "after"),
  [(True, 0o660, 0o660), (False, 0o660, 0o600), (False, 0o6754, 0o744)],
)
def test_a_group_that_cannot_be_given_gets_no_more_than_everybody(
  tmp_path, monkeypatch, group, mode, after
):
  path = tmp_path / "theirs"
  path.write_bytes(b"old")
  path.chmod(mode)
  old, fstat = os.stat(path), os.fstat

  def as_another(handle):
    return os.stat_result((*fstat(handle)[:4], 77, 77, *fstat(handle)[6:]))

  def chown(target, uid, gid):
    if uid != -1 or not group:
      raise PermissionError(1, "Operation not permitted")
    assert gid == old.st_gid

  monkeypatch.setattr(os, "fstat", as_another)
  monkeypatch.setattr(os, "chown", chown)
  files.write_atomically(str(path), b"new")
  assert mode_of(path) == after


@pytest.mark.parametrize("call", [files.require_writable, lambda p: None])
def test_a_read_only_file_is_refused_with_a_cure_also_for_root(tmp_path, call):
  path = tmp_path / "a b.tflite"
  path.write_bytes(b"old")
  path.chmod(0o444)
  with pytest.raises(TflmFgError, match=r"is read-only.*chmod u\+w '/.*a b"):
    call(str(path))
    files.write_set({str(tmp_path / "r"): b"new", str(path): b"new"})
  assert path.read_bytes() == b"old"
  assert [p.name for p in tmp_path.iterdir()] == ["a b.tflite"]
  path.chmod(0o644)  # what the line says
  files.write_atomically(str(path), b"new")


def test_a_file_that_this_user_may_not_write_is_refused(tmp_path, monkeypatch):
  path = tmp_path / "theirs"
  path.write_bytes(b"old")
  monkeypatch.setattr(os, "access", lambda path, mode: False)
  with pytest.raises(TflmFgError, match="is read-only; name another"):
    files.require_writable(str(path))


def test_a_name_as_long_as_the_disk_takes_can_be_written(tmp_path):
  path = tmp_path / ("x" * os.pathconf(tmp_path, "PC_NAME_MAX"))
  files.require_writable(str(path))
  files.write_set({str(tmp_path / "r"): b"1", str(path): b"2"})
  assert path.read_bytes() == b"2"


def test_a_path_too_long_for_what_is_written_beside_it_is_refused(tmp_path):
  """Here a short name fits, and the name of an unfinished file does not."""
  deep = str(tmp_path)
  most = os.pathconf(tmp_path, "PC_PATH_MAX")
  while len(deep) < most - 20:
    deep = os.path.join(deep, "d" * min(200, most - 20 - len(deep)))
  before = os.getcwd()
  try:
    for part in [str(tmp_path), *deep[len(str(tmp_path)) + 1 :].split("/")]:
      if part != str(tmp_path):
        os.mkdir(part)
      os.chdir(part)
  finally:
    os.chdir(before)
  with pytest.raises(TflmFgError, match="File name too long"):
    files.require_writable(os.path.join(deep, "m"))


def test_a_folder_is_written_whole_with_all_its_files_synced(
  tmp_path, monkeypatch, mask
):
  count, sync = [], os.fsync
  monkeypatch.setattr(os, "fsync", lambda h: (count.append(h), sync(h)))
  files.write_folder(str(tmp_path / "board"), {"a": b"1", "src/b": b"2"})
  # Two files, two folders, where they stand; and once, to see if that works.
  assert len(count) == 6
  assert mode_of(tmp_path / "board") == mode_of(tmp_path / "board/src") == 0o755
  assert mode_of(tmp_path / "board/a") == 0o644
