"""The form of a delta: CBOR around deflated CBOR, checked on every side.

A delta is an array: the format, the body, a check (the first 8 bytes of a
SHA-256 of format and body) and, where the delta is signed, the signature (of
format and body). The body is a deflated array: what `Told` has, in its order.
CBOR has one canonical form, and no other is taken, so that no bit of a delta
can change unnoticed.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any, NamedTuple

from tflm_fg.types import TflmFgError

FORMAT = "tflm-fg-delta-1"

SPARE_BYTES = 1 << 24
"""How many bytes a result may have beyond four times its base."""

_CHECK_BYTES = 8


class Told(NamedTuple):
  """What the body of a delta says.

  Attributes:
    base: SHA-256 of the file that it was made from.
    base_bytes: its size.
    result: SHA-256 of the file that it makes.
    result_bytes: its size.
    adds: whether bytes that change in place are added to what was there,
      modulo 256, which is shorter where weights moved a little, or replace it.
    pieces: of the result, in order. A piece is bytes that are new, or a list:
      where in the base to copy from, how many bytes, and then, by turns, how
      many bytes stay and what changes those behind them.
  """

  base: bytes
  base_bytes: int
  result: bytes
  result_bytes: int
  adds: bool
  pieces: list[Any]


class Sealed(NamedTuple):
  """A delta whose check fits.

  Attributes:
    signed: the bytes that a signature is made of.
    body: deflated CBOR.
    signature: of `signed`; None where there is none.
  """

  signed: bytes
  body: bytes
  signature: bytes | None


def body_of(told: Told) -> bytes:
  """The deflated body."""
  raw, made = _packed(list(told)), []
  for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY):
    packing = zlib.compressobj(9, zlib.DEFLATED, 15, 9, strategy)
    made.append(packing.compress(raw) + packing.flush())
  return min(made, key=len)


def to_sign(body: bytes) -> bytes:
  """What a signature is made of: the format too, so that it fits no other."""
  return FORMAT.encode() + body


def sealed(body: bytes, signature: bytes | None) -> bytes:
  """A whole delta."""
  whole = [FORMAT, body, _check(body)]
  return _packed(whole if signature is None else [*whole, signature])


def opened(delta: bytes, name: str) -> Sealed:
  """A delta's parts, unless it is damaged.

  Raises:
    TflmFgError: if it is, or is no delta.
  """
  whole = _unpacked(delta)
  if not isinstance(whole, list) or whole[:1] != [FORMAT]:
    raise TflmFgError(
      f"{name}: is no delta, or is damaged; give a whole file that --delta "
      "wrote"
    )
  _, *rest = whole
  if not 2 <= len(rest) <= 3 or not all(type(r) is bytes for r in rest):
    raise damaged(name)
  body, signature = rest[0], rest[2] if len(rest) > 2 else None
  if rest[1] != _check(body):
    raise damaged(name)
  return Sealed(to_sign(body), body, signature)


def is_signed(delta: bytes, name: str = "the delta") -> bool:
  """Whether a delta carries a signature, whoever's it may be.

  Raises:
    TflmFgError: if it is no delta, or damaged.
  """
  return opened(delta, name).signature is not None


def read_body(body: bytes, base: bytes, name: str) -> Told:
  """What a body says. No more is unpacked than a sound delta may hold.

  Raises:
    TflmFgError: if it is damaged, or blows up what it holds.
  """
  unpacking = zlib.decompressobj()
  try:
    raw = unpacking.decompress(body, most_bytes(base))
  except zlib.error:
    raise damaged(name) from None
  if not unpacking.eof or unpacking.unused_data:
    raise damaged(name)
  told = _unpacked(raw)
  if not isinstance(told, list) or len(told) != len(_KINDS):
    raise damaged(name)
  if any(type(value) is not kind for value, kind in zip(told, _KINDS)):
    raise damaged(name)
  found = Told(*told)
  require_size(found.result_bytes, base, f"{name}: the result")
  return found


_KINDS = (bytes, int, bytes, int, bool, list)
"""Types of what `Told` has."""


def most_bytes(base: bytes) -> int:
  """The largest result of a base."""
  return 4 * len(base) + SPARE_BYTES


def require_size(size: int, base: bytes, name: str) -> None:
  """Refuses results that a small delta blows up, before memory is taken.

  Raises:
    TflmFgError: if it has too many bytes.
  """
  if not 0 <= size <= most_bytes(base):
    raise TflmFgError(
      f"{name} has {size} bytes, and a delta makes at most {most_bytes(base)} "
      f"of a base of {len(base)}; send the whole file"
    )


def damaged(name: str) -> TflmFgError:
  """The one line for whatever is not as it was made."""
  return TflmFgError(f"{name}: is damaged or cut off; fetch it again")


def _check(body: bytes) -> bytes:
  return hashlib.sha256(to_sign(body)).digest()[:_CHECK_BYTES]


def _packed(told: Any) -> bytes:
  """CBOR in its canonical form."""
  return bytes(_cbor2().dumps(told, canonical=True))


def _unpacked(raw: bytes) -> Any:
  """What CBOR in its canonical form holds; None if it is none."""
  cbor2 = _cbor2()
  try:
    told = cbor2.loads(raw)
    return told if _is_flat(told) and _packed(told) == raw else None
  except Exception:  # whatever a hostile file makes of the decoder
    return None


def _is_flat(told: Any, depth: int = 3) -> bool:
  """Whether it is made of what a delta has, no deeper than that.

  Maps whose keys are maps take the packer twice as long with every level.
  """
  if isinstance(told, list):
    return depth > 0 and all(_is_flat(inner, depth - 1) for inner in told)
  return isinstance(told, str | bytes | int)


def _cbor2() -> Any:
  """The package, where it is installed."""
  try:
    import cbor2
  except ImportError:
    raise TflmFgError("deltas need: pip install 'tflm-fg[delta]'") from None
  return cbor2
