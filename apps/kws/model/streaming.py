"""Find words and their times in a long recording."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import files
from apps.kws.model.spotter import Listener, Spotter
from apps.kws.synthetic.recordings import Spoken
from tflm_fg.types import TflmFgError

RATE_HZ = files.SAMPLE_RATE_HZ
TOLERANCE_SECONDS = 0.75
"""A word heard this near to where it was said is a hit."""

_BATCH = 128


class Hit(NamedTuple):
  """A word heard: the middle of the clip in which it was surest."""

  seconds: float
  word: str
  confidence: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hearing:
  """How probabilities over time become words.

  Attributes:
    hop_ms: distance from one clip to the next.
    smooth_ms: time over which probabilities are averaged.
    threshold: the least average at which a word is heard.
    pause_ms: for so long nothing is heard after a word.

  Raises:
    TflmFgError: if a number is out of its range.
  """

  hop_ms: int = 100
  smooth_ms: int = 300
  threshold: float = 0.7
  pause_ms: int = 800

  def __post_init__(self) -> None:
    for name, low, high in (
      ("hop_ms", 10, 1000),
      ("smooth_ms", 0, 2000),
      ("pause_ms", 0, 10_000),
      ("threshold", 0, 1),
    ):
      value = getattr(self, name)
      if not low <= value <= high:
        raise TflmFgError(f"--{name}={value}: need {low} to {high}")

  @property
  def hop(self) -> int:
    """Samples from one clip to the next."""
    return self.hop_ms * RATE_HZ // 1000

  @property
  def window(self) -> int:
    """How many clips are averaged."""
    return max(1, round(self.smooth_ms / self.hop_ms))


class Detector:
  """Hears words in probabilities that come one clip at a time.

  A word is reported at its peak: when its average has begun to fall, so that a
  half-heard beginning is not taken for another word.
  """

  def __init__(self, spotter: Spotter, hearing: Hearing) -> None:
    self._hearing = hearing
    self._classes = spotter.classes
    self._words = [spotter.classes.index(w) for w in spotter.words]
    self._recent: deque[tuple[float, NDArray[np.float64]]] = deque(
      maxlen=hearing.window
    )
    self._best: Hit | None = None
    self._deaf_until = -1.0

  def push(self, seconds: float, p: NDArray[np.float64]) -> Hit | None:
    """Takes the next clip.

    Args:
      seconds: the middle of the clip.
      p: float64 [C], its class probabilities.

    Returns:
      The word that has just passed its peak, if any.
    """
    self._recent.append((seconds, p))
    if len(self._recent) < self._hearing.window:
      return None
    middle = sum(s for s, _ in self._recent) / len(self._recent)
    mean = np.mean([p for _, p in self._recent], axis=0)
    word = max(self._words, key=lambda i: mean[i])
    loud = mean[word] >= self._hearing.threshold
    least = -1.0 if self._best is None else self._best.confidence
    if loud and middle >= self._deaf_until and mean[word] > least:
      self._best = Hit(middle, self._classes[word], float(mean[word]))
      return None
    return self.flush()

  def flush(self) -> Hit | None:
    """Returns the word that was still rising when the sound ended."""
    hit, self._best = self._best, None
    if hit is not None:
      self._deaf_until = hit.seconds + self._hearing.pause_ms / 1000
      hit = Hit(round(hit.seconds, 3), hit.word, round(hit.confidence, 4))
    return hit


def hear(
  listener: Listener,
  chunks: Iterable[NDArray[np.int16]],
  hearing: Hearing,
) -> Iterator[Hit]:
  """Listens to sound that comes in pieces, of any length.

  Args:
    listener: an open model.
    chunks: int16 pieces at 16 kHz, one after the other.
    hearing: how to decide.

  Yields:
    Words, each soon after its peak.
  """
  detector = Detector(listener.spotter, hearing)
  frontend = listener.spotter.frontend
  length, held, at = frontend.clip_samples, np.zeros(0, np.int16), 0
  for chunk in chunks:
    held = np.concatenate([held, chunk])
    count = (len(held) - length) // hearing.hop + 1
    for first in range(0, max(0, count), _BATCH):
      starts = range(first, min(count, first + _BATCH))
      x = [
        frontend.features(held[i * hearing.hop : i * hearing.hop + length])
        for i in starts
      ]
      for i, p in zip(starts, listener.probabilities(np.stack(x))):
        middle = (at + i * hearing.hop + length / 2) / RATE_HZ
        hit = detector.push(middle, p)
        if hit is not None:
          yield hit
    if count > 0:
      held = held[count * hearing.hop :]
      at += count * hearing.hop
  hit = detector.flush()
  if hit is not None:
    yield hit


def pieces(samples: NDArray[np.int16]) -> Iterator[NDArray[np.int16]]:
  """A recording in pieces of ten seconds; one shorter than a clip is padded."""
  if len(samples) < RATE_HZ:
    samples = files.one_clip(samples, RATE_HZ)
  for start in range(0, len(samples), 10 * RATE_HZ):
    yield samples[start : start + 10 * RATE_HZ]


@dataclasses.dataclass(frozen=True)
class Count:
  """What was heard against what was said.

  Attributes:
    hits: words heard where they were said.
    misses: words said and not heard.
    false_accepts: words heard that were not said there.
    hours: length of the recording.
  """

  hits: tuple[Hit, ...]
  misses: tuple[Spoken, ...]
  false_accepts: tuple[Hit, ...]
  hours: float

  @property
  def false_accepts_an_hour(self) -> float:
    """How many words are heard in an hour that nobody said."""
    return len(self.false_accepts) / self.hours

  def to_json(self) -> dict[str, Any]:
    """All of it, JSON-ready."""
    return {
      "hits": len(self.hits),
      "misses": len(self.misses),
      "false_accepts": len(self.false_accepts),
      "false_accepts_an_hour": self.false_accepts_an_hour,
      "missed": [list(m) for m in self.misses],
      "falsely_accepted": [list(f) for f in self.false_accepts],
    }

  def __str__(self) -> str:
    said = len(self.hits) + len(self.misses)
    return (
      f"{len(self.hits)} of {said} words heard, {len(self.misses)} missed, "
      f"{len(self.false_accepts)} false accepts "
      f"({self.false_accepts_an_hour:.1f} an hour)"
    )


def count(
  heard: Sequence[Hit],
  said: Sequence[Spoken],
  words: Sequence[str],
  samples: int,
) -> Count:
  """Compares what was heard with what was said; every word counts once.

  Args:
    heard: what was detected.
    said: all that was said; words that are not `words` ask for silence.
    words: the words to be spotted.
    samples: length of the recording.
  """
  open_ = [s for s in said if s.word in words]
  hits, false = [], []
  for hit in heard:
    near = [
      s
      for s in open_
      if s.word == hit.word
      and abs(s.seconds - hit.seconds) <= TOLERANCE_SECONDS
    ]
    if near:
      open_.remove(min(near, key=lambda s: abs(s.seconds - hit.seconds)))
      hits.append(hit)
    else:
      false.append(hit)
  hours = samples / RATE_HZ / 3600
  return Count(tuple(hits), tuple(open_), tuple(false), hours)
