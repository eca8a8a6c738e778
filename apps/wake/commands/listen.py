"""tflm-fg-wake listen: detections in a recording, or from a microphone.

  tflm-fg-wake listen --model=mine.tflite --wav=evening.wav
  tflm-fg-wake listen --model=mine.tflite --wav=evening.wav --out=heard.csv
  tflm-fg-wake listen --model=mine.tflite --device=-1

Prints the time and the probability of each detection: the mean over the
sliding window. A microphone is heard until Ctrl-C.
"""

from __future__ import annotations

import sys

from absl import flags

from apps import cli
from apps.flags import wake_flags
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_WAV = flags.DEFINE_string("wav", None, "a recording of any length")
_DEVICE = flags.DEFINE_integer(
  "device", None, "a microphone's number (-1: the system's own)"
)
cli.section(cli.OFTEN)
_SECONDS = flags.DEFINE_float(
  "seconds", None, "how long to hear a microphone; by default until Ctrl-C", 0.1
)
_OUT = flags.DEFINE_string("out", None, "a .csv with what was heard")


def main() -> None:
  """Listens and prints."""
  raise TflmFgError("listen: not built yet")


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__, also=[wake_flags.__name__])


if __name__ == "__main__":
  sys.exit(run())
