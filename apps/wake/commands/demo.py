"""tflm-fg-wake demo: a published model misses a voice, and then hears it.

  tflm-fg-wake demo
  tflm-fg-wake demo --word=hey_mycroft --out_dir=mycroft
  tflm-fg-wake demo --recordings=3 --seed=1

Takes a wake word model that pip installed with pymicro-wakeword, lets two
synthetic voices say its word, a foreign accent and a whisper, adapts the model
to ten recordings of each, and plays other recordings to it. All speech is
synthetic. No download; under 90 seconds on two cores.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import time
from typing import Any

from absl import flags

from apps import cli
from apps.wake import (
  adaptation,
  detector,
  example,
  learning,
  page,
  printed,
  report,
)
from apps.wake.data import manifest, stock
from apps.wake.learning import Streams
from tflm_fg import files
from tflm_fg.detection import Settings
from tflm_fg.types import TflmFgError

cli.section(cli.OFTEN)
_WORD = flags.DEFINE_enum("word", "alexa", list(example.MISSED), "which model")
_RECORDINGS = flags.DEFINE_integer(
  "recordings", 10, "recordings of each voice to adapt to", 3, 100
)
_OUT_DIR = flags.DEFINE_string(
  "out_dir", "wake_demo", "folder for the models, their manifests and reports"
)
cli.section(cli.SELDOM)
_SEED = flags.DEFINE_integer("seed", 0, "of the voices and of the training", 0)


@dataclasses.dataclass(frozen=True)
class Sounds:
  """What the demo plays to every model: none of it is learned from.

  Attributes:
    originals: recordings of the word by voices as it was trained for.
    talk: sentences without the word.
  """

  originals: Streams
  talk: Streams


def main() -> None:
  """Makes recordings, adapts, scores, prints."""
  folder, name = _OUT_DIR.value, _WORD.value
  files.make_folder(folder)
  original = install_model(name, folder)
  print(f"{original}: {name} of pymicro-wakeword; all speech is synthetic")
  found = detector.opened(original)
  word, seed = found.wake_word, _SEED.value
  shipped = stock.steps(found.manifest, found.frontend, seed=seed)
  common = learning.TrainingData(
    positives=Streams(),
    stock_negatives=learning.of_stock(
      found, shipped.negatives, shipped.negative_names, "stock"
    ),
    stock_alike=learning.of_stock(
      found, shipped.alike, shipped.alike_names, "phrases like the word"
    ),
    stock_keepers=learning.of_stock(
      found, shipped.keepers, shipped.keeper_names, "keepers"
    ),
  )
  originals = example.recordings(
    example.ORIGINALS, word, ORIGINALS_EACH, 1, seed
  )
  talk = example.talk(example.TALKERS, 1, seed)
  others = Sounds(
    learning.streams_of(found, originals, "original voices"),
    learning.streams_of(found, talk, "talk"),
  )
  told, contents = {}, {}
  for who in example.MISSED[name]:
    parts = [
      learning.streams_of(
        found, example.recordings([who], word, count, part, seed), who.title
      )
      for part, count in enumerate((_RECORDINGS.value, TEST_RECORDINGS))
    ]
    data = dataclasses.replace(
      common,
      positives=parts[0],
      test_positives=parts[1],
      test_negatives=others.talk,
    )
    try:
      own, row = adapt_to(found, data, others, who.title)
    except adaptation.Refused as refusal:
      print(f"\n{who.title}: {refusal}")
      continue
    print_table(who.title, row)
    contents |= {os.path.join(folder, n): c for n, c in own.items()}
    told[who.title] = row
  if not told:
    raise TflmFgError("no voice could be adapted to; try another --seed")
  contents[os.path.join(folder, "report.json")] = cli.to_json(told)
  files.write_set(contents)
  print(f"\nmodels, manifests, pages and report.json are in {folder}/")


TEST_RECORDINGS, ORIGINALS_EACH = 30, 4
"""Of each voice, to score on: missed ones, and voices as a model knows."""


def install_model(name: str, folder: str) -> str:
  """Copies a model that pip installed, with its manifest.

  Returns:
    The path of the copy.

  Raises:
    TflmFgError: if the package is missing.
  """
  package = importlib.util.find_spec("pymicro_wakeword")
  if package is None or not package.submodule_search_locations:
    raise TflmFgError(
      "the models of the demo need: pip install 'tflm-fg[wake]' "
      "(pymicro-wakeword)"
    )
  source = os.path.join(package.submodule_search_locations[0], "models", name)
  path = os.path.join(folder, f"{name}.tflite")
  files.write_set(
    {
      manifest.path_beside(path): files.read_bytes(f"{source}.json"),
      path: files.read_bytes(f"{source}.tflite"),
    }
  )
  return path


def adapt_to(
  found: detector.Detector,
  data: learning.TrainingData,
  others: Sounds,
  title: str,
) -> tuple[dict[str, bytes], dict[str, Any]]:
  """Adapts to one voice, and plays other sounds to what came of it.

  Returns:
    Files by their names, and what is told of them.
  """
  name = "_".join(title.lower().split()[1:])
  settings = Settings(seed=_SEED.value)
  adapted = adaptation.adapt(found, data, settings, f"{name}.tflite")
  content = files.read_bytes(found.path)
  told = adaptation.told(adapted, content, f"{name}.tflite")
  before, after = adaptation.Side(adapted, others.originals).heard()
  told["recall"].append(
    report.recall_row("voices as it was trained for", after, before)
  )
  when = time.strftime("%Y-%m-%d %H:%M")
  command = cli.command_line()
  shown = page.adaptation_page(told, when, [("The command:", command)])
  assert adapted.manifest is not None  # it was copied with the model
  made = {
    f"{name}.html": shown.encode(errors="surrogateescape"),
    f"{name}.json": adapted.manifest.encode(),
    f"{name}.tflite": adapted.model,
  }
  return made, told


def print_table(title: str, told: dict[str, Any]) -> None:
  """Before and after, for people."""
  count = told["learned_from"]["positives"]
  print(f"\n{title}, {count} recordings learned from")
  printed.print_adaptation(told)


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
