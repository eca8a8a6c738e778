"""A process that tries mutants, as a program tries a user's file.

It is given a seed, the numbers of the mutants and the engines, and writes a
line of JSON before a mutant and one behind it: a signal lets the second fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

from tflm_fg.runtimes import trial_process
from tools.fuzzing import mutations, pipeline

MOST_BYTES = 6 << 30
"""Address space, so that a mutant's shapes cannot take the machine's memory."""

LIMIT_SECONDS = 10.0
"""What takes longer hangs."""


def main() -> None:
  """Tries what the command line says: SEED FIRST END STEP ENGINE,... TURNS."""
  seed, first, end, step, turns = map(int, [*sys.argv[1:5], sys.argv[6]])
  engines = tuple(sys.argv[5].split(","))
  answers = os.fdopen(os.dup(1), "w")
  nothing = os.open(os.devnull, os.O_WRONLY)
  os.dup2(nothing, 1)
  os.dup2(nothing, 2)
  trial_process.LIMIT_SECONDS = LIMIT_SECONDS
  with contextlib.suppress(ImportError):
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
  bases = len(mutations.zoo.BUILDERS)
  for number in range(first, end, step):
    mutant = mutations.drawn(seed, number)
    data = mutant.data()
    print(json.dumps([number, mutant.kind]), file=answers, flush=True)
    # Every model meets every engine in turn.
    place = number // bases
    chosen = [engines[(place + i) % len(engines)] for i in range(turns)]
    began = time.process_time()
    ending = pipeline.tried(data, number, tuple(chosen))
    spent = time.process_time() - began
    row = [number, mutant.kind, *ending, round(spent, 3)]
    print(json.dumps(row), file=answers, flush=True)


if __name__ == "__main__":
  main()
