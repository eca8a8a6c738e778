"""The flag that says where an adapted file must run."""

from __future__ import annotations

from absl import flags

from apps import cli
from tflm_fg.runtimes import TARGETS

cli.section(cli.SOMETIMES)
TARGET = flags.DEFINE_enum(
  "target",
  "any",
  list(TARGETS),
  "what the file is for: any engine, or one that must load and run it here; "
  "what it does not run is dropped or refused by name, and nothing is written",
)
