"""Score logits of outputs that each stand alone: precision, recall and AUC.

A figure that is undefined on some samples, such as the recall of a label that
none of them has, is None and said by name; it is never a nan.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import Array, Int64

_FIGURES = ("accuracy", "precision", "recall", "auc")


def binary_scores(
  logits: Array,
  labels: Int64,
  scale: float,
  zero_point: int,
  threshold: float = 0.0,
) -> dict[str, Any]:
  """Accuracy, precision, recall and AUC.

  Args:
    logits: integers [N, C].
    labels: 0 and 1, int64 [N, C].
    scale: real value of a logit step.
    zero_point: what stands for 0.
    threshold: real logits above it answer 1; 0 is a probability of one half.

  Returns:
    Each figure, `per_label` with a table an output where there are several
    (the figures themselves are then means over those that are defined), and
    `undefined`, a line for each figure that is None; JSON-ready.
  """
  steps = logits.astype(np.int64) - zero_point
  said = steps * scale > threshold
  tables, undefined = [], list[str]()
  for number in range(labels.shape[1]):
    table, missing = _of_label(
      steps[:, number], said[:, number], labels[:, number] == 1
    )
    where = f" of output {number}" if labels.shape[1] > 1 else ""
    undefined += [f"{name}{where}: {why}" for name, why in missing.items()]
    tables.append(table)
  if len(tables) == 1:
    (only,) = tables
    return {**only, "undefined": undefined}
  return {
    **{name: _mean([table[name] for table in tables]) for name in _FIGURES},
    "positives": sum(table["positives"] for table in tables),
    "per_label": tables,
    "undefined": undefined,
  }


def _of_label(
  steps: Int64, said: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[dict[str, Any], dict[str, str]]:
  """The figures of one output, and why some of them are undefined."""
  hits = int((said & truth).sum())
  answered, positives = int(said.sum()), int(truth.sum())
  missing = {}
  if not answered:
    missing["precision"] = "no sample was answered with 1"
  if not positives:
    missing["recall"] = "no sample is 1"
  if positives in (0, len(truth)):
    missing["auc"] = f"all samples are {int(positives > 0)}"
  return {
    "accuracy": float((said == truth).mean()),
    "precision": hits / answered if answered else None,
    "recall": hits / positives if positives else None,
    "auc": None if "auc" in missing else _auc(steps, truth),
    "positives": positives,
  }, missing


def _auc(steps: Int64, truth: NDArray[np.bool_]) -> float:
  """The share of pairs, a 1 and a 0, in which the 1 has the higher logit.

  Equal logits count one half. The ranks are integers, so it is exact.
  """
  values, place = np.unique(steps, return_inverse=True)
  ones = np.bincount(place[truth], minlength=len(values))
  zeros = np.bincount(place[~truth], minlength=len(values))
  below = np.cumsum(zeros) - zeros
  twice = int((ones * (2 * below + zeros)).sum())
  return twice / (2 * int(ones.sum()) * int(zeros.sum()))


def _mean(values: list[float | None]) -> float | None:
  """The mean of those that are defined."""
  known = [value for value in values if value is not None]
  return sum(known) / len(known) if known else None
