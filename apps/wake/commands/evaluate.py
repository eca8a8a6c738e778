"""tflm-fg-wake evaluate: recall, false accepts an hour, and the DET curve.

  tflm-fg-wake evaluate --model=mine.tflite --positive=others
  tflm-fg-wake evaluate --model=mine.tflite --positive=others --negative=room
    --report_dir=report
  tflm-fg-wake evaluate --model=hey_jarvis.tflite --negative=radio --cutoff=0.9

Recall is the share of recordings of the wake word in which it is heard, each
played to a model that has heard nothing before. False accepts are counted in
sound without the wake word, and named with file and time.
"""

from __future__ import annotations

import sys

from absl import flags

from apps import cli
from apps.flags import sound_flags, wake_flags
from tflm_fg.types import TflmFgError

cli.section(cli.OFTEN)
_POSITIVE = flags.DEFINE_string(
  "positive", None, "a folder of recordings of the wake word, once in each"
)
_NEGATIVE = flags.DEFINE_string(
  "negative",
  None,
  "a folder, or a long recording, of sound without the wake word",
)
_REPORT_DIR = flags.DEFINE_string(
  "report_dir",
  None,
  "folder for index.html, report.json, and the DET curve: det.csv and det.png",
)


def main() -> None:
  """Loads, plays, counts, prints."""
  raise TflmFgError("evaluate: not built yet")


def run() -> int:
  """The subcommand."""
  also = [wake_flags.__name__, sound_flags.__name__]
  return cli.launch(main, __name__, also=also)


if __name__ == "__main__":
  sys.exit(run())
