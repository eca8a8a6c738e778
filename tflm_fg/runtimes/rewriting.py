"""Measure how far a rewritten model's outputs are from the user's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point import random_bits
from tflm_fg.runtimes import trial
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.inputs import spec_of
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import up_to
from tflm_fg.tflite.workload import int8_work
from tflm_fg.types import Array

ENGINE = "litert"
"""Runs both: it has the kernels of uint8, which TFLM has not."""

MOST_SAMPLES, MOST_WORK = 64, 100_000_000
"""Samples that are run: fewer where a model is large, and at least four."""


def told_change(before: ModelFile, after: ModelFile, x: Array | None) -> str:
  """Says by how much the outputs and the logits change at most, in steps.

  Args:
    before: the user's file, of one input.
    after: the rewritten one.
    x: samples [N, ...] on the input's grid, of which the first are taken; None
      for random ones.
  """
  kind = "of your" if x is not None else "random"
  if x is None:
    spec = spec_of(before)  # an input may have no axis of a batch
    x = random_bits.probe_input(spec.shape[1:], spec.dtype, 0, MOST_SAMPLES)
  count = max(4, MOST_WORK // max(1, int8_work(after)))
  x = x[: min(MOST_SAMPLES, count)]
  # Logits that the user's file gives may stand behind a QUANTIZE now.
  logits = [unmarked(file).logits for file in (before, after)]
  pairs = zip(before.subgraph.outputs, after.subgraph.outputs, strict=True)
  others = [
    place
    for place, pair in enumerate(pairs)
    if all(output != own for output, own in zip(pair, logits))
  ]
  one, other = (_outputs(file, x, others) for file in (before, after))
  if one is None or other is None:
    return f"{ENGINE} does not run both files, so the change is not known"
  moved, *most = (np.abs(a - b).max() for a, b in zip(one, other, strict=True))
  steps = f"by at most {moved:g} steps of the logits"
  if most:
    steps += f" and {max(most):g} of what the file gives"
  return f"rewriting changes the outputs {steps}, on {len(x)} {kind} samples"


def _outputs(
  file: ModelFile, x: Array, places: list[int]
) -> list[NDArray[np.float64]] | None:
  """The logits and outputs at these places; None if it does not run."""
  logits = unmarked(file).logits
  part = up_to(file, [logits, *(file.subgraph.outputs[p] for p in places)]).file
  ran = trial.run(part, ENGINE, trial.sample_rows(part, x))
  if ran.outputs is None:
    return None
  outputs = [np.stack(column) for column in zip(*ran.outputs)]
  return [o.astype(np.float64) - 128 * (o.dtype == np.uint8) for o in outputs]
