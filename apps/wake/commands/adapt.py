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

import os
import sys
import time
from typing import Any

from absl import flags

from apps import cli, outputs
from apps.flags import sound_flags, wake_flags
from apps.wake import (
  adaptation,
  detector,
  learning,
  page,
  printed,
  scores,
  sounds,
)
from apps.wake.data import manifest
from tflm_fg import files
from tflm_fg.callbacks import StopOnInterrupt
from tflm_fg.detection import Settings, require_adaptable

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


FILES = ("index.html", "report.json")
"""What --report_dir holds."""


def main() -> None:
  """Reads, adapts, saves, reports."""
  beside = manifest.path_beside(_OUT.value)
  given = cli.values(
    _POSITIVE, _NEGATIVE, _KEEP, _TEST_POSITIVE, _TEST_NEGATIVE
  )
  sounds.require_apart(given)
  files.require_outputs(
    {"out": _OUT.value, "out (manifest)": beside}
    | outputs.in_folder(_REPORT_DIR, *FILES),
    cli.values(wake_flags.MODEL, wake_flags.MANIFEST)
    | {"model (manifest)": manifest.path_beside(wake_flags.MODEL.value)},
    [_REPORT_DIR.value],
  )
  content = files.read_bytes(wake_flags.MODEL.value)
  found = detector.opened(**wake_flags.asked())
  require_adaptable(found.model, found.rule)
  data = learning.read(
    found, **given, strict=sound_flags.STRICT.value, seed=_SEED.value
  )
  if _DRY_RUN.value:
    print_plan(found, data)
    return
  settings = Settings(seed=_SEED.value)
  with StopOnInterrupt() as stop:
    name = os.path.basename(_OUT.value)
    adapted = adaptation.adapt(found, data, settings, name, tell)
    with stop.deferred():
      told = adaptation.told(adapted, content, _OUT.value)
      contents = _report(told)
    if adapted.manifest is not None:
      contents[beside] = adapted.manifest.encode()
    contents[_OUT.value] = adapted.model
    outputs.save(stop, contents, [_REPORT_DIR.value])
    with stop.deferred():
      printed.print_adaptation(told)
      if _REPORT_DIR.value:
        print(f"report: {os.path.join(_REPORT_DIR.value, FILES[0])}")
    cli.end(stop, _OUT.value)


def tell(line: str) -> None:
  """Says what happens, to who watches a terminal."""
  if sys.stderr.isatty():
    print(line, file=sys.stderr)


def print_plan(found: detector.Detector, data: learning.TrainingData) -> None:
  """What would be learned from what, for people."""
  for note in data.notes:
    print(f"note: {note}")
  hits = scores.heard(data.positives.played(found), found.rule)
  print(
    f"{found.path} hears {sum(hit.heard for hit in hits)} of {len(hits)} "
    f"recordings at a cutoff of {found.rule.cutoff:g}; would learn from "
    f"{data.in_words(found)}: {found.model.head.num_features} weights and a "
    "bias; nothing was written"
  )


def _report(told: dict[str, Any]) -> dict[str | None, bytes]:
  """The report's files, where they are asked for: path -> bytes."""
  if not _REPORT_DIR.value:
    return {}
  when = time.strftime("%Y-%m-%d %H:%M")
  commands = [("The command:", cli.command_line())]
  shown = page.adaptation_page(told, when, commands)
  made = (shown.encode(errors="surrogateescape"), cli.to_json(told))
  return {
    os.path.join(_REPORT_DIR.value, name): content
    for name, content in zip(FILES, made)
  }


def run() -> int:
  """The subcommand."""
  also = [wake_flags.__name__, sound_flags.__name__]
  return cli.launch(main, __name__, also=also)


if __name__ == "__main__":
  sys.exit(run())
