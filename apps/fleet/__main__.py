"""tflm-fg-fleet: many devices train one model, and send integers alone.

  tflm-fg-fleet run         a fleet over Flower: simulated, here, or far away

Each has its own --help, also as `tflm-fg-fleet help COMMAND`. For example:

  tflm-fg-fleet run --model=model.tflite --clients=samples
"""

from __future__ import annotations

import sys

from apps import subcommands

COMMANDS = ("run",)


def run() -> int:
  """The console script."""
  return subcommands.run(
    subcommands.Program(
      name="tflm-fg-fleet",
      about=__doc__ or "",
      package="apps.fleet.commands",
      commands=COMMANDS,
      extra="fleet",
    )
  )


if __name__ == "__main__":
  sys.exit(run())
