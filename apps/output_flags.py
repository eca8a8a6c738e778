"""The flag that says which of a file's outputs is meant."""

from __future__ import annotations

from absl import flags

OUTPUT = flags.DEFINE_string(
  "output",
  None,
  "which output is trained and scored, in a file that has several: its "
  "position from 0, its name, or the name that the file's signature gives it; "
  "by default what the file's mark says, or the one where there is no doubt",
)
