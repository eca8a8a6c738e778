"""Speak samples to adapt to and to score on, from a voice and a seed.

Speech is synthetic, by the demo's own synthesizer. What is scored on is the
same for all seeds, and no utterance of it is ever adapted to.
"""

from __future__ import annotations

import importlib.metadata
import types
from collections.abc import Mapping

import numpy as np

from apps import benchmark_data
from apps.compare.data import sampling
from apps.compare.data.cache import cached
from apps.compare.data.sampling import Part
from apps.kws.synthetic import features, voices

VERSION = 1
"""Of the samples: another one where the same name and seed say other things."""

TEST_SAMPLES_PER_WORD = benchmark_data.TEST_SAMPLES_PER_WORD

VOICES: Mapping[str, voices.Domain] = types.MappingProxyType(
  {
    voice.name: voice
    for voice in (
      voices.get("whisper"),
      voices.get("child"),
      voices.get("hungarian"),
      voices.Domain(name="vietnamese", voices=("vi",)),
      voices.Domain(name="robot", voices=("en-us+UniRobot",)),
      voices.Domain(
        name="hasty",
        voices=voices.get("source").voices,
        rate_wpm=(280, 340),
      ),
    )
  }
)
"""New speakers: the demo's three and three more."""

WORDS = benchmark_data.NEW_WORDS
"""New words, all by one voice."""


def split_of(
  name: str, shots: int, seed: int, folder: str | None = None
) -> tuple[Part, Part]:
  """Samples of the twelve classes by a new speaker.

  Args:
    name: a key of VOICES.
    shots: samples of a class to adapt to; fewer are the beginning of more.
    seed: which ones; what is scored on does not depend on it.
    folder: where samples are kept, or None.

  Raises:
    TflmFgError: if the voice is unknown or cannot speak.
  """
  return (
    cached(
      folder,
      _key(name, "adapt", shots, seed),
      lambda: _spoken(name, "adapt", shots, seed),
    ),
    cached(
      folder,
      _key(name, "test", TEST_SAMPLES_PER_WORD, 0),
      lambda: _spoken(name, "test", TEST_SAMPLES_PER_WORD, 0),
    ),
  )


def words_of(
  ways: int, shots: int, seed: int, folder: str | None = None
) -> tuple[Part, Part]:
  """Samples of some new words, drawn by the seed; classes 0 to ways - 1."""
  classes = sampling.choose(np.arange(len(WORDS)), ways, seed)
  train = cached(
    folder,
    _key("words", "adapt", shots, seed),
    lambda: benchmark_data.new_words("adapt", shots, seed),
  )
  test = cached(
    folder,
    _key("words", "test", TEST_SAMPLES_PER_WORD, 0),
    lambda: benchmark_data.new_words("test", TEST_SAMPLES_PER_WORD, 0),
  )
  return sampling.subset(*train, classes), sampling.subset(*test, classes)


def _spoken(name: str, split: str, count: int, seed: int) -> Part:
  x, y = features.speak(VOICES[name], split, count, seed, progress=False)
  return x, y.astype(np.int64)


def _key(name: str, split: str, count: int, seed: int) -> str:
  """What a file of samples is called: all that its bytes depend on."""
  made = [
    f"{package.split('-')[0]}{importlib.metadata.version(package)}"
    for package in ("espeakng-loader", "pymicro-features")
  ]
  return "-".join([name, split, str(count), str(seed), f"v{VERSION}", *made])
