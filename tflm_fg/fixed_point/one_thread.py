"""Keep NumPy's BLAS to one thread for as long as a small product takes.

OpenBLAS divides products of a few million multiplications among threads that
wait for each other. Where other programs use the cores, one product then takes
a hundred times longer than on one thread, and on idle cores hardly less.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator

import numpy as np
from threadpoolctl import ThreadpoolController

from tflm_fg.types import Array, Int64

_LOCK = threading.Lock()
"""Two limits at a time would restore each other's."""


@functools.cache
def _blas() -> ThreadpoolController:
  """The libraries behind NumPy, found once: looking takes milliseconds."""
  return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
  """Limits BLAS to one thread inside a `with` block, in the whole process.

  It is for products of microseconds: others who want the limit wait.
  """
  with _LOCK, _blas().limit(limits=1):
    yield


def exact_product(x: Array, y: Array) -> Int64:
  """Gives x @ y by float64's fast product, without an error.

  It is exact as long as no sum reaches 53 bits: 21 bits times 17 bits, summed
  over tens of thousands of samples, stay under them.

  Args:
    x: whole numbers [A, N], integers or floats.
    y: whole numbers [N, B].

  Returns:
    int64 [A, B].
  """
  with one_thread():
    sums = np.asanyarray(x, np.float64) @ np.asanyarray(y, np.float64)
  return sums.astype(np.int64)
