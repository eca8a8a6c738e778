"""What is started for a fleet is ended, whatever happens in between."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
import time

import pytest

from apps.fleet import processes
from tflm_fg.types import TflmFgError

on_linux = pytest.mark.skipif(
  not pathlib.Path("/proc/self/environ").exists(), reason="needs /proc"
)


def sleeping(home):
  """A process in a session of its own, as Flower's daemons are."""
  return subprocess.Popen(
    [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"],
    env=processes.environment(home),
    start_new_session=True,
    stdout=subprocess.PIPE,
  )


@on_linux
@pytest.mark.parametrize("fails", [False, True])
def test_what_was_left_behind_is_ended_at_the_end_of_the_block(fails):
  try:
    with processes.Flower() as flower:
      home = flower.home
      left = sleeping(home)
      left.stdout.readline()  # its environment is that of Python by now
      if fails:
        raise KeyboardInterrupt
  except KeyboardInterrupt:
    pass
  assert left.wait(5) != 0
  assert not home.exists()


@on_linux
def test_programs_end_also_where_this_one_is_killed(tmp_path):
  script = tmp_path / "flower-superlink"
  script.write_text("#!/bin/sh\nexec sleep 60\n")
  script.chmod(0o755)
  code = (
    "from apps.fleet import processes; "
    f"processes.program = lambda name: {os.fspath(script)!r}; "
    "flower = processes.Flower(); flower._start('x', 'x'); "
    "print(flower.home, flush=True); input()"
  )
  with subprocess.Popen(
    [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
  ) as killed:
    home = pathlib.Path(killed.stdout.readline().decode().strip())
    killed.kill()
  until = time.monotonic() + 10
  try:
    while home.exists() and time.monotonic() < until:
      time.sleep(0.02)
    assert not home.exists()
    assert not processes._of(home)
  finally:
    processes.clear(home)


@on_linux
def test_processes_of_another_folder_are_left_alone():
  with processes.Flower() as other:
    stays = sleeping(other.home)
    stays.stdout.readline()
    with processes.Flower():
      pass
    assert stays.poll() is None
  assert stays.wait(5) != 0


def test_a_process_that_does_not_end_is_killed(tmp_path, monkeypatch):
  monkeypatch.setattr(processes, "END_SECONDS", 0.05)
  code = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); "
    "print(1, flush=True); time.sleep(60)"
  )
  stubborn = subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE
  )
  stubborn.stdout.readline()
  processes.end([stubborn])
  assert stubborn.poll() == -9


def test_flowers_programs_find_each_other_and_tell_nobody(tmp_path):
  own = processes.environment(tmp_path)
  first, *_ = own["PATH"].split(os.pathsep)
  assert first == os.path.dirname(sys.executable)
  assert own["FLWR_HOME"] == str(tmp_path)
  assert own["FLWR_TELEMETRY_ENABLED"] == "0"
  assert own["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"


def test_a_superlink_that_ends_at_once_is_told_with_its_last_line(
  tmp_path, monkeypatch
):
  script = tmp_path / "flower-superlink"
  script.write_text("#!/bin/sh\necho starting\necho 'port is taken'\nexit 3\n")
  script.chmod(0o755)
  monkeypatch.setattr(processes, "program", lambda name: str(tmp_path / name))
  with (
    pytest.raises(TflmFgError, match="does not start: port is taken"),
    processes.Flower() as flower,
  ):
    flower.superlink()


def test_values_are_written_as_flower_reads_them():
  config = {"data": "a b.npz", "rounds": 3, "rate": 0.5, "secure": True}
  assert processes.written(config) == (
    'data="a b.npz" rounds=3 rate=0.5 secure=true'
  )


def test_a_name_that_flower_cannot_be_told_is_refused():
  with pytest.raises(TflmFgError, match="rename the file"):
    processes.written({"data": "it's.npz"})


def test_a_run_that_flower_refuses_is_one_line(tmp_path, monkeypatch):
  script = tmp_path / "flwr"
  script.write_text(
    "#!/bin/sh\necho '╭─ Error ─╮' >&2\necho '│ no such app │' >&2\n"
    "echo '╰──────╯' >&2\nexit 1\n"
  )
  script.chmod(0o755)
  monkeypatch.setattr(processes, "program", lambda name: str(tmp_path / name))
  link = processes.known(tmp_path, "127.0.0.1:1")
  with pytest.raises(TflmFgError, match=r"^flwr run: no such app$"):
    processes.submit(link, tmp_path, {"rounds": 1})


def test_a_run_that_does_not_end_is_given_up(tmp_path, monkeypatch):
  script = tmp_path / "flwr"
  script.write_text("#!/bin/sh\nexec sleep 30\n")
  script.chmod(0o755)
  monkeypatch.setattr(processes, "program", lambda name: str(tmp_path / name))
  link = processes.known(tmp_path, "127.0.0.1:1")
  began = time.monotonic()
  with pytest.raises(TflmFgError, match="did not end within"):
    processes.submit(link, tmp_path, {"rounds": 1}, timeout=0.2)
  assert time.monotonic() - began < 10


def test_without_flower_the_cure_is_named(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(TflmFgError, match=r"pip install 'tflm-fg\[fleet\]'"):
    processes.require_flower()
  monkeypatch.setattr(processes.shutil, "which", lambda *a, **k: None)
  with pytest.raises(TflmFgError, match="Flower is missing"):
    processes.program("flwr")
