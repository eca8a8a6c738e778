"""Help, version and names of commands: what a program says of itself."""

from __future__ import annotations

import functools
import importlib.metadata
import signal
import subprocess
import sys

import pytest

from apps import cli
from tests import programs

TITLES = (cli.NEEDED, cli.OFTEN, cli.SOMETIMES, cli.SELDOM)


@functools.cache
def help_of_adapt(folder):
  """Its help; asked for once."""
  result = programs.run(folder, "apps.adapt", "--help")
  assert result.returncode == cli.DONE, result.stderr
  return result.stdout


@pytest.fixture
def text(tmp_path_factory):
  return help_of_adapt(tmp_path_factory.getbasetemp())


def test_version_is_printed(tmp_path):
  result = programs.run(tmp_path, "apps.adapt", "--version")
  assert result.returncode == cli.DONE
  assert result.stdout == cli.version("tflm-fg-adapt") + "\n"


def test_version_of_an_installed_package_is_its_own(monkeypatch):
  monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} 7")
  assert cli.version("tflm-fg-adapt") == "tflm-fg-adapt tflm-fg 7"


def test_version_of_a_clone_that_is_not_installed_is_said(monkeypatch):
  def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, "version", missing)
  assert "not installed" in cli.version("tflm-fg-adapt")


@pytest.mark.parametrize(
  ("flag", "title"),
  [
    ("model", cli.NEEDED),
    ("test", cli.OFTEN),
    ("runtime", cli.SOMETIMES),
    ("sparsity", cli.SELDOM),
  ],
)
def test_flags_stand_in_groups_by_how_often_they_are_needed(flag, title, text):
  places = [text.index(f"\n{title}:\n") for title in TITLES]
  assert places == sorted(places)
  before = [
    t for t, at in zip(TITLES, places) if at < text.index(f"  --{flag}")
  ]
  assert before[-1] == title


def test_every_flag_of_a_program_stands_once_in_its_help(text):
  names = [line.split()[0] for line in text.splitlines() if line[:4] == "  --"]
  assert len(names) == len(set(names)) > 40


@pytest.mark.parametrize(
  ("words", "status", "told"),
  [
    (["help"], cli.DONE, "tflm-fg-kws enrol"),
    ([], cli.WRONG_FLAG, "tflm-fg-kws enrol"),
    (["version"], cli.DONE, cli.version("tflm-fg-kws")),
    (["adpat"], cli.WRONG_FLAG, "did you mean 'adapt'?"),
    (["trian"], cli.WRONG_FLAG, "did you mean 'train'?"),
    (["zzz"], cli.WRONG_FLAG, "no command 'zzz'; choose of demo,"),
    (["help", "corpus"], cli.DONE, "--clips_per_word"),
    (["enroll", "--help"], cli.DONE, "tflm-fg-kws enrol:"),
  ],
  ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_the_keyword_program_understands_what_people_type(
  words, status, told, tmp_path
):
  if words[-1:] in (["corpus"], ["--help"]):
    pytest.importorskip("soundfile")
  result = programs.run(tmp_path, "apps.kws", *words)
  assert result.returncode == status
  assert told in result.stdout + result.stderr


def test_control_c_at_the_very_start_is_one_line(tmp_path):
  code = "import apps, os, signal; os.kill(os.getpid(), signal.SIGINT)"
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env=programs.environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == -signal.SIGINT  # a shell says 130
  assert done.stderr.strip() == "interrupted at its start; nothing was written"
