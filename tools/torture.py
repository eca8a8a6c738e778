"""Kill, interrupt and starve adaptations at many points; write a table of it.

  python tools/torture.py --points=200 --out=torture.md
  python tools/torture.py --points=20 --only=killed

A small model is adapted by `tflm-fg-adapt --checkpoint`, over the outputs of an
earlier run. At a random moment, or at a random call that changes the disk, it
is killed (SIGKILL), ended (SIGTERM), or finds the disk full. What is there then
is looked at: the outputs of before or all of the new ones, and nothing between.
The same command is given again until it is done, and its files are compared
byte for byte with those of a run that nobody disturbed; of the report all but
seconds. Sets of files and a device's two slots are ended at every call of a
write. The table says how many of the points held. Exit status 1: some did not.

Points are drawn from --seed; moments depend on the machine all the same.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
import tempfile
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import torture_points as points_of  # noqa: E402
from tools.torture_points import Point  # noqa: E402
from tools.tortured import Adapting  # noqa: E402

OF_COMMANDS = {
  "killed at a moment": points_of.killed_at_moments,
  "killed at a call that changes the disk": points_of.killed_at_calls,
  "ended by SIGTERM": points_of.ended_by_sigterm,
  "the disk full from one call on": points_of.full_disks,
  "a disk of a few kilobytes": points_of.small_disks,
}
OF_FILES = {
  "a set of files, killed at a call": points_of.sets_of_files,
  "a commit to a slot, killed at a call": points_of.slots_of_a_device,
}


def tortured(
  name: str, points: Iterator[Point], tell: Callable[[str], None]
) -> tuple[str, int, list[str]]:
  """Goes through all points; the name, how many there were, what was wrong."""
  count, faults = 0, []
  for point in points:
    count += 1
    if fault := point():
      faults.append(fault)
    tell(f"{name}: {count - len(faults)} of {count}")
  return name, count, faults


def table(rows: list[tuple[str, int, list[str]]]) -> str:
  """The rows in Markdown."""
  lines = ["| what is done to it | points | held |", "|---|---|---|"]
  lines += [f"| {n} | {count} | {count - len(f)} |" for n, count, f in rows]
  return "\n".join(lines) + "\n"


def main() -> int:
  """Tortures, prints, says whether all held."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--points", type=int, default=200, help="random ones each"
  )
  parser.add_argument("--seed", type=int, default=0, help="of the points")
  parser.add_argument("--only", default="", help="a part of a name")
  parser.add_argument(
    "--flags", default="", help="of tflm-fg-adapt, with spaces"
  )
  parser.add_argument("--out", help="the table; by default standard output")
  given = parser.parse_args()
  rows = []

  def tell(text: str) -> None:
    print(f"\r{text}", end="", file=sys.stderr, flush=True)

  with tempfile.TemporaryDirectory() as place:
    folder, draw = pathlib.Path(place), random.Random(given.seed)
    commands = {n: f for n, f in OF_COMMANDS.items() if given.only in n}
    if commands:
      command = Adapting(folder, given.flags.split())
      for name, points in commands.items():
        found = points(command, draw, given.points)
        rows.append(tortured(name, found, tell))
    for name, of_files in OF_FILES.items():
      if given.only in name:
        rows.append(tortured(name, of_files(folder), tell))
  print(file=sys.stderr)
  if given.out:
    pathlib.Path(given.out).write_text(table(rows))
  else:
    print(table(rows))
  faults = [f"{name}: {fault}" for name, _, f in rows for fault in f]
  print("\n".join(faults), file=sys.stderr)
  return 1 if faults else 0


if __name__ == "__main__":
  sys.exit(main())
