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

SURELY = 2.326
"""Standard errors that leave one chance in a hundred, of many classes."""

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
  parts = [np.isin(labels, shown[n::GROUPS]) for n in range(GROUPS)]
  order = np.concatenate([np.flatnonzero(out) for out in parts])
  for out in parts:
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
    verdict(gained, now.astype(np.int64) - was, labels[order]),
    float(gained.mean()),
  )


def verdict(
  gained: NDArray[np.float64], righter: NDArray[np.int64], of: Array
) -> str:
  """What samples say whose classes were left out; empty if they gain.

  What is to be known is how yet another class fares. So classes are counted,
  and not their samples, of which a hundred of two classes say no more.

  Args:
    gained: by how much the loss of each fell.
    righter: 1 for a sample that got right, -1 for one that got wrong.
    of: their classes.
  """
  lost = -100 * float(righter.mean())
  if lost > 0:
    return (
      "trained without some of the classes it answered wrong on "
      f"{math.ceil(lost)} % more of their samples"
    )
  each = np.array([gained[of == label].mean() for label in np.unique(of)])
  error = float(each.std(ddof=1)) / math.sqrt(len(each))
  if each.mean() <= _surely(len(each) - 1) * error:
    return (
      "trained without some of the classes it was not surely better on their "
      "samples"
    )
  return ""


def _surely(degrees: int) -> float:
  """Student's quantile for SURELY, by the expansion of Cornish and Fisher."""
  z = SURELY
  first = (z**3 + z) / 4
  second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
  return z + first / degrees + second / degrees**2
