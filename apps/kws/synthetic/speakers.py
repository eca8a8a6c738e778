"""Make clips of synthetic speakers from words and a domain."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import importlib.metadata
import os
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import room
from apps.kws.synthetic import features
from apps.kws.synthetic.voices import Plan, get, plan_of_speaker
from tflm_fg.types import TflmFgError

CHUNK = 48
"""Clips that a thread makes at a time: their espeak-ng starts in 50 ms."""

NOISE_SECONDS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
  """What is said, by how many, and how often.

  Attributes:
    words: the words, each a folder.
    clips_per_word: clips of each word.
    other_words: further words, which a model is to hear as unknown.
    other_clips: clips of other words in all.
    domain: a key of `voices.DOMAINS`.
    split: one of `voices.SPLITS`; two never share an utterance.
    speakers: how many speak; they take turns.
    seed: which corpus.

  Raises:
    TflmFgError: if a number or a word cannot be.
  """

  words: tuple[str, ...]
  clips_per_word: int
  other_words: tuple[str, ...] = ()
  other_clips: int = 0
  domain: str = "source"
  split: str = "adapt"
  speakers: int = 0
  seed: int = 0

  def __post_init__(self) -> None:
    for word in self.words:
      if (
        not word or word.strip(" .") != word or set(word) & set('/\\\0:*?"<>|')
      ):
        raise TflmFgError(
          f"--words: {word!r} cannot name a folder; use plain words"
        )
    if len(set(self.words)) < len(self.words) or not self.words:
      raise TflmFgError("--words: need one or more words, each once")

  @property
  def voices(self) -> int:
    """How many speakers there are: by default one a clip of a word."""
    return self.speakers or max(self.clips_per_word, 1)

  def belonging(self) -> dict[str, str]:
    """What the clips depend on, for a checkpoint."""
    packages = ("numpy", "scipy", "espeakng-loader")
    return {
      **{n: str(v) for n, v in dataclasses.asdict(self).items()},
      **{f"version of {p}": importlib.metadata.version(p) for p in packages},
    }

  def plans(self) -> list[tuple[str, Plan]]:
    """Every clip's place in the folder, and its plan."""
    spoken = [
      (word, index)
      for word in self.words
      for index in range(self.clips_per_word)
    ]
    spoken += [
      (self.other_words[index % len(self.other_words)], index)
      for index in range(self.other_clips if self.other_words else 0)
    ]
    return [self._plan(word, index) for word, index in spoken]

  def _plan(self, word: str, index: int) -> tuple[str, Plan]:
    take, speaker = divmod(index, self.voices)
    plan = plan_of_speaker(
      get(self.domain), self.split, word, speaker, take, self.seed
    )
    return f"{word}/{self._name(speaker)}_nohash_{take}.wav", plan

  def _name(self, speaker: int) -> str:
    """Eight hexadecimal digits, as Speech Commands has; splits go by it."""
    name = f"{self.domain} {self.split} {self.seed} {speaker}"
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]

  def noises(self) -> Iterator[tuple[str, NDArray[np.int16]]]:
    """Recordings of the domain's background, and their places."""
    who = get(self.domain)
    count = max(6, -(-self.clips_per_word // NOISE_SECONDS))
    for number in range(count):
      plan = plan_of_speaker(who, self.split, None, number, 0, self.seed)
      rng = np.random.default_rng(plan.address)
      length = NOISE_SECONDS * room.SAMPLE_RATE_HZ
      noise = who.microphone.record_long([], length, rng)
      yield f"_background_noise_/noise_{number:02d}.wav", noise


def record(plans: Sequence[Plan]) -> Iterator[NDArray[np.int16]]:
  """Makes the planned clips on all cores, in order.

  Yields:
    For each plan int16 [16000].

  Raises:
    TflmFgError: if the speech synthesis fails or is missing.
  """
  chunks = [plans[i : i + CHUNK] for i in range(0, len(plans), CHUNK)]
  threads = min(os.cpu_count() or 1, 8)
  # Each thread has an espeak-ng of its own, and NumPy's transforms run aside.
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    try:
      for made in pool.map(_chunk, chunks):
        yield from made
    finally:
      pool.shutdown(cancel_futures=True)


def _chunk(plans: Sequence[Plan]) -> list[NDArray[np.int16]]:
  return list(features.clips(plans))
