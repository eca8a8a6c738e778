"""tflm-fg-wake: a wake word model learns to hear the voice that it misses.

  tflm-fg-wake demo      a published model misses a voice, and then hears it
  tflm-fg-wake adapt     a model to recordings of its wake word
  tflm-fg-wake evaluate  recall, false accepts an hour, the DET curve
  tflm-fg-wake listen    detections in a recording or from a microphone

Each has its own --help, also as `tflm-fg-wake help COMMAND`. For example:

  tflm-fg-wake demo
  tflm-fg-wake adapt --model=hey_jarvis.tflite --positive=mine --out=mine.tflite
  tflm-fg-wake evaluate --model=mine.tflite --positive=others --negative=room
"""

from __future__ import annotations

import sys

from apps import subcommands

COMMANDS = ("demo", "adapt", "evaluate", "listen")


def run() -> int:
  """The console script."""
  return subcommands.run(
    subcommands.Program(
      name="tflm-fg-wake",
      about=__doc__ or "",
      package="apps.wake.commands",
      commands=COMMANDS,
      extra="wake",
    )
  )


if __name__ == "__main__":
  sys.exit(run())
