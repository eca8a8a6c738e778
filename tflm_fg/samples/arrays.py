"""The arrays that samples and their targets are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tflm_fg.types import Array, TflmFgError


class Dataset(NamedTuple):
  """Samples and their targets; x [N, ...], y [N], [N, C] or None."""

  x: Array
  y: Array | None


def array_of(values: Any, name: str) -> Array:
  """What a user gave as an array; lists of numbers will do.

  Raises:
    TflmFgError: if it is none.
  """
  try:
    return np.asarray(values)
  except Exception:  # ragged lists, or odd __array__ methods
    raise TflmFgError(
      f"{name}: {type(values).__name__} that is no array; need numbers, "
      "as many for each sample"
    ) from None


def counted(count: int, noun: str) -> str:
  """A count with its noun: "1 sample", "2 samples"."""
  return f"{count} {noun}{'s' * (count != 1)}"


def listed(indices: Any, most: int = 5) -> str:
  """The first few of some indices, for people: "3, 7, 9 and 4 more"."""
  shown = ", ".join(str(int(i)) for i in indices[:most])
  more = len(indices) - most
  return f"{shown} and {more} more" if more > 0 else shown
