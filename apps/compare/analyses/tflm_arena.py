"""Ask TFLM how much of its arena a .tflite takes."""

from __future__ import annotations

import math
import os
import re

from tflm_fg.runtimes.registry import is_installed, native_output
from tflm_fg.types import TflmFgError


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
  # Behind `is_installed`: it is an extra.
  from tflite_micro.python.tflite_micro import runtime

  # An arena that is far too small makes TFLM crash, so be generous.
  size = 10 * len(model) + (1 << 20)
  try:
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=size)
  except RuntimeError as fault:
    raise TflmFgError(f"TFLM refused the model: {fault}") from None
  with native_output():
    # It has no way to say so but on C's stderr, which is a file just now.
    interpreter.print_allocations()
    text = os.pread(2, 1 << 16, 0).decode("utf-8", "replace")
  found = {p: re.search(rf"allocation {p} (\d+) bytes", text) for p in parts}
  return {p: float(f[1]) if f else math.nan for p, f in found.items()}
