"""How much memory may be taken, and what needs more is refused first."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests import programs
from tflm_fg import limits
from tflm_fg.types import TflmFgError

MB = 1 << 20


@pytest.mark.parametrize(
  ("text", "size"),
  [
    ("512MB", 512 * MB),
    ("512 mib", 512 * MB),
    ("2g", 2048 * MB),
    ("1.5GB", 1536 * MB),
    ("1T", 1 << 40),
    (str(100 * MB), 100 * MB),
  ],
)
def test_sizes_are_read_as_people_write_them(text, size):
  assert limits.parse(text) == size


@pytest.mark.parametrize(
  "text", ["", "much", "-5GB", "512 MBB", "1e9", "nanGB"]
)
def test_what_is_no_size_is_refused_with_one_that_is(text):
  with pytest.raises(TflmFgError, match="need a size, as 512MB or 2GB"):
    limits.parse(text)


@pytest.mark.parametrize("text", ["0", "512", "63MB", "9" * 30])
def test_a_limit_that_no_program_can_keep_is_refused(text):
  with pytest.raises(TflmFgError, match="need at least 64 MB"):
    limits.parse(text)


@pytest.mark.parametrize(
  ("size", "text"),
  [(980, "980 bytes"), (3 << 30, "3.0 GB"), (512 * MB, "512 MB")],
)
def test_sizes_are_shown_short(size, text):
  assert limits.shown(size) == text


def test_the_limit_holds_inside_and_the_one_before_it_after():
  with limits.at_most("200MB"):
    with limits.at_most(100 * MB) as inner:
      assert limits.memory() == inner == 100 * MB
    assert limits.memory() == 200 * MB
    with limits.at_most(None):
      assert limits.memory() == 200 * MB


def test_a_process_that_is_started_inherits_the_limit(monkeypatch):
  monkeypatch.delenv(limits.VARIABLE, raising=False)
  with limits.at_most("300MB"):
    told = subprocess.check_output(
      [
        sys.executable,
        "-c",
        "from tflm_fg import limits; print(limits.memory())",
      ],
      env=programs.environment(),
      text=True,
    )
  assert int(told) == 300 * MB
  assert limits.VARIABLE not in programs.environment()


def test_the_environment_sets_the_limit_and_is_checked(monkeypatch):
  monkeypatch.setenv(limits.VARIABLE, "1GB")
  assert limits.memory() == 1024 * MB
  monkeypatch.setenv(limits.VARIABLE, "lots")
  with pytest.raises(TflmFgError, match=f"{limits.VARIABLE}=lots"):
    limits.memory()


def test_by_default_most_of_what_the_machine_has_left_may_be_taken(monkeypatch):
  monkeypatch.delenv(limits.VARIABLE, raising=False)
  monkeypatch.setattr(limits, "left", lambda: 1000 * MB)
  monkeypatch.setattr(limits, "resident", lambda: 50 * MB)
  limits._of_the_machine.cache_clear()
  try:
    assert limits.memory() == 800 * MB
    monkeypatch.setattr(limits, "resident", lambda: 90 * MB)
    assert limits.memory() == 800 * MB  # what is taken gives no more
    assert limits.room() == 710 * MB
  finally:
    limits._of_the_machine.cache_clear()


def test_what_needs_more_than_is_left_is_refused_with_the_cure(monkeypatch):
  monkeypatch.setattr(limits, "resident", lambda: 60 * MB)
  with limits.at_most("100MB"):
    limits.require(40 * MB, "x.npz: 1 GB", "give fewer samples")
    with pytest.raises(TflmFgError) as told:
      limits.require(40 * MB + 1, "x.npz: 1 GB", "give fewer samples")
  assert str(told.value) == (
    "x.npz: 1 GB, which takes about 40 MB of memory, and 40 MB of 100 MB are "
    "left; give fewer samples, or raise --max_memory"
  )


def test_nothing_is_left_where_more_is_taken_than_may_be(monkeypatch):
  monkeypatch.setattr(limits, "resident", lambda: 900 * MB)
  with limits.at_most("100MB"):
    assert limits.room() == 0


def groups(root, limit, taken, back):
  """The files of a control group, of version 2."""
  root.mkdir(parents=True, exist_ok=True)
  (root / "memory.max").write_text(f"{limit}\n")
  (root / "memory.current").write_text(f"{taken}\n")
  (root / "memory.stat").write_text(f"anon 5\ninactive_file {back}\n")


V2 = ("memory.max", "memory.current", "inactive_file")


def test_the_narrowest_of_the_control_groups_counts(tmp_path):
  groups(tmp_path, "max", 0, 0)
  groups(tmp_path / "a", 900, 300, 100)
  groups(tmp_path / "a/b", 400, 250, 50)
  assert limits._group(tmp_path, "/a/b", V2) == [200, 700]


def test_a_container_finds_its_group_at_the_root(tmp_path):
  groups(tmp_path, 500, 100, 0)
  assert limits._group(tmp_path, "/docker/0123", V2) == [400]


def test_a_machine_without_control_groups_is_asked_itself(tmp_path):
  assert limits._group(tmp_path, "/a", V2) == []
  assert 0 < limits.left() <= limits.UNKNOWN


def test_the_system_refuses_what_exceeds_an_enforced_limit():
  resource = pytest.importorskip("resource")
  before = resource.getrlimit(resource.RLIMIT_DATA)
  limit = limits.resident() + 4096 * MB
  with limits.enforced(limit), pytest.raises(MemoryError):
    bytearray(16 << 30)
  assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_parts_cover_all_rows_in_order():
  x = np.zeros((7, 3))
  assert [s.indices(7)[:2] for s in limits.parts(x, 6)] == [
    (0, 2),
    (2, 4),
    (4, 6),
    (6, 7),
  ]
  assert len(list(limits.parts(x, 1))) == 7
  assert len(list(limits.parts(np.zeros((2, 0)), 1))) == 2
  assert not list(limits.parts(np.zeros((0, 3))))
