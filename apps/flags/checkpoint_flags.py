"""The flag of programs that keep finished work while they run."""

from __future__ import annotations

from absl import flags

from apps import cli

cli.section(cli.OFTEN)
CHECKPOINT = flags.DEFINE_string(
  "checkpoint",
  None,
  "folder that keeps finished work, so that the same command goes on where it "
  "was killed, to the same bytes; new, empty, or of this work",
)
