"""The flag of how much memory may be taken; `apps.cli` has it in every program.

This is the one module of flags that does not begin with `cli.section`, which
would import in a circle: --help shows the flag behind all others.
"""

from __future__ import annotations

from absl import flags

MAX_MEMORY = flags.DEFINE_string(
  "max_memory",
  None,
  "the most memory that a process of the program may take, as 512MB or 2GB: "
  "what would need more is refused before it starts; by default three quarters "
  "of what the machine has left",
)
