"""Say whether the hot loops run in C or in NumPy; the bytes are the same.

The C functions are those of a microcontroller (tflm_fg/micro), compiled when
the package is installed, if there is a compiler. The environment variable
TFLM_FG_CORE chooses: "auto" (the default) takes C where it is there, "c"
demands it, and "numpy" does without.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import pathlib
from typing import Any

from tflm_fg.types import TflmFgError, require_one

VARIABLE = "TFLM_FG_CORE"
CHOICES = ("auto", "c", "numpy")

_SOURCES = (
  "fg.h",
  "fg_core.h",
  "fg_losses.c",
  "fg_measure.c",
  "python.c",
)
_FOLDER = pathlib.Path(__file__).parent.parent / "micro"


@functools.cache
def native() -> Any:
  """The module of C functions, or None where NumPy does their work.

  Raises:
    TflmFgError: if C is demanded and not there.
  """
  choice = os.environ.get(VARIABLE, "auto")
  require_one(VARIABLE, choice, CHOICES)
  if choice == "numpy":
    return None
  try:
    found = importlib.import_module("tflm_fg.fixed_point._native")
  except ImportError as fault:
    return _missing(choice, f"it was not built ({fault})")
  # Sources that were edited since, as in a clone, may do something else.
  if fingerprint() != found.SOURCES:
    return _missing(choice, "it was built from other sources")
  return found


def core() -> str:
  """What runs the hot loops: "c" or "numpy"."""
  return "numpy" if native() is None else "c"


def fingerprint() -> str:
  """Of the C files that the library is made of."""
  found = hashlib.sha256()
  for name in _SOURCES:
    found.update((_FOLDER / name).read_bytes())
  return found.hexdigest()[:16]


def _missing(choice: str, cause: str) -> None:
  if choice == "c":
    raise TflmFgError(
      f"{VARIABLE}=c: the C library is not there, {cause}; install a C "
      "compiler and run 'pip install .' again, or leave the variable out"
    )
