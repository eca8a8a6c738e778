"""Say what a file needs on a device, and what it needs that it did not before.

Four things decide whether an adapted file can take the place of the one that
came: the operators that its engine must have, the arena that TFLM must be
given, the bytes of the file, and whether an engine loads and runs it at all.
The first three are counted, the last is tried in every engine that is
installed, in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tflm_fg.memory.arena import arena_of
from tflm_fg.memory.dataflow import read_dataflow
from tflm_fg.runtimes import trial
from tflm_fg.tflite.contents.operators import Kernel, kernels_of, new_kernels
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.training_metadata import without_mark

REPORTED, PLANNED = "TFLM", "plan"
"""Where the bytes of an arena come from: TFLM's own report of the file here,
or the planner of `memory.arena`, which is within 5 % of it where both were
compared. Bookkeeping is that of a 64-bit build; a microcontroller needs less.
"""


def requirements(before: Source, after: Source) -> dict[str, Any]:
  """What a file needs, beside what it needed before it was changed.

  Args:
    before: the file as it came, as bytes or opened, marked or not.
    after: what was made of it, the same.

  Returns:
    JSON-ready; a mark is no part of the files:
    "operators": a row for each operator that the file needs: its `name`,
      `version`, and `resolver`, the call by which TFLM's
      MicroMutableOpResolver is told.
    "new_operators": those of these rows that the file did not need before.
    "model_bytes_before", "model_bytes": of the files.
    "arena_bytes_before", "arena_bytes": of TFLM's arena for one sample.
    "arena_from": `REPORTED` or `PLANNED`, for both files alike.
    "min_runtime_version": the lowest version of TensorFlow that the file's
      own metadata asks for, as text; None where it says nothing. It was
      written for the operators of before.
    "runs_in": a row for each engine that is installed: `engine`, `runs`, and
      the `fault` in the engine's own words where it does not.

  Raises:
    TflmFgError: if the bytes are not a sound .tflite.
  """
  # Engines pass over a mark, so files are taken with it as they were opened.
  old, new = (ModelFile.of(source) for source in (before, after))
  tried = verdicts(new)
  arenas = next((t.arena for t in tried if t.engine == "tflm"), None)
  report = opened_arena(old) if arenas else None
  if arenas and report:
    came_from, bytes_before, bytes_after = REPORTED, report[0], arenas[0]
  else:
    came_from = PLANNED
    bytes_before, bytes_after = (
      arena_of(read_dataflow(file)).total for file in (old, new)
    )
  return {
    "operators": [_row(kernel) for kernel in kernels_of(new)],
    "new_operators": [_row(kernel) for kernel in new_kernels(old, new)],
    "model_bytes_before": len(without_mark(old)),
    "model_bytes": len(without_mark(new)),
    "arena_bytes_before": bytes_before,
    "arena_bytes": bytes_after,
    "arena_from": came_from,
    "min_runtime_version": _minimum(new),
    "runs_in": [
      {"engine": t.engine, "runs": not t.fault, "fault": t.fault} for t in tried
    ],
  }


class Verdict(NamedTuple):
  """Whether an engine loads a file and runs it.

  Attributes:
    engine: its name.
    fault: why it does not, in its own words; empty if it does.
    arena: as `Ran.arena`.
  """

  engine: str
  fault: str
  arena: tuple[int, int, int] | None


def verdicts(file: ModelFile) -> list[Verdict]:
  """Opens a file in every engine that is installed, and runs it once.

  What has run before is not run again. TensorFlow's own interpreter is not
  among the engines: its kernels are LiteRT's, and it takes seconds to start.

  Args:
    file: the file as it will be used, without a mark.
  """
  found = []
  for engine in filter(trial.can_run, trial.ENGINES):
    fault, arena = trial.misread(file, engine), None
    if not fault:
      ran = trial.verdict(file, engine)
      told = "it crashes: " if ran.crashed else ""
      fault, arena = ran.fault and told + ran.fault, ran.arena
    found.append(Verdict(engine, fault, arena))
  return found


def opened_arena(file: ModelFile) -> tuple[int, int, int] | None:
  """TFLM's report of its arena for a file that is opened and not run.

  Returns:
    As `Ran.arena`; None where TFLM is not installed or does not take it.
  """
  if not trial.can_run("tflm") or trial.misread(file, "tflm"):
    return None
  return trial.run(file, "tflm", ()).arena


def _minimum(file: ModelFile) -> str | None:
  for name, buffer in file.metadata:
    if name == b"min_runtime_version":
      start, length = file.spans[buffer]
      said = file.data[start : start + length].rstrip(b"\0")
      return said.decode("utf-8", "replace")
  return None


def _row(kernel: Kernel) -> dict[str, Any]:
  return {
    "name": kernel.name,
    "version": kernel.version,
    "resolver": kernel.resolver_call,
  }


def in_words(needs: Mapping[str, Any]) -> list[str]:
  """The same for people, in a few lines.

  Args:
    needs: as `requirements` gives it.
  """
  fresh = needs["new_operators"]
  if fresh:
    names = ", ".join(
      f"{row['name']} (version {row['version']})" for row in fresh
    )
    calls = ", ".join(dict.fromkeys(row["resolver"] for row in fresh))
    first = f"operators that it did not need before: {names}; in TFLM: {calls}"
    if needs["min_runtime_version"]:
      first += (
        "; its metadata asks for TensorFlow "
        f"{needs['min_runtime_version']}, which does not count these"
      )
  else:
    first = "it needs no operator that it did not need before"
  source = (
    "as TFLM reports it" if needs["arena_from"] == REPORTED else "planned"
  )
  sizes = (
    f"file {needs['model_bytes_before']} -> {needs['model_bytes']} bytes, "
    f"TFLM arena {needs['arena_bytes_before']} -> {needs['arena_bytes']} bytes "
    f"({source})"
  )
  runs = [row["engine"] for row in needs["runs_in"] if row["runs"]]
  lines = [first, sizes, f"loaded and run in: {', '.join(runs) or 'none'}"]
  return lines + [
    f"{row['engine']} does not run it: {row['fault']}"
    for row in needs["runs_in"]
    if not row["runs"]
  ]
