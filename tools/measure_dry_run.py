"""How far the estimates of --dry_run are off: estimated and real seconds.

  python tools/measure_dry_run.py MODEL.tflite SAMPLES.npz

Adapts in several ways, each after its dry run, and prints a row for each. The
estimate should be within a factor of two of the run, and take a part of its
time, on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from typing import Any

import tflm_fg
from tflm_fg import dry_run, methods

WAYS: dict[str, dict[str, Any]] = {
  "default": {},
  "without labels": {"labels": "none"},
  "head": {"trainable": "head"},
  "wide head": {"trainable": "wide-head"},
  "prompt and head": {"trainable": "prompt,head"},
  "head, 2000 steps of sign-m-spsa": {
    "trainable": "head",
    "method": methods.SignSPSA(steps=2000),
  },
}


def main(arguments: Sequence[str] | None = None) -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description="Estimated and real seconds.")
  parser.add_argument("model")
  parser.add_argument("samples")
  flags = parser.parse_args(arguments)
  warnings.simplefilter("ignore")
  held = tflm_fg.load_samples(flags.samples, flags.model)
  print("way | dry run (s) | estimated (s) | real (s) | ratio | passes")
  for name, given in WAYS.items():
    began = time.perf_counter()
    found = dry_run.estimate(flags.model, held.x, held.y, **given)
    middle = time.perf_counter()
    report = tflm_fg.adapt(flags.model, held.x, held.y, **given).report
    real = time.perf_counter() - middle
    print(
      f"{name} | {middle - began:.1f} | {found.seconds:.1f} | {real:.1f} | "
      f"{found.seconds / real:.2f} | {found.forward_passes} of "
      f"{report.forward_passes}",
      flush=True,
    )


if __name__ == "__main__":
  main()
