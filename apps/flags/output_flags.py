"""The flags that say which of a file's inputs and outputs are meant."""

from __future__ import annotations

from absl import flags

from apps import cli

cli.section(cli.SOMETIMES)
OUTPUT = flags.DEFINE_string(
  "output",
  None,
  "which output is trained and scored, in a file that has several: its "
  "position from 0, its name, or the name that the file's signature gives it; "
  "by default what the file's mark says, or the one where there is no doubt",
)
INPUT = flags.DEFINE_string(
  "input",
  None,
  "which input takes the samples, in a file that has several: its position "
  "from 0, or its name; the others get zeros. By default what the file's mark "
  "says, or the one that is no state and no single number",
)
