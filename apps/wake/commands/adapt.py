"""tflm-fg-wake adapt: a wake word model learns a voice from recordings.

  tflm-fg-wake adapt --model=hey_jarvis.tflite --positive=mine --out=mine.tflite
  tflm-fg-wake adapt --model=hey_jarvis.tflite --positive=mine --negative=room
    --keep=family --out=mine.tflite --report_dir=report
  tflm-fg-wake adapt --model=hey_jarvis.tflite --positive=mine --out=mine.tflite
    --dry_run

Only the weights of the last layer change, and where it must, the cutoff in the
manifest, which is written beside the model. A result that is not better, or
that would wake to more that is not the word, is refused, and nothing is
written.
"""

from __future__ import annotations

import sys

from absl import flags

from apps import cli
from apps.flags import sound_flags, wake_flags
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_POSITIVE = flags.DEFINE_string(
  "positive",
  None,
  "a folder of recordings of the wake word, once in each, that it should hear",
  required=True,
)
_OUT = flags.DEFINE_string(
  "out",
  None,
  "the adapted .tflite; its manifest is written beside it as .json",
  required=True,
)
cli.section(cli.OFTEN)
_NEGATIVE = flags.DEFINE_string(
  "negative",
  None,
  "a folder, or a long recording, of sound without the wake word; it adds to "
  "the stock that comes with the program",
)
_KEEP = flags.DEFINE_string(
  "keep",
  None,
  "a folder of recordings of the wake word by voices that it hears already; "
  "they add to the stock",
)
_TEST_POSITIVE = flags.DEFINE_string(
  "test_positive",
  None,
  "a folder of other recordings of the wake word, to score on; by default "
  "--positive is scored by parts that were kept aside in turn",
)
_TEST_NEGATIVE = flags.DEFINE_string(
  "test_negative",
  None,
  "other sound without the wake word, to count false accepts in; by default "
  "what was kept aside of the stock and of --negative",
)
_REPORT_DIR = flags.DEFINE_string(
  "report_dir",
  None,
  "folder for index.html, a page that needs no other file, and report.json",
)
_DRY_RUN = flags.DEFINE_boolean(
  "dry_run", False, "say what would be learned from what, and write nothing"
)
cli.section(cli.SELDOM)
_SEED = flags.DEFINE_integer("seed", 0, "same seed, same bytes", 0)


def main() -> None:
  """Reads, adapts, saves, reports."""
  raise TflmFgError("adapt: not built yet")


def run() -> int:
  """The subcommand."""
  also = [wake_flags.__name__, sound_flags.__name__]
  return cli.launch(main, __name__, also=also)


if __name__ == "__main__":
  sys.exit(run())
