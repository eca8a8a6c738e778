"""Keep NumPy's BLAS to one thread for as long as small products take.

OpenBLAS divides products of a few million multiplications among threads that
wait for each other. Where other programs use the cores, one product then takes
a hundred times longer than on one thread, and on idle cores hardly less.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from threadpoolctl import LibController, ThreadpoolController

from tflm_fg.types import Array, Int64

_LOCK = threading.RLock()
"""Two threads with a limit each would restore each other's."""
_before: list[int] = []
"""Threads of each library outside of all blocks, inside of the first one."""


@functools.cache
def _blas() -> list[LibController]:
  """The libraries behind NumPy, found once: looking takes milliseconds."""
  return ThreadpoolController().select(user_api="blas").lib_controllers


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
  """Limits BLAS to one thread inside a `with` block, in the whole process.

  A block inside a block costs nothing, so that one around a loop saves setting
  the limit for each product. Other threads that want the limit wait.
  """
  with _LOCK:
    if _before:
      yield
      return
    _before[:] = [library.num_threads for library in _blas()]
    try:
      _set_threads([1] * len(_before))
      yield
    finally:
      _set_threads(_before)
      _before.clear()


def _set_threads(numbers: Sequence[int]) -> None:
  for library, number in zip(_blas(), numbers):
    library.set_num_threads(number)


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
