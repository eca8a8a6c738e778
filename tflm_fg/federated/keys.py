"""Keys of X25519, by which two clients agree on a secret."""

from __future__ import annotations

import importlib
from typing import Any

from tflm_fg.types import TflmFgError


def checked_key(client: str, public: bytes) -> bytes:
  """A client's public key, with which others can agree on a secret.

  A server looks at each before it hands them out: with one that is none, all
  others would refuse the round.

  Args:
    client: whose it is.
    public: that it sent.

  Raises:
    TflmFgError: if it is no key, or one that gives everybody the same secret.
  """
  exchanged(x25519().X25519PrivateKey.generate(), client, public)
  return public


def exchanged(private: Any, client: str, public: bytes) -> bytes:
  """What a private key and a client's public one come to: 32 bytes.

  Raises:
    TflmFgError: if the public one is no key.
  """
  try:
    other = x25519().X25519PublicKey.from_public_bytes(public)
    return bytes(private.exchange(other))
  except ValueError:
    raise TflmFgError(
      f"client {client}: its key is no X25519 key; have it draw another"
    ) from None


def x25519() -> Any:
  """The package that knows them.

  Raises:
    TflmFgError: if it is missing.
  """
  try:
    return importlib.import_module(
      "cryptography.hazmat.primitives.asymmetric.x25519"
    )
  except ImportError:
    raise TflmFgError("masks need: pip install 'tflm-fg[signed]'") from None
