"""Break one line at a time and see whether a test notices.

Each mutant is one small fault in an important line: a zero point dropped, a
sign turned round, a check left out. It goes into a temporary copy of the
project, never into the project itself; the tests that should notice run there.
A mutant that they do not notice has survived, and shows a claim that no test
holds. Exit status 0: none survived. 1: one did, or its line is no longer found.

  python tools/mutants.py [--only=NAME] [--jobs=2]

`--only` takes a part of a name. The list is in tools/mutant_list.py.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.mutant_list import MUTANTS, Mutant  # noqa: E402

TIMEOUT_SECONDS = 300
PASSED, FAILED = 0, 1  # pytest's exit statuses

_T, _R = TypeVar("_T"), TypeVar("_R")

_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "docs")


def text_of(mutant: Mutant, root: pathlib.Path = ROOT) -> str:
  """The file with the mutant in it.

  Raises:
    ValueError: if the old text is not there exactly once.
  """
  text = (root / mutant.file).read_text(encoding="utf-8")
  found = text.count(mutant.old)
  if found != 1:
    raise ValueError(
      f"{mutant.name}: {mutant.file} holds the old text {found} times, need 1"
    )
  return text.replace(mutant.old, mutant.new)


def judge(mutant: Mutant, copy: pathlib.Path) -> str:
  """Puts the mutant into a copy, runs its tests, takes it out again.

  Returns:
    "killed", "SURVIVED" or what went wrong.
  """
  path = copy / mutant.file
  original = path.read_text(encoding="utf-8")
  try:
    _write(path, text_of(mutant, copy))
    status, _ = run_tests(mutant.tests, copy)
  except ValueError as fault:
    return str(fault)
  except subprocess.TimeoutExpired:
    return "killed"
  finally:
    _write(path, original)
  known = {PASSED: "SURVIVED", FAILED: "killed"}
  return known.get(status, f"pytest ended with status {status}")


def timed(mutant: Mutant, copy: pathlib.Path) -> tuple[str, float]:
  """The verdict, and the seconds that it took."""
  began = time.monotonic()
  return judge(mutant, copy), time.monotonic() - began


def runs_of(mutants: Sequence[Mutant]) -> list[list[str]]:
  """All tests of some mutants, each once, in runs of the same options."""
  runs: dict[tuple[str, ...], dict[str, None]] = {}
  for mutant in mutants:
    options = tuple(t for t in mutant.tests if t.startswith("-"))
    tests = runs.setdefault(options, {})
    tests.update((t, None) for t in mutant.tests if not t.startswith("-"))
  lots = [(options, list(tests)) for options, tests in runs.items()]
  # In halves, so that two jobs share them.
  return [
    [*half, *options]
    for options, tests in lots
    for half in (tests[0::2], tests[1::2])
    if half
  ]


def run_tests(tests: Sequence[str], copy: pathlib.Path) -> tuple[int, str]:
  """Runs some tests of a copy until one fails; status and end of the output."""
  command = [
    *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
  ]
  if not any(test.startswith("-m") for test in tests):
    # Importing TensorFlow takes longer than most tests.
    command += ["-m", "not tensorflow"]
  environment = {
    **os.environ,
    "PYTHONPATH": str(copy),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
  }
  done = subprocess.run(
    [*command, *tests],
    cwd=copy,
    env=environment,
    capture_output=True,
    text=True,
    timeout=TIMEOUT_SECONDS,
    check=False,
  )
  return done.returncode, done.stdout[-1500:]


def _write(path: pathlib.Path, text: str) -> None:
  """Writes a source file; Python could take its old bytecode for fresh."""
  path.write_text(text, encoding="utf-8")
  with contextlib.suppress(FileNotFoundError):
    os.unlink(importlib.util.cache_from_source(str(path)))


@contextlib.contextmanager
def copies(count: int) -> Iterator[queue.Queue[pathlib.Path]]:
  """Some copies of the project, which go at the end."""
  with tempfile.TemporaryDirectory() as folder:
    free: queue.Queue[pathlib.Path] = queue.Queue()
    for number in range(count):
      copy = pathlib.Path(folder, str(number))
      shutil.copytree(ROOT, copy, ignore=_NOT_COPIED)
      free.put(copy)
    yield free


def main(arguments: Sequence[str] | None = None) -> int:
  """Judges the mutants and tells the verdicts; the exit status."""
  parser = argparse.ArgumentParser(description="Break lines, run tests.")
  parser.add_argument("--only", default="", help="a part of a mutant's name")
  parser.add_argument("--jobs", type=int, default=2, help="tests at a time")
  flags = parser.parse_args(arguments)
  chosen = [m for m in MUTANTS if flags.only in m.name]
  bad = 0

  with copies(flags.jobs) as free, ThreadPoolExecutor(flags.jobs) as threads:

    def in_a_copy(work: Callable[[_T, pathlib.Path], _R], what: _T) -> _R:
      copy = free.get()
      try:
        return work(what, copy)
      finally:
        free.put(copy)

    runs = runs_of(chosen)
    for status, told in threads.map(
      functools.partial(in_a_copy, run_tests), runs
    ):
      if status != PASSED:
        print(f"{told}\nthe tests do not pass as they are; mend them first")
        return 1
    verdicts = threads.map(functools.partial(in_a_copy, timed), chosen)
    for mutant, (verdict, seconds) in zip(chosen, verdicts):
      bad += verdict != "killed"
      print(f"{seconds:5.1f} s  {mutant.name}: {verdict}", flush=True)
  print(f"{len(chosen)} mutants, {bad} not killed")
  return int(bad > 0 or not chosen)


if __name__ == "__main__":
  sys.exit(main())
