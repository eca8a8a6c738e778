"""Write and apply deltas as the flags of `delta_flags` say."""

from __future__ import annotations

from typing import Any

from apps.flags import delta_flags as own
from tflm_fg import delta, files
from tflm_fg.types import TflmFgError


def require() -> None:
  """Refuses flags, keys and packages that do not serve, before long work.

  Raises:
    TflmFgError: in one line.
  """
  for key, use in ((own.SIGN_KEY, own.DELTA), (own.VERIFY_KEY, own.APPLY)):
    if key.value and not use.value:
      raise TflmFgError(
        f"--{key.name}: is for --{use.name}, which is missing; add it"
      )
  if own.DELTA.value:
    written(b"", b"")


def written(base: bytes, adapted: bytes) -> dict[str | None, bytes]:
  """The delta, if one is asked for: path -> bytes.

  Args:
    base: the file that devices have.
    adapted: the file that they should have.
  """
  if not own.DELTA.value:
    return {}
  key, name = _key(own.SIGN_KEY)
  return {own.DELTA.value: delta.make(base, adapted, key, name)}


def print_size(contents: dict[str | None, bytes]) -> None:
  """Says how much must be sent."""
  if made := contents.get(own.DELTA.value):
    print(f"{own.DELTA.value}: {len(made)} bytes to send in place of the file")


def applied(base: bytes) -> bytes:
  """The file that --apply makes of the base."""
  path = own.APPLY.value
  sent = files.read_bytes(path)
  key, name = _key(own.VERIFY_KEY)
  made = delta.apply(sent, base, key, name=path, key_name=name)
  if key is None and delta.is_signed(sent, path):
    print(f"note: {path} is signed, and --verify_key says by whom it should be")
  return made


def _key(holder: Any) -> tuple[bytes | None, str]:
  """A flag's key, and what to call it."""
  path = holder.value
  return files.read_bytes(path) if path else None, f"--{holder.name}={path}"
