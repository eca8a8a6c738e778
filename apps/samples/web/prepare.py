"""Make the model of the page, from the spotter that comes with the repository.

  python apps/samples/web/prepare.py
  python apps/samples/web/prepare.py --words=0 --model=kws.tflite

Gives the spotter outputs for words that are not known yet, writes it so that it
trains itself (tflm-fg-export --target=signatures --io=float32), and writes the
names of its outputs beside it. The old outputs say what they said; a new one
has a score of 0, which is less than the spotter gives to a word that it knows.

Beside them come synthetic clips of what the spotter knows, which the page shows
it again while it learns: a word that nobody has taught yet is "unknown" to it,
and clips of other unknown words say how far a new word reaches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tflm_fg
from apps.kws.model import spotter
from apps.kws.synthetic import features as synthetic
from tflm_fg import files, fixed_point, tflite
from tflm_fg.types import TflmFgError

STEPS, RATE = 200, 1.0
CAPACITY = 512
HEAD_ROOM = 2
"""Weights may grow to four times of what they were."""

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))


def exported(model: bytes) -> bytes:
  """The model that trains itself, as the program writes it."""
  with tempfile.TemporaryDirectory() as folder:
    before = os.path.join(folder, "before.tflite")
    after = os.path.join(folder, "after.tflite")
    files.write_atomically(before, model)
    subprocess.run(
      [
        sys.executable, "-m", "apps.export", f"--model={before}",
        "--target=signatures", "--trainable=head", "--io=float32",
        f"--capacity={CAPACITY}", f"--head_room={HEAD_ROOM}", f"--out={after}",
      ],
      check=True,
      cwd=ROOT,
      stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return files.read_bytes(after)


def shown_again(
  known: spotter.Spotter, clips: int
) -> tuple[NDArray[np.int8], NDArray[np.int32], dict[str, Any]]:
  """Clips of the usual voice, as the model's input holds them.

  Args:
    known: the spotter, with the classes of the one that ships.
    clips: how many of each class; 0 for none.

  Returns:
    int8 [n, 49, 40, 1], labels int32 [n], and what a number stands for.
  """
  graph = tflite.ModelFile.of(known.model).subgraph
  spec = graph.tensors[graph.inputs[0]]
  shape = known.frontend.shape
  x, y = np.zeros((0, *shape), np.float32), np.zeros(0, np.int32)
  if clips:
    x, y = synthetic.make("source", "train", clips, progress=False)
  scale, zero_point = spec.scales[0], spec.zero_points[0]
  held = fixed_point.quantize(x, scale, zero_point, "int8")
  return held, y, {"scale": scale, "zero_point": zero_point}


def made(path: str | None, words: int, clips: int) -> dict[str, bytes]:
  """The files of the page's folder `model`, by name.

  Args:
    path: of a keyword spotter; None for the one of the repository.
    words: how many outputs to add for new words.
    clips: how many clips of each class are shown again while it learns.
  """
  known = spotter.load(path)
  if known.frontend.name != "micro":
    raise TflmFgError(
      f"{known.name}: has the front end {known.frontend.name!r}; the page "
      "computes micro alone, see tflm-fg-kws train --frontend=micro"
    )
  model, names = tflm_fg.strip(known.model, known.name), []
  if words:
    model = tflite.add_rows(model, words, known.name, at_zero=True)
    names = [f"new word {n + 1}" for n in range(words)]
  if clips and known.classes != spotter.load(None).classes:
    raise TflmFgError(
      f"{known.name}: has other classes than the spotter of the repository, "
      "for which clips are made; give --clips=0"
    )
  held, labels, grid = shown_again(known, clips)
  about = {
    "classes": [*known.classes, *names],
    "new": list(range(len(known.classes), len(known.classes) + words)),
    "steps": STEPS,
    "rate": RATE,
    "again": {"labels": labels.tolist(), **grid},
  }
  return {
    "spotter.tflite": exported(model),
    "spotter.json": json.dumps(about).encode() + b"\n",
    "again.bin": held.tobytes(),
  }


def main() -> None:
  """Makes and writes."""
  parser = argparse.ArgumentParser(description="Make the model of the page.")
  parser.add_argument("--model", help="a keyword spotter; by default ours")
  parser.add_argument("--words", type=int, default=2, help="new words")
  parser.add_argument(
    "--clips", type=int, default=8, help="clips a class, shown again"
  )
  parser.add_argument("--out", default=os.path.join(HERE, "model"))
  given = parser.parse_args()
  try:
    contents = made(given.model, given.words, given.clips)
  except TflmFgError as fault:
    raise SystemExit(f"prepare.py: {fault}") from None
  except subprocess.CalledProcessError as fault:
    raise SystemExit(fault.returncode) from None
  os.makedirs(given.out, exist_ok=True)
  for name, content in contents.items():
    files.write_atomically(os.path.join(given.out, name), content)
    print(f"{os.path.join(given.out, name)}: {len(content):,d} bytes")


if __name__ == "__main__":
  main()
