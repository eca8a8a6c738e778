"""tflm-fg-fleet: many devices train one model, and send integers alone.

  tflm-fg-fleet demo        ten clients on this machine, every scheme, a table
  tflm-fg-fleet run         a fleet over Flower: simulated, here, or far away
  tflm-fg-fleet contribute  what a device has to send, as a file
  tflm-fg-fleet combine     files of many devices, added up into one
  tflm-fg-fleet apply       what they come to, put into the model

Each has its own --help, also as `tflm-fg-fleet help COMMAND`. For example:

  tflm-fg-fleet demo
  tflm-fg-fleet contribute --model=model.tflite --data=mine.npz --out=sums.bin
  tflm-fg-fleet run --model=model.tflite --clients=samples --out=adapted.tflite
"""

from __future__ import annotations

import sys

from apps import subcommands

COMMANDS = ("demo", "run", "contribute", "combine", "apply")


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
