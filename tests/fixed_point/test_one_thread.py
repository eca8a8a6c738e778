"""Small products run on one thread of NumPy's BLAS."""

import threading
from typing import ClassVar

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tflm_fg.fixed_point.one_thread import (
  _blas,
  exact_product,
  one_thread,
)
from tflm_fg.gradients import multi_tangent


def threads():
  """Of each BLAS in this process."""
  found = [i for i in threadpool_info() if i["user_api"] == "blas"]
  return {i["num_threads"] for i in found}


@pytest.fixture(autouse=True)
def two_threads():
  _blas.cache_clear()  # other tests may have loaded SciPy's since it was found
  with threadpool_limits(2, "blas"):
    if threads() != {2}:
      pytest.skip("NumPy's BLAS here has one thread, or cannot be told")
    yield


class Watched(np.ndarray):
  """Notes how many threads a product of it may use."""

  seen: ClassVar[list] = []

  def __array_ufunc__(self, ufunc, method, *inputs, **options):
    if ufunc is np.matmul:
      self.seen.append(threads())
    plain = [np.asarray(i) for i in inputs]
    if "out" in options:
      options["out"] = tuple(np.asarray(o) for o in options["out"])
    return np.asarray(getattr(ufunc, method)(*plain, **options)).view(Watched)


@pytest.fixture
def seen(monkeypatch):
  monkeypatch.setattr(Watched, "seen", [])
  return Watched.seen


def test_the_limit_ends_where_the_product_does():
  with one_thread():
    assert threads() == {1}
  assert threads() == {2}


def test_a_block_inside_a_block_leaves_the_limit_to_the_outer_one():
  with one_thread():
    with one_thread():
      pass
    assert threads() == {1}
  assert threads() == {2}


def test_another_thread_waits_until_the_limit_is_taken_away():
  inside = threading.Event()

  def other():
    with one_thread():
      inside.set()

  thread = threading.Thread(target=other)
  with one_thread():
    thread.start()
    assert not inside.wait(0.01)
  thread.join()
  assert inside.is_set()
  assert threads() == {2}


def test_the_limit_ends_behind_an_error():
  with pytest.raises(ZeroDivisionError), one_thread():
    raise ZeroDivisionError
  assert threads() == {2}


def test_the_closed_form_multiplies_on_one_thread(seen):
  x = np.arange(12, dtype=np.int8).reshape(4, 3).view(Watched)
  residual = np.arange(8).reshape(4, 2)
  sums = exact_product(residual.T, x - np.int64(1))
  np.testing.assert_array_equal(sums, residual.T @ (np.asarray(x) - 1))
  assert seen == [{1}]


def test_directions_are_multiplied_on_one_thread(seen):
  drawn = np.array([[1, -1, 1], [1, 1, 1]], np.int8).view(Watched)
  multi_tangent.projected(drawn, np.array([5, 7]), 1)
  assert seen
  assert all(s == {1} for s in seen)
