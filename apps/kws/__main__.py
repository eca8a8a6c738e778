"""tflm-fg-kws: keyword spotting that adapts to who speaks.

  tflm-fg-kws demo      a shipped model adapts to three new voices
  tflm-fg-kws corpus    synthetic speech in a folder, one folder a word
  tflm-fg-kws features  a folder of recordings to features in an .npz
  tflm-fg-kws train     a keyword model from a folder (TensorFlow)
  tflm-fg-kws adapt     a model to a new speaker or microphone
  tflm-fg-kws enrol     new words for a model
  tflm-fg-kws listen    words in a long recording or from a microphone
  tflm-fg-kws evaluate  accuracy, confusions and false accepts

Each has its own --help.
"""

from __future__ import annotations

import importlib
import sys

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
  """Hands the rest of the command line to a subcommand's module."""
  command = sys.argv[1] if len(sys.argv) > 1 else ""
  if command in ("", "--help", "-h", "help"):
    print((__doc__ or "").strip())
    return 0 if command else 2
  if command not in COMMANDS:
    print(
      f"tflm-fg-kws: no command {command!r}; choose of {', '.join(COMMANDS)}",
      file=sys.stderr,
    )
    return 2
  sys.argv[:2] = [f"tflm-fg-kws {command}"]
  try:
    module = importlib.import_module(f"apps.kws.commands.{command}")
  except ModuleNotFoundError as fault:
    print(
      f"tflm-fg-kws {command}: {fault}; pip install 'tflm-fg[kws]'",
      file=sys.stderr,
    )
    return 1
  return int(module.run())


if __name__ == "__main__":
  sys.exit(run())
