"""tflm-fg-wake demo: a published model misses a voice, and then hears it.

  tflm-fg-wake demo
  tflm-fg-wake demo --word=alexa --out_dir=alexa
  tflm-fg-wake demo --recordings=3 --seed=1

Takes a wake word model that pip installed with pymicro-wakeword, lets two
synthetic voices say its word, a foreign accent and a whisper, adapts the model
to ten recordings of each, and plays other recordings to it. All speech is
synthetic. No download; under 90 seconds on two cores.
"""

from __future__ import annotations

import sys

from absl import flags

from apps import cli
from tflm_fg.types import TflmFgError

WORDS = ("hey_jarvis", "okay_nabu", "alexa", "hey_mycroft")
"""Models that the package brings."""

cli.section(cli.OFTEN)
_WORD = flags.DEFINE_enum("word", WORDS[0], list(WORDS), "which model")
_RECORDINGS = flags.DEFINE_integer(
  "recordings", 10, "recordings of each voice to adapt to", 3, 100
)
_OUT_DIR = flags.DEFINE_string(
  "out_dir", "wake_demo", "folder for the models, their manifests and reports"
)
cli.section(cli.SELDOM)
_SEED = flags.DEFINE_integer("seed", 0, "of the voices and of the training", 0)


def main() -> None:
  """Makes recordings, adapts, scores, prints."""
  raise TflmFgError("demo: not built yet")


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
