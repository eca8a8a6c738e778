"""Read whole files."""

from __future__ import annotations

import os

from tflm_fg.files.names import require_name, why
from tflm_fg.types import TflmFgError


def read_bytes(path: str) -> bytes:
  """Reads a file.

  Raises:
    TflmFgError: if it cannot be read.
  """
  require_name(path)
  try:
    with open(path, "rb") as file:
      return file.read()
  except FileNotFoundError:
    raise TflmFgError(f"{path}: no such file") from None
  except (OSError, ValueError) as fault:
    raise TflmFgError(f"{path}: cannot be read: {why(fault)}") from None


def read_model(
  model: bytes | str | os.PathLike[str], name: str | None = None
) -> tuple[bytes, str]:
  """The bytes of a model, and what to call it in errors.

  Args:
    model: a file's path, or its bytes.
    name: what to call it; by default the path, or "model".

  Raises:
    TflmFgError: if there is no such file, or it cannot be read.
  """
  if isinstance(model, bytes | bytearray | memoryview):
    return bytes(model), name or "model"
  try:
    path = os.fspath(model)
  except TypeError:
    raise TflmFgError(
      f"model: need the path or the bytes of a .tflite, got "
      f"{type(model).__name__}"
    ) from None
  return read_bytes(path), name or path
