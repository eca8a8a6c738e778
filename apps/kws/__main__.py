"""tflm-fg-kws: keyword spotting that adapts to who speaks.

  tflm-fg-kws demo      a shipped model adapts to three new voices
  tflm-fg-kws corpus    synthetic speech in a folder, one folder a word
  tflm-fg-kws features  a folder of recordings to features in an .npz
  tflm-fg-kws train     a keyword model from a folder (TensorFlow)
  tflm-fg-kws adapt     a model to a new speaker or microphone
  tflm-fg-kws enrol     new words for a model
  tflm-fg-kws listen    words in a long recording or from a microphone
  tflm-fg-kws evaluate  accuracy, confusions and false accepts

Each has its own --help, also as `tflm-fg-kws help COMMAND`. For example:

  tflm-fg-kws demo
  tflm-fg-kws adapt --data=mine --out=adapted.tflite
  tflm-fg-kws enrol --data=mine --words=lamp,kitchen --out=mine.tflite
"""

from __future__ import annotations

import sys

from apps import subcommands

COMMANDS = (
  "demo",
  "corpus",
  "features",
  "train",
  "adapt",
  "enrol",
  "listen",
  "evaluate",
)


def run() -> int:
  """The console script."""
  return subcommands.run(
    subcommands.Program(
      name="tflm-fg-kws",
      about=__doc__ or "",
      package="apps.kws.commands",
      commands=COMMANDS,
      extra="kws",
      also_spelt={"enroll": "enrol"},
    )
  )


if __name__ == "__main__":
  sys.exit(run())
