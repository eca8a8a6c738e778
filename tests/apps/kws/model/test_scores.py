"""A score counts what was said against what was heard."""

import numpy as np
import pytest

from apps.kws.model import scores


class Parrot:
  """Hears the class that its features name."""

  def probabilities(self, x):
    return np.eye(3)[x[:, 0]] * 0.9 + 0.1 / 3


def test_a_row_is_what_was_said_and_a_column_what_was_heard():
  heard = np.array([[0], [1], [1], [2]])
  found = scores.score(Parrot(), heard, np.array([0, 0, 1, 2]))
  assert found.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
  assert found.accuracy == 3 / 4
  assert found.loss == pytest.approx(
    -(3 * np.log(0.9 + 0.1 / 3) + np.log(0.1 / 3)) / 4
  )


def test_scores_are_counted_right():
  confusion = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
  score = scores.WordScores(confusion, 0.5)
  assert score.accuracy == pytest.approx(5 / 6)
  first, second = score.words(["a", "b", "c"])
  assert (first["recall"], first["precision"]) == (0.75, 1.0)
  assert first["taken_for"] == "b"
  assert second["precision"] == pytest.approx(2 / 3)
  text = scores.table(score, ["a", "b", "c"])
  assert "c" not in text
