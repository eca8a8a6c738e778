"""Measure how far engines are apart on one model, on the same samples.

Engines round differently, and how much of it is left at the output depends on
the model. So it is measured for each file, in place of a promise.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tflm_fg.runtimes import trial
from tflm_fg.runtimes.trial_process import Ran
from tflm_fg.tflite.tensors import Part
from tflm_fg.tflite.workload import int8_work
from tflm_fg.types import Array

REFERENCE = "litert-reference"

ENGINES = ("litert", "litert-xnnpack", "tflm", "tflite-runtime")
"""What is compared with LiteRT's reference kernels, where it is installed."""

MOST_SAMPLES, MOST_WORK = 8, 4_000_000
"""Samples that are run: fewer where a model is large, and at least one."""


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How far an engine is from LiteRT's reference kernels on one model.

  Attributes:
    engine: one of `ENGINES`.
    largest_difference: of any output on any sample, in output steps (in the
      output's own units where it is float); None where it does not run.
    samples: how many were compared.
    refused: why it does not run the model; empty where it does.
  """

  engine: str
  largest_difference: float | None
  samples: int
  refused: str = ""


def agreement(part: Part, x: Array) -> list[dict[str, Any]]:
  """Compares the installed engines on a part of one input and one output.

  Args:
    part: the model up to its logits.
    x: samples [N, ...] on the input's grid; the first few are taken.

  Returns:
    An `Agreement` for each engine, as a dict; none where the reference kernels
    do not run the part.
  """
  file = part.file
  count = MOST_WORK // max(1, int8_work(file))
  x = x[: min(MOST_SAMPLES, max(1, count))]
  rows = trial.sample_rows(file, x)
  wanted = _logits(trial.run(file, REFERENCE, rows))
  if wanted is None:
    return []
  found = []
  for engine in filter(trial.can_run, ENGINES):
    ran = trial.run(file, engine, rows)
    got = _logits(ran)
    apart = None if got is None else float(np.abs(got - wanted).max())
    found.append(Agreement(engine, apart, len(x), ran.fault))
  return [dataclasses.asdict(one) for one in found]


def _logits(ran: Ran) -> np.ndarray[Any, np.dtype[np.float64]] | None:
  """The first output of all samples; None where the engine failed."""
  if ran.outputs is None:
    return None
  return np.stack([np.asarray(row[0], np.float64) for row in ran.outputs])
