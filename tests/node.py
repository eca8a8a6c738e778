"""Run JavaScript in Node; skip where it or a package of npm is not there."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "apps/samples/web"

_OLDEST = 20


@functools.cache
def node() -> str:
  """Where Node is, of a version that has what the sample uses."""
  found = shutil.which("node")
  if found is None:
    pytest.skip("no node on PATH")
  said = subprocess.run(
    [found, "--version"], capture_output=True, text=True, check=True
  ).stdout
  if int(said.strip().lstrip("v").split(".")[0]) < _OLDEST:
    pytest.skip(f"node {said.strip()} is older than {_OLDEST}")
  return found


def process(
  *arguments: object, timeout: int = 120
) -> subprocess.CompletedProcess[str]:
  """Runs a program of JavaScript to its end, whatever that is."""
  return subprocess.run(
    [node(), *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=timeout,
    check=False,
  )


def run(*arguments: object) -> str:
  """Runs a program of JavaScript that must do; what it printed."""
  done = process(*arguments)
  assert done.returncode == 0, done.stdout + done.stderr[-2000:]
  return done.stdout


@functools.cache
def packages() -> pathlib.Path:
  """The sample's packages, installed once outside of the repository.

  Returns:
    A folder with `node_modules`. Its name has the version that package.json
    pins, so that another version is installed anew.
  """
  node()
  pinned = json.loads((SAMPLE / "package.json").read_text())["dependencies"]
  name = "-".join(f"{p.split('/')[-1]}-{v}" for p, v in sorted(pinned.items()))
  root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  wanted = pathlib.Path(root) / "tflm_fg_tests" / name
  if (wanted / "node_modules").is_dir():
    return wanted
  npm = shutil.which("npm")
  if npm is None:
    pytest.skip("no npm on PATH")
  try:
    wanted.parent.mkdir(parents=True, exist_ok=True)
  except OSError as fault:  # a home that is not there, as in a sandbox
    pytest.skip(f"no folder to install packages of npm into: {fault}")
  with tempfile.TemporaryDirectory(dir=wanted.parent) as fresh:
    made = pathlib.Path(fresh) / name
    made.mkdir()
    shutil.copy(SAMPLE / "package.json", made)
    done = subprocess.run(
      [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"],
      cwd=made,
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
    )
    if done.returncode:
      last = (done.stderr.strip() or "no word").splitlines()[-1]
      pytest.skip(f"npm install failed, perhaps offline: {last}")
    try:
      made.rename(wanted)  # another process may have been faster
    except OSError:
      assert (wanted / "node_modules").is_dir()
  return wanted


def site(folder: pathlib.Path) -> pathlib.Path:
  """The page with its packages in a folder of its own, without a model.

  Programs of `tests/apps/samples/web` lie beside it, since Node looks for
  packages from a program's own folder.
  """
  made = folder / "site"
  made.mkdir()
  for source in (SAMPLE, ROOT / "tests/apps/samples/web"):
    for path in source.iterdir():
      if path.suffix in (".js", ".mjs", ".html", ".css", ".svg", ".json"):
        shutil.copy(path, made)
  (made / "node_modules").symlink_to(packages() / "node_modules")
  return made
