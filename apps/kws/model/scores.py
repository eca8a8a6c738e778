"""Score a model on labelled clips: accuracy, confusions and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.kws.model.spotter import Listener
from tflm_fg.types import Array


@dataclasses.dataclass(frozen=True)
class WordScores:
  """How a model does on some clips, in all and word by word.

  Attributes:
    confusion: int64 [C, C]; a row is what was said, a column what was heard.
    loss: mean cross-entropy, in nats.
  """

  confusion: NDArray[np.int64]
  loss: float

  @property
  def clips(self) -> int:
    """How many clips were scored."""
    return int(self.confusion.sum())

  @property
  def accuracy(self) -> float:
    """Share of clips that were heard right."""
    return float(np.trace(self.confusion)) / max(1, self.clips)

  def words(self, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class that has clips: recall, precision, what it is taken for."""
    rows = []
    for label, name in enumerate(classes):
      said, heard = self.confusion[label], self.confusion[:, label]
      if not said.sum():
        continue
      wrong = said.copy()
      wrong[label] = 0
      worst = int(wrong.argmax())
      rows.append(
        {
          "word": name,
          "clips": int(said.sum()),
          "recall": said[label] / said.sum(),
          "precision": heard[label] / heard.sum() if heard.sum() else None,
          "taken_for": classes[worst] if wrong[worst] else None,
        }
      )
    return rows

  def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
    """All of it, JSON-ready."""
    return {
      "clips": self.clips,
      "accuracy": self.accuracy,
      "loss": self.loss,
      "classes": list(classes),
      "confusion": self.confusion.tolist(),
      "words": self.words(classes),
    }


def score(listener: Listener, x: Array, y: NDArray[np.int64]) -> WordScores:
  """Runs a model on features [N, ...] with classes [N]."""
  p = listener.probabilities(x)
  own = p[np.arange(len(y)), y]
  confusion = np.zeros((p.shape[1], p.shape[1]), np.int64)
  np.add.at(confusion, (y, p.argmax(axis=1)), 1)
  return WordScores(confusion, float(-np.log(np.maximum(own, 1e-12)).mean()))


def table(score_: WordScores, classes: Sequence[str]) -> str:
  """The confusion matrix for people: only classes that were said or heard."""
  used = [
    i
    for i in range(len(classes))
    if score_.confusion[i].sum() or score_.confusion[:, i].sum()
  ]
  width = max(4, *(len(str(n)) + 1 for n in score_.confusion.flat))
  names = [classes[i] for i in used]
  left = max(len(n) for n in names)
  lines = [" " * left + "".join(f"{n[: width - 1]:>{width}}" for n in names)]
  for i in used:
    cells = (str(score_.confusion[i, j] or ".") for j in used)
    lines.append(
      f"{classes[i]:{left}}" + "".join(f"{c:>{width}}" for c in cells)
    )
  return "\n".join(lines)
