"""A pair of keys to sign with, the same in every run."""

import functools

import pytest


@functools.cache
def ed25519():
  """The private and the public key, PEM each."""
  keys = pytest.importorskip(
    "cryptography.hazmat.primitives.asymmetric.ed25519"
  )
  from cryptography.hazmat.primitives import serialization as form

  private = keys.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
  pem = form.Encoding.PEM
  return (
    private.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption()),
    private.public_key().public_bytes(
      pem, form.PublicFormat.SubjectPublicKeyInfo
    ),
  )
