"""Damage small models of every operator, and see that nothing ends badly.

  python tools/fuzz_models.py --mutants=1000 --seed=0
  python tools/fuzz_models.py --mutants=100000 --jobs=2 --out=fuzz.md
  python tools/fuzz_models.py --only=1234 --seed=0

Every mutant is a model of `tests/zoo.py` with one to three fields of its tables
changed (operators, options, shapes, types, quantization, constants, inputs and
outputs), or words of its bytes. It goes the way of a user's file: verified; run
in a child; marked; cut; opened and written in a process that stands for the
program; scored and adapted now and then. Prints a table in Markdown: how many
were tried, refused, run and failed, by kind. What fails is told on stderr, and
the status is 1: an exception that is no refusal, a signal in the process of the
program, or more than 10 s without an end.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.fuzzing import mutations, pipeline  # noqa: E402

PATIENCE = 100.0
"""Seconds without a line after which a worker is ended: several trials that
each take as long as they may, on a busy machine."""

Row = list[Any]
"""Number, kind, outcome, words, seconds of the parent's own time."""


def main() -> None:
  """Tries as many mutants as the command line says."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--mutants", type=int, default=1000)
  parser.add_argument(
    "--first", type=int, default=0, help="number of the first"
  )
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--engines", default=",".join(pipeline.ENGINES))
  parser.add_argument(
    "--turns", type=int, default=1, help="engines that each mutant meets"
  )
  parser.add_argument("--jobs", type=int, default=1)
  parser.add_argument("--only", type=int, help="one mutant; tells of it")
  parser.add_argument("--rows", help="a file of JSON, a line a mutant")
  parser.add_argument("--out", help="the table; by default standard output")
  given = parser.parse_args()
  if given.only is not None:
    tell_of(given.seed, given.only)
    return
  rows = all_rows(given)
  text = table(rows)
  if given.out:
    pathlib.Path(given.out).write_text(text, encoding="utf-8")
  print(text)
  sys.exit(any(row[2] == pipeline.FAILED for row in rows))


def tell_of(seed: int, number: int) -> None:
  """Says what one mutant is and how it ends, in this process."""
  mutant = mutations.drawn(seed, number)
  print(mutant)
  print(*pipeline.tried(mutant.data(), number, pipeline.ENGINES), sep=": ")


def all_rows(given: argparse.Namespace) -> list[Row]:
  """Tries all mutants in some jobs at a time."""
  found: list[Row] = []
  lock = threading.Lock()
  end = given.first + given.mutants
  kept = open(given.rows, "a", encoding="utf-8") if given.rows else None  # noqa: SIM115

  def work(job: int) -> None:
    for row in _rows(given, given.first + job, end):
      with lock:
        found.append(row)
        if kept:
          print(json.dumps(row), file=kept, flush=True)
        if row[2] == pipeline.FAILED:
          print(json.dumps(row), file=sys.stderr, flush=True)

  threads = [
    threading.Thread(target=work, args=(j,)) for j in range(given.jobs)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return found


def _rows(given: argparse.Namespace, first: int, end: int) -> Iterator[Row]:
  """What one worker after the other says, each of the mutants that are left."""
  while first < end:
    command = [
      sys.executable,
      "-m",
      "tools.fuzzing.worker",
      *map(str, (given.seed, first, end, given.jobs, given.engines)),
      str(given.turns),
    ]
    path = os.pathsep.join([str(ROOT), *(p or os.getcwd() for p in sys.path)])
    worker = subprocess.Popen(
      command,
      stdout=subprocess.PIPE,
      env={**os.environ, "PYTHONPATH": path},
      text=True,
    )
    assert worker.stdout is not None
    open_row: Row = []
    late = threading.Event()
    timer = _timer(worker, late)
    for line in worker.stdout:
      timer.cancel()
      timer = _timer(worker, late)
      row = json.loads(line)
      first = row[0] + given.jobs
      open_row = row if len(row) == 2 else []
      if len(row) > 2:
        yield row
    timer.cancel()
    status = worker.wait()
    if open_row:
      words = "hangs" if late.is_set() else _ending(status)
      yield [*open_row, pipeline.FAILED, words, 0.0]
    elif status:
      raise SystemExit(f"a worker ended with status {status}")


def _timer(
  worker: subprocess.Popen[str], late: threading.Event
) -> threading.Timer:
  def end() -> None:
    late.set()
    worker.kill()

  timer = threading.Timer(PATIENCE, end)
  timer.daemon = True
  timer.start()
  return timer


def _ending(status: int) -> str:
  if status < 0:
    return f"{signal.Signals(-status).name} in the parent"
  return f"status {status} in the parent"


def table(rows: list[Row]) -> str:
  """Outcomes by kind, in Markdown."""
  counts: dict[str, collections.Counter[str]] = collections.defaultdict(
    collections.Counter
  )
  for _, kind, outcome, *_ in rows:
    counts[kind][outcome] += 1
    counts["all"][outcome] += 1
  lines = [
    "| damaged | tried | " + " | ".join(pipeline.OUTCOMES) + " |",
    "|---" * (2 + len(pipeline.OUTCOMES)) + "|",
  ]
  for kind in (*mutations.KINDS, "all"):
    count = counts[kind]
    cells = [f"{count[o]:,}" for o in pipeline.OUTCOMES]
    lines.append(f"| {kind} | {count.total():,} | " + " | ".join(cells) + " |")
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  main()
