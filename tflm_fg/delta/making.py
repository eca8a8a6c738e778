"""Make deltas and apply them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflm_fg.delta import delta_file, matching, signing
from tflm_fg.delta.delta_file import Told
from tflm_fg.types import TflmFgError

JOIN = 4
"""Fewer equal bytes than this between two changed runs are sent as zeros."""


def make(
  base: bytes,
  result: bytes,
  sign_key: bytes | None = None,
  key_name: str = "sign_key",
) -> bytes:
  """What must be sent to those who have the base.

  Args:
    base: the file that they have.
    result: the file that they should have.
    sign_key: an Ed25519 private key, PEM; None signs nothing.
    key_name: what to call the key in errors.

  Returns:
    The delta.

  Raises:
    TflmFgError: if a package is missing, the key is none, or the result is so
      much larger than the base that `apply` would refuse it.
  """
  delta_file.require_size(len(result), base, "the result")
  found = matching.pieces(base, result)
  bodies = [
    delta_file.body_of(
      Told(
        base=_sha256(base),
        base_bytes=len(base),
        result=_sha256(result),
        result_bytes=len(result),
        adds=adds,
        pieces=[_written(piece, base, result, adds) for piece in found],
      )
    )
    for adds in (False, True)
  ]
  body = min(bodies, key=len)
  signature = None
  if sign_key is not None:
    signature = signing.sign(delta_file.to_sign(body), sign_key, key_name)
  return delta_file.sealed(body, signature)


def apply(
  delta: bytes,
  base: bytes,
  verify_key: bytes | None = None,
  name: str = "the delta",
  key_name: str = "verify_key",
) -> bytes:
  """The file that a delta makes of its base.

  Args:
    delta: what `make` gave.
    base: the file that it was made from.
    verify_key: an Ed25519 public key, PEM: a delta that was not signed with the
      other half of it is refused. None checks no signature.
    name: what to call the delta in errors.
    key_name: what to call the key in errors.

  Raises:
    TflmFgError: if the delta is damaged or not signed as it should be, if the
      base is another file, or if a package is missing.
  """
  whole = delta_file.opened(delta, name)
  if verify_key is not None:
    if whole.signature is None:
      raise TflmFgError(
        f"{name}: is not signed; take one that was made with --sign_key"
      )
    signing.verify(whole.signed, whole.signature, verify_key, name, key_name)
  told = delta_file.read_body(whole.body, base, name)
  if told.base != _sha256(base) or told.base_bytes != len(base):
    raise TflmFgError(
      f"{name}: was made from a file of {told.base_bytes} bytes with SHA-256 "
      f"{told.base.hex()}, and the given one has {len(base)} bytes and "
      f"{_sha256(base).hex()}; give the file that it was made from"
    )
  try:
    _require_sound(told, base)
    made = b"".join(_made(piece, base, told.adds) for piece in told.pieces)
  except (ValueError, IndexError):
    raise delta_file.damaged(name) from None
  if _sha256(made) != told.result:
    raise delta_file.damaged(name)
  return made


def _sha256(data: bytes) -> bytes:
  return hashlib.sha256(data).digest()


def _written(
  piece: matching.Piece, base: bytes, result: bytes, adds: bool
) -> bytes | list[Any]:
  """A piece as a delta has it."""
  new = result[piece.start : piece.end]
  if piece.source is None:
    return new
  old = base[piece.source : piece.source + len(new)]
  told: list[Any] = [piece.source, len(new)]
  by_now = 0
  for at, end in matching.runs(old, new, JOIN):
    changed = new[at:end]
    if adds:
      after, before = (
        np.frombuffer(b, np.uint8) for b in (changed, old[at:end])
      )
      changed = (after - before).tobytes()
    told += [at - by_now, changed]
    by_now = end
  return told


def _require_sound(told: Told, base: bytes) -> None:
  """ValueError unless the pieces are as long as the result, before any copy."""
  total = 0
  for piece in told.pieces:
    if isinstance(piece, bytes):
      total += len(piece)
      continue
    if not isinstance(piece, list):
      raise ValueError
    source, length = _count(piece[0]), _count(piece[1])
    if source + length > len(base):
      raise ValueError
    total += length
  if total != told.result_bytes:
    raise ValueError


def _made(piece: bytes | Sequence[Any], base: bytes, adds: bool) -> bytes:
  """One piece of the result; ValueError where it is not sound."""
  if isinstance(piece, bytes):
    return piece
  source, length, *changed = piece
  made = np.frombuffer(base[source : source + length], np.uint8).copy()
  at = 0
  for stay, values in zip(changed[::2], changed[1::2], strict=True):
    at += _count(stay)
    if not isinstance(values, bytes) or at + len(values) > length:
      raise ValueError
    run = made[at : at + len(values)]
    run[:] = np.frombuffer(values, np.uint8) + (run if adds else 0)
    at += len(values)
  return made.tobytes()


def _count(value: Any) -> int:
  """A whole number from 0 on; ValueError if it is anything else."""
  if type(value) is not int or value < 0:
    raise ValueError
  return value
