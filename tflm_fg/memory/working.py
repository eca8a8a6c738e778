"""About how much memory adapting takes in this process, known before it runs.

What grows with the samples is what they are on the model's grid: as they were
checked, as they are split into those to train on and those kept aside, and as
they are taken in another order. Nothing holds all of them in wider numbers.
"""

from __future__ import annotations

import math

import numpy as np

from tflm_fg import limits
from tflm_fg.tflite.inputs import spec_of
from tflm_fg.tflite.model_file import ModelFile

COPIES = 4
"""Of all samples on the model's grid, at most about."""

MODEL_COPIES = 8
"""Of the model's file: in engines, with and without a mark, and rewritten."""

FIXED = 32 << 20
"""Bytes of engines, directions and curves, whatever is adapted."""


def adapting(file: ModelFile, samples: int) -> int:
  """About how many bytes `adapt` takes, beside the samples as they are given.

  Args:
    file: the model.
    samples: how many there are in all, those that are only scored too.
  """
  spec = spec_of(file)
  each = math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
  return COPIES * samples * each + MODEL_COPIES * len(file.data) + FIXED


def require_room(file: ModelFile, samples: int) -> None:
  """Refuses what needs more memory than there is, before anything runs.

  Args:
    file: the model.
    samples: how many there are in all.

  Raises:
    TflmFgError: in one line, with the limit.
  """
  limits.require(
    adapting(file, samples),
    f"adapting {file.name} to {samples} samples",
    "give fewer samples",
  )
