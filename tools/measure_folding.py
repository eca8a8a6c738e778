"""Measure how far written biases and gains answer from their training graph.

  python tools/measure_folding.py MODEL.tflite ...

Biases of all layers before the head move by up to `--steps` output steps, gains
to between .7 and 1.4, both at random. The graph that trains has them flow in
as data; the file holds them as constants. Inputs are random within the middle
half of their range. A row says how far the logits are apart at the start and
behind the move, in steps, and how many answers differ.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.placement.phase_record import masters_of, write_masters
from tflm_fg.runtimes.input_weights import InputWeightsSession
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.perturbation_inputs import weights_to_inputs
from tflm_fg.types import SCALE_ONE

RUNTIMES = ("litert-reference", "litert-xnnpack")


def _moved(marked, steps, random):
  masters = masters_of(marked.file, marked.mark)
  for tensor in marked.mark.trainable:
    held = masters[tensor.index]
    if tensor.role == "scale":
      gains = np.exp2(random.uniform(-0.5, 0.5, held.shape))
      masters[tensor.index] = np.rint(gains * SCALE_ONE).astype(np.int16)
    else:
      units = np.resize(tensor.output_step, held.shape)
      way = random.uniform(-steps, steps, held.shape) * units
      masters[tensor.index] = held + np.rint(way).astype(held.dtype)
  return masters


def _apart(marked, masters, x, runtime):
  """Logits of the training graph and of the written file, [N, C] each."""
  layout = Layout(marked.mark.trainable)
  part = whole(marked.file, marked.mark)
  flowing = weights_to_inputs(part)
  inner = open_session(runtime, flowing.part, "in-place")
  session = InputWeightsSession(inner, part, flowing.flows)
  session.load(layout.weights(layout.gather(masters)))
  written = write_masters(marked.file, marked.mark, masters)
  plain = whole(written, marked.mark)._replace(writable=(), gains=())
  file = open_session(runtime, plain, "in-place")
  return [
    s.run((x,))[0].reshape(len(x), -1).astype(int) for s in (session, file)
  ]


def main():
  """Prints a row a model, choice and runtime."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("models", nargs="+", type=pathlib.Path)
  parser.add_argument("--steps", type=float, default=8.0)
  parser.add_argument("--samples", type=int, default=200)
  given = parser.parse_args()
  print("| model | what | runtime | start | moved | same answers |")
  print("|---|---|---|---|---|---|")
  for path in given.models:
    file = ModelFile.open(path.read_bytes(), path.name)
    tensor = file.subgraph.tensors[file.subgraph.inputs[0]]
    random = np.random.default_rng(0)
    shape = (given.samples, *tensor.shape[1:])
    x = random.integers(-64, 64, shape).astype(tensor.dtype)
    for what in ("inner-bias", "inner-bias,gain"):
      marked = mark_file(file, what)
      ends = (
        masters_of(marked.file, marked.mark),
        _moved(marked, given.steps, random),
      )
      for runtime in RUNTIMES:
        cells = []
        for masters in ends:
          some, others = _apart(marked, masters, x, runtime)
          away = np.abs(some - others)
          cells.append(f"{away.max()}, {away.mean():.2f}")
        same = (some.argmax(axis=1) == others.argmax(axis=1)).mean()
        row = (path.stem, what, runtime, *cells, f"{same:.3f}")
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
  main()
