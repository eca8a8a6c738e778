"""Find the results of finished work by what they depend on.

All work of an adaptation is deterministic: the same file, samples, settings and
seed give the same integers. So a result that is known need not be computed
again, whoever computed it. It has an address, a hash of what it depends on, and
no place in an order: a run that goes on asks for each piece as it comes to it,
and computes what is not there.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import Array

PACKED = 1 << 13
"""Bytes of an array up to which it is packed: slopes of signs become a tenth.
More would take longer to pack than to write."""


@dataclasses.dataclass(frozen=True)
class Kept:
  """The result of a piece of work.

  Attributes:
    arrays: by name, of any integer or float type.
    values: numbers, texts, None and lists of these, by name.
  """

  arrays: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
  values: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def to_text(self) -> str:
    """The result as one line of JSON."""
    arrays = {name: _from_array(array) for name, array in self.arrays.items()}
    return _compact({"values": dict(self.values), "arrays": arrays})

  @classmethod
  def from_text(cls, text: str) -> Kept:
    """The result that such a line holds.

    Raises:
      ValueError: if it holds none.
    """
    try:
      entry = json.loads(text)
      arrays = {name: _to_array(*a) for name, a in entry["arrays"].items()}
      return cls(arrays, entry["values"])
    except (binascii.Error, zlib.error, KeyError, TypeError) as fault:
      raise ValueError(f"no result of finished work ({fault})") from None


class Memo:
  """Where results are kept; this one forgets them all.

  Attributes:
    keeps: whether anything is kept at all.
  """

  keeps = False

  def find(self, address: str) -> Kept | None:
    """The result at an address; None where there is none."""
    del address
    return None

  def keep(self, address: str, kept: Kept, firmly: bool = False) -> None:
    """Keeps a result.

    Args:
      address: of what it depends on.
      kept: the result.
      firmly: whether it must be on the disk itself, to outlast a loss of power
        too; without that it outlasts the end of the process.
    """

  def finish(self) -> None:
    """Notes that all is done."""

  def result(
    self,
    run: Callable[[], Kept],
    kind: str,
    *parts: Any,
    firmly: bool = False,
  ) -> Kept:
    """What a piece of work gives, run and kept where that is not known.

    Args:
      run: does the work.
      kind: of work.
      *parts: what it depends on, as for `address`.
      firmly: as for `keep`.
    """
    if not self.keeps:
      return run()
    known = address(kind, *parts)
    found = self.find(known)
    if found is None:
      found = run()
      self.keep(known, found, firmly)
    return found


NOTHING_KEPT = Memo()
"""For runs without a checkpoint."""


def address(kind: str, *parts: Any) -> str:
  """The address of a piece of work.

  Args:
    kind: what kind of work it is.
    *parts: what its result depends on: bytes, arrays, or what JSON takes.

  Returns:
    64 hexadecimal digits.
  """
  digest = hashlib.sha256(kind.encode())
  for part in parts:
    if isinstance(part, np.ndarray):
      digest.update(f"/{part.dtype.str}{part.shape}/".encode())
      digest.update(np.ascontiguousarray(part).data.cast("B"))
    elif isinstance(part, bytes):
      digest.update(f"/{len(part)}/".encode() + part)
    else:
      digest.update(f"/{_compact(part)}/".encode())
  return digest.hexdigest()


def _compact(entry: Any) -> str:
  return json.dumps(
    entry, separators=(",", ":"), sort_keys=True, default=_plain
  )


def _plain(value: Any) -> Any:
  """A number of NumPy's as Python has it."""
  if isinstance(value, np.generic):
    return value.item()
  raise TypeError(f"{type(value).__name__}: no part of an address or a result")


def _from_array(array: Array) -> list[Any]:
  """Type, shape, whether it is packed, and bytes in base64."""
  little = array.astype(array.dtype.newbyteorder("<"), copy=False)
  data = little.tobytes()
  packed = len(data) <= PACKED
  held = zlib.compress(data, 1) if packed else data
  text = base64.b64encode(held).decode("ascii")
  return [little.dtype.str, list(array.shape), packed, text]


def _to_array(dtype: str, shape: list[int], packed: bool, text: str) -> Array:
  held = base64.b64decode(text.encode("ascii"), validate=True)
  data = zlib.decompress(held) if packed else held
  little = np.frombuffer(data, np.dtype(dtype)).reshape(shape)
  return little.astype(little.dtype.newbyteorder("="))
