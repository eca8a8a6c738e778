"""Run the project's programs as a shell would, from any folder."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys


def environment(*first: pathlib.Path) -> dict[str, str]:
  """This process's imports, for a child in another folder."""
  path = [str(p) for p in first] + [p or os.getcwd() for p in sys.path]
  return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def run(
  folder: pathlib.Path, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
  """Runs `python -m PROGRAM` in a folder; BUILD reads the name from here."""
  return subprocess.run(
    [sys.executable, "-m", program, *arguments],
    cwd=folder,
    env=environment(),
    capture_output=True,
    text=True,
    check=False,
  )


_OF_ENGINES = re.compile(
  r"INFO: Created TensorFlow Lite XNNPACK delegate for CPU\.$"
  r"|WARNING: All log messages before absl::InitializeLog\(\) is called"
  r"|[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ |[IWE]0000 00:00:\d+\.\d+ "
)


def own_lines(stderr: str) -> list[str]:
  """What a program said itself, without what LiteRT and TensorFlow log.

  LiteRT notes its first XNNPACK interpreter and TensorFlow its import; neither
  has a switch for that.
  """
  lines = stderr.splitlines()
  own = [line for line in lines if not _OF_ENGINES.match(line)]
  return "\n".join(own).strip().splitlines()
