"""Ask TFLM how much of its arena a .tflite takes, and what it answers."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import numpy as np

from tflm_fg.runtimes import is_installed, open_session
from tflm_fg.samples import model_input
from tflm_fg.tflite import tensor_spec, unmarked, whole
from tflm_fg.training import logits_of
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


def agreement(model: bytes, x: np.ndarray) -> tuple[float, float]:
  """How TFLM and LiteRT's reference kernels agree; nan without TFLM.

  Returns:
    Share of samples that they answer alike; largest difference of their logits.
  """
  if not is_installed("tflm"):
    return math.nan, math.nan
  part = whole(model, unmarked(model, "adapted"))
  samples = model_input(x, tensor_spec(model, part.inputs[0]))
  one, other = (
    logits_of(open_session(name, part), (samples,)).astype(int)
    for name in ("litert-reference", "tflm")
  )
  equal = (one.argmax(axis=1) == other.argmax(axis=1)).mean()
  return float(equal), float(np.abs(one - other).max())
