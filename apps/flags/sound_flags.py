"""The flag of how recordings are read, for programs that read folders."""

from __future__ import annotations

from absl import flags

from apps import cli

cli.section(cli.SOMETIMES)
STRICT = flags.DEFINE_boolean(
  "strict",
  False,
  "stop at a recording that cannot be read, which is else named and passed "
  "over",
)
