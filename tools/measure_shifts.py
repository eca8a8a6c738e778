"""Adapt a keyword spotter to shifted samples and print a table.

  python tools/measure_shifts.py FOLDER [--per_class=5] [--no_labels]

The folder holds `kws_ref_model.tflite` of MLPerf Tiny and its samples,
`clips.npz` with x int8 [N, 49, 10, 1] and y [N], and the same under three
offsets in `clips_offset_A.npz`, `_B` and `_C`. A gain of one half and a slower
speaker are made of `clips.npz`: MFCCs halved about zero, and stretched in time
by 1.55. A split takes 300 samples to learn from; the others are for the test.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tflm_fg
from tflm_fg.methods import Auto

SCALE, ZERO_POINT = 0.5847029, 83
"""Of the model's input."""

DOMAINS = ("A", "B", "C", "gain", "slow", "none")
TRAIN, STRETCH = 300, 1.55


def _quantized(real):
  steps = np.rint(real / SCALE + ZERO_POINT)
  return np.clip(steps, -128, 127).astype(np.int8)


def _slower(real):
  """The middle of each sample, read more slowly."""
  frames = real.shape[1]
  middle = (frames - 1) / 2
  at = (np.arange(frames) - middle) / STRETCH + middle
  before = np.clip(np.floor(at).astype(int), 0, frames - 2)
  share = (at - before)[None, :, None, None]
  return real[:, before] * (1 - share) + real[:, before + 1] * share


def _domain(folder, name):
  end = f"_offset_{name}" if name in "ABC" else ""
  held = np.load(folder / f"clips{end}.npz")
  x, y = held["x"], held["y"].astype(np.int64)
  real = (x.astype(float) - ZERO_POINT) * SCALE
  if name == "gain":
    x = _quantized(real / 2)
  if name == "slow":
    x = _quantized(_slower(real))
  return x, y


def _split(x, y, number):
  order = np.arange(len(x))
  if number:
    order = np.random.default_rng(number).permutation(len(x))
  train, test = order[:TRAIN], order[TRAIN:]
  return (x[train], y[train]), (x[test], y[test])


def _few(x, y, count, seed):
  random = np.random.default_rng(seed)
  chosen = [
    random.permutation(np.flatnonzero(y == label))[:count]
    for label in np.unique(y)
  ]
  return x[np.concatenate(chosen)], y[np.concatenate(chosen)]


def main():
  """Prints a row a domain: means and spread over splits and seeds."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("folder", type=pathlib.Path)
  parser.add_argument("--per_class", type=int, default=0)
  parser.add_argument("--no_labels", action="store_true")
  parser.add_argument("--splits", type=int, default=3)
  parser.add_argument("--seeds", type=int, default=3)
  given = parser.parse_args()
  model = given.folder / "kws_ref_model.tflite"
  print("| domain | before | after | spread | passes | seconds |")
  print("|---|---|---|---|---|---|")
  for name in DOMAINS:
    rows = []
    for split in range(given.splits):
      train, test = _split(*_domain(given.folder, name), split)
      for seed in range(given.seeds):
        x, y = train
        if given.per_class:
          x, y = _few(x, y, given.per_class, seed)
        began = time.perf_counter()
        report = tflm_fg.adapt(
          model,
          x,
          None if given.no_labels else y,
          test=test,
          method=Auto(seed=seed),
        ).report
        spent = time.perf_counter() - began
        ends = report.accuracy_before, report.accuracy_after
        rows.append((*ends, report.forward_passes, spent))
    before, after, passes, spent = (
      statistics.mean(column) for column in zip(*rows)
    )
    spread = statistics.pstdev(row[1] for row in rows)
    print(
      f"| {name} | {before:.3f} | {after:.3f} | {spread:.3f} | {passes:.0f} | "
      f"{spent:.1f} |",
      flush=True,
    )


if __name__ == "__main__":
  main()
