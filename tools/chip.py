"""Adapt the shipped keyword spotter on an emulated Cortex-M4, and count.

  python tools/chip.py [--placement=head] [--voice=whisper] [--gain=1]
    [--clips=4] [--test_clips=5] [--steps=N] [--batch=16]
    [--model=A.tflite --npz=samples.npz]

A voice that the spotter does not know is synthesized. Python adapts to it with
TFLM's interpreter, and QEMU runs the trainer in C with the network of forward.c
from start to end: features, steps, scores before and after, and what is saved.
Prints how much differs, which must be nothing, and what a step costs in
instructions. With --npz and --model it is another int8 classifier and the first
samples of a file, as many as clips of twelve words would be. A pass of the
input stage is a whole run of the spotter, so that its 80 steps of 16 samples
take minutes. Needs what tflm_fg/micro/test.sh needs.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import tflm_fg  # noqa: E402
from tests.micro import write_vectors  # noqa: E402
from tflm_fg import methods, micro  # noqa: E402
from tflm_fg.samples import load_npz, model_input  # noqa: E402
from tflm_fg.tflite import ModelFile, input_spec  # noqa: E402

KEPT_SHARE = 5
"""One sample of so many is kept aside."""


def samples_of(options: argparse.Namespace) -> tuple[Any, Any]:
  """Samples on the model's grid, and their classes; tests come last."""
  if options.npz is None:
    return write_vectors.spoken(
      options.clips,
      options.test_clips,
      options.voice,
      options.gain,
      options.seed,
    )
  loaded = load_npz(options.npz)
  count = 12 * (options.clips + options.test_clips)
  grid = input_spec(ModelFile.open(pathlib.Path(options.model).read_bytes()))
  x = model_input(loaded.x[:count], grid, options.npz)
  return x, np.asarray(loaded.y)[:count].astype(np.int64)


def case_of(options: argparse.Namespace) -> write_vectors.Case:
  """The phase that Python and the chip run."""
  x, y = samples_of(options)
  model = pathlib.Path(options.model or write_vectors.SPOTTER).read_bytes()
  is_head = options.placement == "head"
  marked = tflm_fg.mark_trainable(
    model,
    "head" if is_head else "prompt",
    graph_options=None if is_head else write_vectors.PROMPT,
    name="spotter",
  )
  steps = {} if options.steps is None else {"steps": options.steps}
  method: methods.Method = methods.ClosedForm(seed=options.seed, **steps)
  if not is_head:
    method = methods.PerSample(
      seed=options.seed, batch_size=options.batch, **steps
    )
  tests = 12 * options.test_clips
  return write_vectors.Case(
    options.placement,
    marked,
    method,
    x,
    y,
    kept=(len(x) - tests) // KEPT_SHARE,
    tests=tests,
    whole=True,
  )


def main() -> int:
  """Runs one placement and prints what the chip says."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--placement", choices=("head", "stage"), default="head")
  parser.add_argument("--voice", default="whisper")
  parser.add_argument("--gain", type=float, default=1.0)
  parser.add_argument("--clips", type=int, default=4)
  parser.add_argument("--test_clips", type=int, default=5)
  parser.add_argument("--steps", type=int)
  parser.add_argument("--batch", type=int, default=16)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--model", help="another int8 classifier")
  parser.add_argument("--npz", help="its samples: x and y")
  options = parser.parse_args()
  case = case_of(options)
  sizes = micro.device_sizes(case.blob, case.count)
  named = options.npz or f"{options.voice!r} at gain {options.gain:g}"
  print(
    f"{case.count} samples of {named}, {case.kept} of them kept aside; "
    f"{case.tests} tests; {sizes.steps} steps"
  )
  print(f"sizes: {sizes}")
  with tempfile.TemporaryDirectory() as folder:
    whole = pathlib.Path(folder) / "whole"
    whole.mkdir()
    (pathlib.Path(folder) / "vectors.h").touch()
    write_vectors.write(whole / "vectors.h", [case])
    return subprocess.run(
      ["bash", str(ROOT / "tflm_fg" / "micro" / "test.sh"), "whole"],
      check=False,
      env={"FG_SECONDS": "3000", **os.environ, "FG_VECTORS": folder},
    ).returncode


if __name__ == "__main__":
  sys.exit(main())
