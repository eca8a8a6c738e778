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

import difflib
import importlib
import sys

from apps import cli, streams

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

_ALSO_SPELT = {"enroll": "enrol"}

_PROGRAM = "tflm-fg-kws"


def run() -> int:
  """The console script."""
  return streams.told(_PROGRAM, _run)


def _run() -> int:
  """Hands the rest of the command line to a subcommand's module."""
  command, *rest = sys.argv[1:] or [""]
  if command == "help" and rest:
    command, rest = rest[0], ["--help"]
  if command in ("", "--help", "-h", "help"):
    print((__doc__ or "").strip())
    return cli.DONE if command else cli.WRONG_FLAG
  if command in ("--version", "version"):
    print(cli.version(_PROGRAM))
    return cli.DONE
  command = _ALSO_SPELT.get(command, command)
  if command not in COMMANDS:
    print(f"{_PROGRAM}: {_unknown(command)}", file=sys.stderr)
    return cli.WRONG_FLAG
  sys.argv = [f"{_PROGRAM} {command}", *rest]
  try:
    module = importlib.import_module(f"apps.kws.commands.{command}")
  except ModuleNotFoundError as fault:
    print(
      f"{_PROGRAM} {command}: {fault}; pip install 'tflm-fg[kws]'",
      file=sys.stderr,
    )
    return cli.FAILED
  return int(module.run())


def _unknown(command: str) -> str:
  """What to say of a command that is none: the nearest one, or all."""
  known = [*COMMANDS, *_ALSO_SPELT, "help", "version"]
  near = difflib.get_close_matches(command, known, 1, 0.5)
  choices = f"choose of {', '.join(COMMANDS)}"
  advice = f"did you mean {near[0]!r}? Or {choices}" if near else choices
  return f"no command {command!r}; {advice}"


if __name__ == "__main__":
  sys.exit(run())
