"""Try everything on a folder of .tflite files, and write a table of it.

  python tools/survey.py FOLDER --work=results --out=survey.md
  python tools/survey.py list.txt --work=results --out=survey.md --seconds=300

FOLDER is searched for .tflite files; a text file has a path a line. Each file
is inspected, and marked, adapted, scored and replayed with every placement,
each in a process of its own with a time limit. What is done is kept in --work
and not done again, so a survey can be stopped and goes on where it was. The
table says what is accepted, what is refused and why, and which checks failed:

  - bytes that belong to no trained tensor are unchanged
  - outputs are equal before training
  - the report's scores are those of an independent loop over LiteRT
  - the replay gives the same bytes
  - TFLM loads and runs the adapted file
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tflm_fg.types import TflmFgError, one_line  # noqa: E402
from tools import survey_checks  # noqa: E402

INSPECT = "inspect"

Row = dict[str, Any]


def main() -> None:
  """Surveys what the command line names."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("source", help="a folder, or a text file of paths")
  parser.add_argument("--work", default="survey", help="where results are kept")
  parser.add_argument("--out", help="the table; by default standard output")
  parser.add_argument("--seconds", type=int, default=180, help="for each child")
  given = parser.parse_args()
  paths = paths_of(pathlib.Path(given.source))
  if not paths:
    sys.exit(f"{given.source}: no .tflite files")
  work = pathlib.Path(given.work)
  work.mkdir(parents=True, exist_ok=True)
  rows = [surveyed(path, work, given.seconds, print_progress) for path in paths]
  text = table(rows)
  if given.out:
    pathlib.Path(given.out).write_text(text, encoding="utf-8")
  else:
    print(text)


def print_progress(line: str) -> None:
  """Says on stderr what is being tried."""
  print(line, file=sys.stderr, flush=True)


def paths_of(source: pathlib.Path) -> list[pathlib.Path]:
  """The files of a folder, or of a text file with a path a line; each once."""
  if source.is_dir():
    found: Iterable[pathlib.Path] = source.rglob("*.tflite")
  else:
    lines = source.read_text(encoding="utf-8").splitlines()
    found = (pathlib.Path(line.strip()) for line in lines if line.strip())
  by_content = {digest(path): path for path in sorted(found, reverse=True)}
  return sorted(by_content.values())


def digest(path: pathlib.Path) -> str:
  """What names a file's results: the same content is tried once."""
  return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def surveyed(
  path: pathlib.Path,
  work: pathlib.Path,
  seconds: int,
  tell: Callable[[str], None],
) -> Row:
  """All results of a file: those that are kept, and those that are missing."""
  found: dict[str, Row] = {}
  for what in (INSPECT, *survey_checks.PLACEMENTS):
    kept = work / f"{digest(path)}-{what}.json"
    if not kept.exists():
      tell(f"{path.name}: {what}")
      row = in_child(lambda what=what: _work(str(path), what), kept, seconds)
      kept.write_text(json.dumps(row), encoding="utf-8")
    found[what] = json.loads(kept.read_text(encoding="utf-8"))
  kind = found[INSPECT].get("kind") or survey_checks.kind_of(str(path))
  return {
    "name": path.name,
    "bytes": path.stat().st_size,
    "kind": kind,
    "results": found,
  }


def _work(path: str, what: str) -> Row:
  if what == INSPECT:
    return survey_checks.describe(path)
  return survey_checks.one(path, what)


def in_child(
  work: Callable[[], Row], answer: pathlib.Path, seconds: int
) -> Row:
  """Runs work in a forked process; its result, or how it ended.

  Args:
    work: gives a row that JSON can hold.
    answer: a file that the child may write.
    seconds: after which it is killed.

  Returns:
    The row, or {"refused": a line}, {"broke": a traceback's last line} or
    {"ended": a signal's name or "out of time"}.
  """
  child = os.fork()
  if not child:
    os.setpgid(0, 0)
    os._exit(_answer(work, answer))
  deadline = time.monotonic() + seconds
  while True:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
      break
    if time.monotonic() > deadline:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
      os.waitpid(child, 0)
      return {"ended": "out of time"}
    time.sleep(0.02)
  if os.WIFSIGNALED(status):
    return {"ended": signal.Signals(os.WTERMSIG(status)).name}
  if not answer.exists():
    return {"ended": f"exit status {os.WEXITSTATUS(status)}"}
  return json.loads(answer.read_text(encoding="utf-8"))


def _answer(work: Callable[[], Row], answer: pathlib.Path) -> int:
  """Runs work and writes what came of it; engines print into nothing."""
  nothing = os.open(os.devnull, os.O_WRONLY)
  os.dup2(nothing, 1)
  os.dup2(nothing, 2)
  warnings.simplefilter("ignore")
  try:
    row = work()
  except TflmFgError as fault:
    row = {"refused": one_line(fault, 400)}
  except BaseException as fault:
    row = {"broke": f"{type(fault).__name__}: {one_line(fault, 300)}"}
  answer.write_text(json.dumps(row), encoding="utf-8")
  return 0


def cell(row: Row) -> str:
  """A result in a word or two."""
  if "refused" in row:
    return "no"
  if "broke" in row:
    return "BROKE"
  if "ended" in row:
    return row["ended"].upper()
  if "before" not in row:
    return "yes"
  told = f"{row['before']:.3g} to {row['after']:.3g}"
  return told + ", FAILED" * bool(row["failed"])


def table(rows: list[Row]) -> str:
  """The survey as Markdown: a row a file, and then the reasons."""
  columns = (INSPECT, *survey_checks.PLACEMENTS)
  lines = [
    "| file | what it is | " + " | ".join(columns) + " |",
    "|---" * (2 + len(columns)) + "|",
  ]
  for row in rows:
    cells = [cell(row["results"][what]) for what in columns]
    lines.append(f"| {row['name']} | {row['kind']} | {' | '.join(cells)} |")
  lines += ["", "Accuracy, or mean absolute error, before and after.", ""]
  for row in rows:
    reasons: dict[str, list[str]] = {}
    for what in columns:
      for reason in _reasons(row["results"][what]):
        reasons.setdefault(reason, []).append(what)
    for reason, where in reasons.items():
      lines.append(f"- {row['name']}, {', '.join(where)}: {reason}")
  return "\n".join(lines) + "\n"


def _reasons(row: Row) -> list[str]:
  """Why a result is not a plain yes."""
  for key in ("refused", "broke", "ended"):
    if key in row:
      return [row[key]]
  return list(row.get("failed", []))


if __name__ == "__main__":
  main()
