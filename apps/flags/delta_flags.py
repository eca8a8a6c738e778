"""The flags of what changed in a model, sent in place of the whole file."""

from __future__ import annotations

from absl import flags

from apps import cli

cli.section(cli.SOMETIMES)
DELTA = flags.DEFINE_string(
  "delta",
  None,
  "where to write what changed between --model and --out, for devices that "
  "have --model; about 1 kB for a head",
)
APPLY = flags.DEFINE_string(
  "apply",
  None,
  "a delta: make --out of it and of --model, without --train and without an "
  "engine; whatever is not as it was made is refused",
)
SIGN_KEY = flags.DEFINE_string(
  "sign_key", None, "an Ed25519 private key (PEM) to sign --delta with"
)
VERIFY_KEY = flags.DEFINE_string(
  "verify_key",
  None,
  "an Ed25519 public key (PEM): --apply refuses what was not signed with its "
  "other half",
)
INPUTS = (APPLY, SIGN_KEY, VERIFY_KEY)
