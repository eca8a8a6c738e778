"""Read pickles of dicts, lists, numbers and arrays, and of nothing else.

A pickle can call whatever it names. Here it can name NumPy's arrays alone, and
gets stand-ins for these: what they are given is checked before NumPy gets it.

A pickle can also ask for memory: for a table of any length, by one number of
what it has noted, or for copies of copies. Both are bounded by its own length.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

from tflm_fg.types import Array, TflmFgError, one_line

_DTYPES = frozenset(
  f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)
) | {"f4", "f8"}


COPIES = 3
"""Bytes that are copied while a pickle is read, for each of its own: a text of
Python 3 becomes bytes, and bytes an array."""


class _Dtype:
  """Stands for numpy.dtype."""

  def __init__(self, code: str | bytes, *unused: object) -> None:
    self._code, self._order = _text(code), "|"

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    self._order = _text(state[1])

  def to_numpy(self) -> np.dtype[Any]:
    """The dtype, of plain numbers."""
    if self._code not in _DTYPES or self._order not in ("|", "<", ">", "="):
      raise ValueError(f"an array of {self._code!r}")
    return np.dtype(self._order.replace("|", "=") + self._code)


class _Array:
  """Stands for numpy.ndarray."""

  def __init__(self, *unused: object) -> None:
    self._state: tuple[Any, ...] = ()

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    self._state = state

  @property
  def num_bytes(self) -> int:
    """Of the array."""
    return len(self._state[4])

  def to_numpy(self) -> Array:
    """The array, a copy."""
    _, shape, dtype, fortran, content = self._state
    flat = np.frombuffer(content, dtype.to_numpy())
    return np.reshape(flat, shape, order="F" if fortran else "C").copy()


def _from_buffer(
  content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str
) -> _Array:
  """Stands for what arrays of pickle protocol 5 call."""
  made = _Array()
  made.__setstate__((1, shape, dtype, order == "F", content))
  return made


_KNOWN: dict[tuple[str, str], Any] = {
  ("numpy", "ndarray"): _Array,
  ("numpy", "dtype"): _Dtype,
}
for _core in ("numpy.core", "numpy._core"):
  _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _Array
  _KNOWN[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Unpickler(pickle.Unpickler):
  def __init__(self, content: bytes) -> None:
    super().__init__(io.BytesIO(content), encoding="bytes")
    self._left = COPIES * len(content)

  def spend(self, count: int) -> None:
    """Counts bytes that are copied.

    Raises:
      ValueError: if they are more than an honest file has.
    """
    self._left -= count
    if self._left < 0:
      raise ValueError("it copies what it holds many times")

  def _encode(self, text: str, codec: str) -> bytes:
    """Stands for how Python 3 writes bytes for Python 2."""
    self.spend(len(text))
    return text.encode("latin1")

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) == ("_codecs", "encode"):
      return self._encode
    if (module, name) not in _KNOWN:
      raise TflmFgError(
        f"it names {module}.{name}; only arrays, lists, dicts and plain values "
        "are read, so that a file cannot run anything"
      )
    return _KNOWN[module, name]


def load(content: bytes, name: str) -> dict[str, Any]:
  """Reads a pickled dict, of Python 2 or 3.

  Args:
    content: the file.
    name: what to call it in errors.

  Returns:
    The dict, its keys as text, its arrays as arrays.

  Raises:
    TflmFgError: if it is no pickle of a dict, is cut short, or names anything
      else than arrays.
  """
  try:
    _require_short_notes(content)
    reader = _Unpickler(content)
    held = reader.load()
    if not isinstance(held, dict):
      raise ValueError(f"it holds a {type(held).__name__}, not a dict")
    arrays = [v for v in held.values() if isinstance(v, _Array)]
    reader.spend(sum(array.num_bytes for array in arrays))
    return {
      _text(key): value.to_numpy() if isinstance(value, _Array) else value
      for key, value in held.items()
    }
  except MemoryError:
    raise
  except TflmFgError as fault:
    raise TflmFgError(f"{name}: {fault}") from None
  except Exception as fault:  # a damaged pickle raises what it likes
    raise TflmFgError(
      f"{name}: not a pickle that can be read ({one_line(fault, 80)}); fetch "
      "it again"
    ) from None


def _require_short_notes(content: bytes) -> None:
  """Refuses a pickle that notes something under a number beyond its length.

  Python makes a table as long as the largest number, before it has anything to
  put there: five bytes ask for 16 GB.

  Raises:
    ValueError: if it does.
  """
  for operation, number, _ in pickletools.genops(content):
    noted = operation.name in ("PUT", "BINPUT", "LONG_BINPUT")
    if noted and isinstance(number, int) and number > len(content):
      raise ValueError(f"it notes something under the number {number}")


def _text(value: str | bytes) -> str:
  return value.decode("latin1") if isinstance(value, bytes) else str(value)
