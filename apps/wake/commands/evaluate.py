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

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from absl import flags

from apps import cli, outputs
from apps.flags import sound_flags, wake_flags
from apps.wake import (
  curves,
  detector,
  evaluation,
  page,
  printed,
  report,
  sounds,
)
from apps.wake.sounds import Sound
from tflm_fg import files, plots
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

FILES = ("index.html", "report.json", "det.csv", "det.png")
"""What --report_dir holds; the curve only where there are both kinds."""


def main() -> None:
  """Loads, plays, counts, prints."""
  if not (_POSITIVE.value or _NEGATIVE.value):
    raise TflmFgError("--positive=FOLDER is missing, or --negative=FOLDER")
  sounds.require_apart(cli.values(_POSITIVE, _NEGATIVE))
  files.require_outputs(
    outputs.in_folder(_REPORT_DIR, *FILES),
    cli.values(wake_flags.MODEL, wake_flags.MANIFEST),
    [_REPORT_DIR.value],
  )
  if _REPORT_DIR.value:
    plots.require_matplotlib()
  content = files.read_bytes(wake_flags.MODEL.value)
  found = detector.opened(**wake_flags.asked())
  positives, notes = _read(_POSITIVE, sounds.positives)
  negatives, more = _read(_NEGATIVE, sounds.negatives)
  heard = evaluation.played(found, positives, "recordings of the word")
  wrong = evaluation.played(found, negatives, "other sound")
  names = (_POSITIVE.value or "", _NEGATIVE.value or "")
  told = evaluation.told(found, content, heard, wrong, names)
  told["notes"] = [*notes, *more]
  if named := evaluation.mostly_heard(wrong, found):
    folder = f"--negative={_NEGATIVE.value}"
    line = evaluation.holds_the_word(names[1], named, found.wake_word)
    told["notes"].append(f"{folder}: {line}")
  printed.print_evaluation(told)
  _write(told)


def _read(
  holder: Any, read: Callable[[str, bool], tuple[list[Sound], list[str]]]
) -> tuple[list[Sound], list[str]]:
  """Sounds of a flag's folder, and what to know of them."""
  if not holder.value:
    return [], []
  return read(holder.value, sound_flags.STRICT.value)


def _write(told: dict[str, Any]) -> None:
  """The report's files, where they are asked for."""
  folder = _REPORT_DIR.value
  if not folder:
    return
  when = time.strftime("%Y-%m-%d %H:%M")
  commands = [("The command:", cli.command_line())]
  shown = page.evaluation_page(told, when, commands)
  contents = {
    "index.html": shown.encode(errors="surrogateescape"),
    "report.json": cli.to_json(told),
  }
  if told["det"]:
    contents["det.csv"] = report.det_csv(told)
    contents["det.png"] = curves.det_png(told)
  files.write_set(
    {os.path.join(folder, n): c for n, c in contents.items()}, [folder]
  )
  print(f"report: {os.path.join(folder, 'index.html')}")


def run() -> int:
  """The subcommand."""
  also = [wake_flags.__name__, sound_flags.__name__]
  return cli.launch(main, __name__, also=also)


if __name__ == "__main__":
  sys.exit(run())
