"""tflm-fg-kws evaluate: accuracy, confusions and false accepts of a model.

  tflm-fg-kws evaluate --model=adapted.tflite --data=others
  tflm-fg-kws evaluate --model=adapted.tflite --recording=long.wav
  tflm-fg-kws evaluate --data=others --report=scores.json

A recording without a .csv beside it (seconds, word) is taken for one in which
none of the words is said.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from absl import flags

from apps import cli
from apps.flags import sound_flags
from apps.kws.audio import folders
from apps.kws.audio.files import read
from apps.kws.features.registry import NAMES
from apps.kws.model import scores, spotter, streaming
from apps.kws.synthetic import recordings
from tflm_fg import runtimes
from tflm_fg.files import require_outputs, write_atomically
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "an int8 or int16x8 .tflite; by default the one that ships"
)
_DATA = flags.DEFINE_string("data", None, "a folder with WORD/*.wav")
_RECORDING = flags.DEFINE_string("recording", None, "a long recording")
cli.section(cli.OFTEN)
_SPLIT = flags.DEFINE_enum(
  "split", "all", list(folders.SPLITS), "which part of --data, by names"
)
_THRESHOLD = flags.DEFINE_float("threshold", 0.7, "as for listen")
_REPORT = flags.DEFINE_string("report", None, "JSON with all numbers")
cli.section(cli.SOMETIMES)
_FRONTEND = flags.DEFINE_enum(
  "frontend", None, list(NAMES), "by default what the model says"
)
_CLASSES = flags.DEFINE_list(
  "classes", None, "names of the outputs; by default what the model says"
)
_SEED = flags.DEFINE_integer("seed", 0, "draws other words and noise", 0)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(runtimes.NAMES), "the engine to run"
)


def main() -> None:
  """Loads, scores, prints."""
  if not _DATA.value and not _RECORDING.value:
    raise TflmFgError("--data=FOLDER is missing, or --recording=LONG.wav")
  require_outputs(cli.values(_REPORT), cli.values(_MODEL, _RECORDING))
  model = spotter.load(_MODEL.value, _FRONTEND.value, _CLASSES.value)
  report: dict[str, Any] = {"model": model.name, "runtime": _RUNTIME.value}
  if _DATA.value:
    report |= score_folder(model)
  if _RECORDING.value:
    report |= {"recording": score_recording(model)}
  if _REPORT.value:
    write_atomically(_REPORT.value, cli.to_json(report))


def score_folder(model: spotter.Spotter) -> dict[str, Any]:
  """Accuracy, confusions and words on a folder."""
  found = model.read_folder(
    _DATA.value,
    seed=_SEED.value,
    split=_SPLIT.value,
    strict=sound_flags.STRICT.value,
  )
  score = scores.score(model.open(_RUNTIME.value), found.x, found.y)
  for note in found.notes:
    print(f"note: {note}")
  print(
    f"accuracy {score.accuracy:.4f}, loss {score.loss:.4f} on {score.clips} "
    f"clips ({_RUNTIME.value})\n\nsaid (rows), heard (columns):"
  )
  print(scores.table(score, model.classes))
  return {**score.to_json(model.classes), "data_notes": list(found.doubts)}


def score_recording(model: spotter.Spotter) -> dict[str, Any]:
  """False accepts an hour, and hits where it is known what was said."""
  samples = read(_RECORDING.value)
  labels = os.path.splitext(_RECORDING.value)[0] + ".csv"
  said = recordings.read_csv(labels) if os.path.isfile(labels) else []
  hearing = streaming.Hearing(threshold=_THRESHOLD.value)
  heard = streaming.hear(
    model.open(_RUNTIME.value), streaming.pieces(samples), hearing
  )
  counted = streaming.count(list(heard), said, model.words, len(samples))
  print(f"{_RECORDING.value}: {counted}")
  return counted.to_json()


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__, also=[sound_flags.__name__])


if __name__ == "__main__":
  sys.exit(run())
