"""tflm-fg-benchmark: three presets of tflm-fg-compare, by their old names.

  tflm-fg-benchmark --what=accuracy --data=whisper,child --out_dir=voices
  tflm-fg-benchmark --what=speed --out_dir=seconds
  tflm-fg-benchmark --what=growth --out_dir=growth

--what=accuracy is --preset=accuracy, --what=speed is --preset=timing and
--what=growth is --preset=growth; without --what all three run. Each writes into
a folder of its own in --out_dir ("benchmark" where it is not given). Of the
other flags --data is now --domains, --clips_per_word --shots, --method
--plain_method and --steps --plain_steps; see tflm-fg-compare --help.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from apps import cli, streams
from apps.compare import __main__ as compare
from tflm_fg.types import TflmFgError

PRESETS = {"accuracy": "accuracy", "speed": "timing", "growth": "growth"}

RENAMED = {
  "data": "domains",
  "clips_per_word": "shots",
  "method": "plain_method",
  "steps": "plain_steps",
  "train_clips": "train_samples",
  "test_clips": "test_samples",
}

GONE = {"out": "rows.csv", "plot": "rows.png"}
"""Flags that named a file, and what it is called in --out_dir now."""

OF_ACCURACY = ("domains", "methods", "seeds")
"""Flags that only preset accuracy takes."""


def commands_of(arguments: Sequence[str]) -> list[list[str]]:
  """The commands that tflm-fg-compare is given in place of this one.

  Raises:
    TflmFgError: for a flag that is gone, or an unknown part.
  """
  given: dict[str, str] = {}
  for argument in arguments:
    name, equals, value = argument.lstrip("-").partition("=")
    if name in GONE:
      raise TflmFgError(
        f"--{name}: is gone; the file is {GONE[name]} in --out_dir/PRESET"
      )
    if not argument.startswith("--") or not equals:
      raise TflmFgError(f"{argument!r}: need --FLAG=VALUE")
    given[RENAMED.get(name, name)] = value
  folder = given.pop("out_dir", "benchmark")
  commands = []
  for what in given.pop("what", ",".join(PRESETS)).split(","):
    if what not in PRESETS:
      raise TflmFgError(
        f"--what: {what!r} is unknown; choose of {', '.join(PRESETS)}"
      )
    preset = PRESETS[what]
    own = [
      f"--{name}={value}"
      for name, value in given.items()
      if preset == "accuracy" or name not in OF_ACCURACY
    ]
    place = f"--out_dir={os.path.join(folder, preset)}"
    commands.append(["tflm-fg-compare", f"--preset={preset}", place, *own])
  return commands


def run() -> int:
  """The console script."""
  return streams.told("tflm-fg-benchmark", _run)


def _run() -> int:
  """Runs the presets that are asked for, one by one."""
  if "--help" in sys.argv:
    print((__doc__ or "").strip())
    return cli.DONE
  try:
    commands = commands_of(sys.argv[1:])
  except TflmFgError as fault:
    print(f"tflm-fg-benchmark: {fault}", file=sys.stderr)
    return cli.FAILED
  for command in commands:
    print(f"tflm-fg-benchmark: runs {' '.join(command)}", file=sys.stderr)
    sys.argv = command  # tables say how they were made
    status = cli.launch(compare.main, compare.__name__)
    if status != cli.DONE:
      return status
  return cli.DONE


if __name__ == "__main__":
  sys.exit(run())
