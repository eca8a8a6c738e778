"""Judge what training does to classes that it is shown no sample of.

A head is kept by imagined inputs. Whatever changes the layers before it has
none, but where several classes are shown they can judge one another: groups of
them are left out in turn, the others are trained on, and the samples of those
that were left out say what became of them. That is how a class fares that
nothing was shown of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.forgetting.coverage import Coverage
from tflm_fg.losses.base import Loss
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.types import Array

FEWEST = 4
"""Classes that must be shown for groups of them to judge: two learn, two are
left out."""

GROUPS = 2
"""Groups of classes, each left out once."""

SURELY = 1.64
"""Standard errors by which the loss of the samples left out must fall."""

Trained = Callable[[Array], ModelFile]
"""Trains on the samples of these indices and gives the file."""

Answers = Callable[[ModelFile, Array], tuple[Array, Loss]]
"""Gives a file's logits, integers [N, C], for the samples of these indices, and
the loss on them."""


class Judged(NamedTuple):
  """What samples say whose classes were left out.

  Attributes:
    fault: why training may harm such classes; empty if it helps them.
    gain: by how much the loss of their samples fell, the mean.
  """

  fault: str
  gain: float = 0.0


def judged(
  model: ModelFile,
  labels: Array,
  coverage: Coverage,
  trained: Trained,
  answers: Answers,
) -> Judged:
  """Asks groups of classes, left out in turn, what training does to them.

  Args:
    model: the file before.
    labels: classes of all samples, [N].
    coverage: which classes are shown.
    trained: trains the file on some of the samples.
    answers: runs a file on some of the samples.
  """
  shown = coverage.shown
  if len(shown) < FEWEST:
    return Judged(
      f"samples of {len(shown)} classes cannot show what it does to others; "
      f"those of {FEWEST} could"
    )
  losses: list[list[NDArray[np.float64]]] = [[], []]
  right: list[list[NDArray[np.bool_]]] = [[], []]
  for number in range(GROUPS):
    out = np.isin(labels, shown[number::GROUPS])
    left, own = np.flatnonzero(out), labels[out]
    for when, file in enumerate((model, trained(np.flatnonzero(~out)))):
      logits, loss = answers(file, left)
      each = loss.per_sample(logits, own).astype(np.float64)
      losses[when].append(each * loss.unit)
      right[when].append(logits.argmax(axis=1) == own)
  before, after = map(np.concatenate, losses)
  was, now = map(np.concatenate, right)
  gained = before - after
  return Judged(
    verdict(gained, now.astype(np.int64) - was), float(gained.mean())
  )


def verdict(gained: NDArray[np.float64], righter: NDArray[np.int64]) -> str:
  """What samples say whose classes were left out; empty if they gain.

  Args:
    gained: by how much the loss of each fell.
    righter: 1 for a sample that got right, -1 for one that got wrong.
  """
  lost = -100 * float(righter.mean())
  if lost > 0:
    return (
      "trained without some of the classes it answered wrong on "
      f"{math.ceil(lost)} % more of their samples"
    )
  if gained.mean() <= SURELY * float(gained.std()) / math.sqrt(len(gained)):
    return (
      "trained without some of the classes it was not surely better on their "
      "samples"
    )
  return ""
