"""Sign what is sent, and check signatures: Ed25519, by `cryptography`."""

from __future__ import annotations

import importlib
from typing import Any

from tflm_fg.types import TflmFgError

_MAKE = "openssl genpkey -algorithm ed25519 -out sign.pem"
_PUBLISH = "openssl pkey -in sign.pem -pubout -out verify.pem"


def sign(data: bytes, key: bytes, name: str) -> bytes:
  """The signature of some bytes, 64 bytes.

  Args:
    data: what is signed.
    key: an Ed25519 private key, PEM without a password.
    name: what to call the key in errors.

  Raises:
    TflmFgError: if it is no such key, or the package is missing.
  """
  serialization, ed25519 = _package("serialization"), _package(_ED25519)
  try:
    private = serialization.load_pem_private_key(key, password=None)
  except Exception:  # a password, another format, an unknown algorithm
    private = None
  if not isinstance(private, ed25519.Ed25519PrivateKey):
    raise TflmFgError(
      f"{name}: is no Ed25519 private key (PEM, without a password); make one: "
      f"{_MAKE}"
    )
  return bytes(private.sign(data))


def verify(
  data: bytes,
  signature: bytes,
  key: bytes,
  name: str,
  key_name: str,
) -> None:
  """Refuses bytes whose signature was not made with the key's other half.

  Args:
    data: what was signed.
    signature: of it.
    key: an Ed25519 public key, PEM.
    name: what to call the bytes in errors.
    key_name: what to call the key in errors.

  Raises:
    TflmFgError: if it was not, or it is no such key, or the package is missing.
  """
  serialization, ed25519 = _package("serialization"), _package(_ED25519)
  try:
    public = serialization.load_pem_public_key(key)
  except Exception:  # another format, an unknown algorithm
    public = None
  if not isinstance(public, ed25519.Ed25519PublicKey):
    raise TflmFgError(
      f"{key_name}: is no Ed25519 public key (PEM); make it from the private "
      f"one: {_PUBLISH}"
    )
  try:
    public.verify(signature, data)
  except Exception:  # InvalidSignature, or one that is none at all
    raise TflmFgError(
      f"{name}: was not signed with the other half of this key; do not use it, "
      "or give the key of whoever made it"
    ) from None


_ED25519 = "asymmetric.ed25519"


def _package(name: str) -> Any:
  """A part of the package, where it is installed."""
  try:
    return importlib.import_module(f"cryptography.hazmat.primitives.{name}")
  except ImportError:
    raise TflmFgError(
      "signatures need: pip install 'tflm-fg[signed]'"
    ) from None
