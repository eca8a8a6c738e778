"""Run the project's programs as a shell would, from any folder."""

from __future__ import annotations

import os
import pathlib
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
