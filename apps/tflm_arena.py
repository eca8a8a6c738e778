"""Ask TFLM how much of its arena a .tflite takes."""

from __future__ import annotations

import math
import re
import subprocess
import sys

from tflm_fg.runtimes.registry import is_installed
from tflm_fg.types import TflmFgError

_REPORT = """
import sys
from tflite_micro.python.tflite_micro import runtime
model = sys.stdin.buffer.read()
try:
  interpreter = runtime.Interpreter.from_bytes(
    model, arena_size=int(sys.argv[1])
  )
except RuntimeError as fault:
  sys.exit(f"{fault}")
interpreter.print_allocations()
"""
"""Run as a process of its own: TFLM reports on C's stderr and nowhere else."""


def arena(model: bytes) -> float:
  """Bytes of TFLM's arena that a file takes; nan without TFLM."""
  return reported(model)["total"]


def reported(model: bytes) -> dict[str, float]:
  """TFLM's own report, in bytes; nan without TFLM.

  Args:
    model: a .tflite.

  Returns:
    "total"; "head", planned anew for every pass; and "tail", which stays.

  Raises:
    TflmFgError: if TFLM refuses the model.
  """
  parts = ("total", "head", "tail")
  if not is_installed("tflm"):
    return dict.fromkeys(parts, math.nan)
  # An arena that is far too small makes TFLM crash, so be generous.
  size = 10 * len(model) + (1 << 20)
  done = subprocess.run(
    [sys.executable, "-c", _REPORT, str(size)],
    input=model,
    capture_output=True,
    check=False,
  )
  text = done.stderr.decode("utf-8", "replace")
  if done.returncode:
    raise TflmFgError(f"TFLM refused the model: {' '.join(text.split())}")
  found = {p: re.search(rf"allocation {p} (\d+) bytes", text) for p in parts}
  return {p: float(f[1]) if f else math.nan for p, f in found.items()}
