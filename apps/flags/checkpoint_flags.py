"""The flags of what is kept while it runs, and of going back by steps."""

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

cli.section(cli.SOMETIMES)
EVERY_STEP = flags.DEFINE_boolean(
  "every_step",
  False,
  "record every step of an exact head in --journal too, so that --from_journal "
  "with --steps can stop at any of them; else it holds the head's end alone",
)
