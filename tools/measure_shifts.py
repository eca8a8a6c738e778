"""Adapt a keyword spotter to shifted samples and print a table.

  python tools/measure_shifts.py FOLDER --methods=default,head,keras-all \
    [--more] [--per_class=5] [--cache=FILE]

The folder holds `kws_ref_model.tflite` of MLPerf Tiny and its samples,
`clips.npz` with x int8 [N, 49, 10, 1] and y [N], and the same under three
offsets in `clips_offset_A.npz`, `_B` and `_C`. A gain of one half and a slower
speaker are made of `clips.npz`, with `--more` others too. A split takes 300
samples to learn from; the others are for the test.

With --cache every run is written to a file as a line of JSON, and what is there
is not run again, so that a measurement may be stopped and go on.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import pathlib
import statistics
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tools import shift_methods, shift_samples
from tools.shift_methods import Ended

METHODS: dict[str, Callable[..., Ended]] = {
  "default": shift_methods.adapted,
  "head": functools.partial(shift_methods.adapted, trainable="head"),
  "undone-head": functools.partial(shift_methods.adapted, trainable="head"),
  "no-labels": functools.partial(shift_methods.adapted, labels=False),
  "keras-all": functools.partial(shift_methods.backpropagated, trainable="all"),
  "keras-head": functools.partial(
    shift_methods.backpropagated, trainable="head"
  ),
}
"""The samples of "undone-head" have their shift taken back exactly."""


def main() -> None:
  """Prints a row for each shift and method."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("folder", type=pathlib.Path)
  parser.add_argument("--methods", default="default")
  parser.add_argument("--shifts", default="")
  parser.add_argument("--more", action="store_true")
  parser.add_argument("--per_class", type=int, default=0)
  parser.add_argument("--splits", type=int, default=3)
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--cache", type=pathlib.Path)
  given = parser.parse_args()
  names = (
    given.shifts.split(",")
    if given.shifts
    else [
      *shift_samples.SHIFTS,
      *(shift_samples.MORE_SHIFTS if given.more else []),
    ]
  )
  print("| shift | method | before | after | spread | passes | seconds |")
  print("|---|---|---|---|---|---|---|")
  for name, method in itertools.product(names, given.methods.split(",")):
    print(_row(name, method, _runs(given, name, method)), flush=True)


def _runs(given: argparse.Namespace, name: str, method: str) -> list[Ended]:
  """One run a split and seed, those that the cache has from there."""
  held = {}
  if given.cache and given.cache.exists():
    lines = map(json.loads, given.cache.read_text().splitlines())
    held = {tuple(key): Ended(*ended) for key, ended in lines}
  runs = []
  for split, seed in itertools.product(range(given.splits), range(given.seeds)):
    key = name, method, given.per_class, split, seed
    if key not in held:
      held[key] = _run(given, name, method, split, seed)
      if given.cache:
        with given.cache.open("a") as file:
          file.write(json.dumps([key, held[key]]) + "\n")
    runs.append(held[key])
  return runs


def _run(
  given: argparse.Namespace, name: str, method: str, split: int, seed: int
) -> Ended:
  undo = method.startswith("undone")
  everything = shift_samples.samples(given.folder, name, undo)
  train, test = shift_samples.split(everything, split)
  if given.per_class:
    train = shift_samples.few(train, given.per_class, seed)
  model = given.folder / "kws_ref_model.tflite"
  return METHODS[method](model, train, test, seed)


def _row(name: str, method: str, runs: list[Ended]) -> str:
  before, after, passes, seconds = (
    statistics.mean(column) for column in list(zip(*runs))[:4]
  )
  spread = statistics.pstdev(run.after for run in runs)
  return (
    f"| {name} | {method} | {before:.3f} | {after:.3f} | {spread:.3f} | "
    f"{passes:.0f} | {seconds:.1f} |"
  )


if __name__ == "__main__":
  main()
