"""Ask TFLM how much of its arena a .tflite takes, and what it answers."""

from __future__ import annotations

import math
import os
import re

import numpy as np

from tflm_fg.runtimes import is_installed, native_output, open_session
from tflm_fg.tflite import tensor_spec, unmarked, whole
from tflm_fg.training import logits_of, model_input
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
    # It writes to C's stderr and nowhere else, which is a file just now.
    interpreter.print_allocations()
    text = os.pread(2, 1 << 16, 0).decode("utf-8", "replace")
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
