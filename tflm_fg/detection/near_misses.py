"""Estimate false accepts an hour from the steps that came near.

Minutes of negatives with no false accept prove little: none in three minutes is
what a model with 10 an hour shows every second time. The highest odds of all
blocks say more. Their tail is taken to fall off exponentially: above a level
that the highest m blocks exceed, the mean excess s says how fast, and a cutoff
c is exceeded m / hours * exp(-(c - level) / s) times an hour.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK_SECONDS = 1.5
"""One detection a block at most, as long as a word and what follows it."""

_TAIL = 12
"""One block in so many belongs to the tail."""

_LEAST, _MOST = 8, 60
"""How many blocks make a tail, at least and at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tail:
  """The highest odds of some negatives.

  Attributes:
    level: nats that the highest blocks exceed; NaN with too few blocks.
    excess: by how much on average, in nats.
    an_hour: how many blocks an hour exceed the level.
  """

  level: float
  excess: float
  an_hour: float

  def above(self, cutoff: float) -> float:
    """How many blocks an hour exceed a cutoff; NaN with too few blocks.

    Args:
      cutoff: a probability.
    """
    distance = log_odds_of(cutoff) - self.level
    if not distance >= 0:  # within what was seen; or NaN
      return self.an_hour if distance < 0 else math.nan
    if not self.excess:
      return 0.0 if distance > 0 else self.an_hour
    return self.an_hour * math.exp(-distance / self.excess)


def log_odds_of(probability: float) -> float:
  """The log odds of a probability in nats; 0 and 1 count as near them."""
  near = min(max(probability, 1e-4), 1 - 1e-4)
  return math.log(near / (1 - near))


def tail_of(odds: Sequence[NDArray[np.float64]], step_seconds: float) -> Tail:
  """Measures the tail of some negatives.

  Args:
    odds: mean log odds of every scored window in nats, one array a stream.
    step_seconds: how long a step is.
  """
  length = max(1, round(BLOCK_SECONDS / step_seconds))
  blocks = np.concatenate([_highest(o, length) for o in odds] or [np.zeros(0)])
  hours = sum(map(len, odds)) * step_seconds / 3600
  wanted = min(max(len(blocks) // _TAIL, _LEAST), _MOST)
  if len(blocks) <= 2 * _LEAST or not hours:
    return Tail(math.nan, math.nan, math.nan)
  ordered = np.sort(blocks)[::-1]
  level = float(ordered[wanted])
  excess = float((ordered[:wanted] - level).mean())
  return Tail(level, excess, wanted / hours)


def _highest(odds: NDArray[np.float64], length: int) -> NDArray[np.float64]:
  """The highest odds of every block of a stream."""
  if not len(odds):
    return np.zeros(0)
  starts = np.arange(0, len(odds), length)
  return np.asarray(np.maximum.reduceat(odds, starts))


def likeness(
  words: Sequence[NDArray[np.float64]], others: Sequence[NDArray[np.float64]]
) -> list[float]:
  """How much each word stands out from what is not the word.

  Args:
    words: odds of every window that may hold the word, one array a stream.
    others: the same of negatives.

  Returns:
    For each word, the share of as long pieces of the negatives whose highest
    odds are lower than the word's, equal ones counted half.
  """
  length = int(np.median([len(w) for w in words]))
  blocks = np.concatenate([_highest(o, length) for o in others])
  found = []
  for word in words:
    best = float(word.max())
    found.append(float((blocks < best).mean() + (blocks == best).mean() / 2))
  return found
