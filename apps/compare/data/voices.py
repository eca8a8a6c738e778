"""Speak samples to adapt to and to score on, from a voice and a seed.

Speech is synthetic, by the demo's own synthesizer. No utterance that is scored
on is ever adapted to. There are two kinds of domains:

- episodes (`split_of`, `words_of`), whose test samples are the same for all
  seeds;
- the demo's voices (`spoken_anew`), which speak new training and new test
  samples for every seed.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import types
from collections.abc import Mapping

import numpy as np

from apps.compare.data import sampling
from apps.compare.data.cache import cached
from apps.compare.data.sampling import Part
from apps.kws.model import shipped
from apps.kws.synthetic import features, voices

VERSION = 1
"""Of the samples: another one where the same name and seed say other things."""

TEST_SAMPLES_PER_WORD = 40

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

NEW_WORDS = (
  "lights",
  "kitchen",
  "heating",
  "coffee",
  "curtain",
  "alarm",
  "volume",
  "radio",
  "timer",
  "doorbell",
)
"""Words that the shipped model has never heard, all by one voice."""

NEW_WORDS_VOICE = "en-us+m7"

SPOKEN_ANEW = (*shipped.TARGETS, "words", "source")
"""The demo's voices; ten new words on the first ten outputs; voices as in
training."""


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
  """Samples of some new words, chosen by the seed; classes 0 to ways - 1."""
  classes = sampling.choose(np.arange(len(NEW_WORDS)), ways, seed)
  train = cached(
    folder,
    _key("words", "adapt", shots, seed),
    lambda: new_words("adapt", shots, seed),
  )
  test = cached(
    folder,
    _key("words", "test", TEST_SAMPLES_PER_WORD, 0),
    lambda: new_words("test", TEST_SAMPLES_PER_WORD, 0),
  )
  return sampling.subset(*train, classes), sampling.subset(*test, classes)


def spoken_anew(name: str, shots: int, seed: int) -> tuple[Part, Part]:
  """Training and test samples of which both are new for every seed.

  Args:
    name: one of SPOKEN_ANEW.
    shots: samples of a class to adapt to.
    seed: which ones.

  Raises:
    TflmFgError: if the voice cannot speak.
  """
  if name == "words":
    return (
      new_words("adapt", shots, seed),
      new_words("test", TEST_SAMPLES_PER_WORD, seed),
    )
  return shipped.clips_of(name, shots, TEST_SAMPLES_PER_WORD, seed)


def new_words(split: str, samples_per_word: int, seed: int) -> Part:
  """Ten words that no training corpus has, said by one voice."""
  # With it comes a package of native code, which not every user has.
  from apps.kws.features import micro

  speaker = voices.Domain(name="words", voices=(NEW_WORDS_VOICE,))
  plans = []
  for index in range(samples_per_word):
    for label, word in enumerate(NEW_WORDS):
      plan = voices.plan(speaker, split, label, index, seed)
      assert plan.utterance is not None  # only silence has none
      said = dataclasses.replace(plan.utterance, text=word)
      plans.append(dataclasses.replace(plan, utterance=said))
  x = np.stack([micro.features(clip) for clip in features.clips(plans)])
  return x, np.arange(len(x)) % len(NEW_WORDS)


@functools.lru_cache(maxsize=1)
def source_test(seed: int) -> Part:
  """Test samples of the voices that the shipped model was trained on."""
  return features.make("source", "test", TEST_SAMPLES_PER_WORD, seed)


def source_of(name: str, seed: int) -> Part | None:
  """What should not be forgotten while adapting; None where that is nothing.

  New words take the outputs of the old ones, and a file of samples does not say
  what the model was trained on.
  """
  return source_test(seed) if name in (*shipped.TARGETS, "source") else None


def source_samples(folder: str | None = None) -> Part:
  """Samples of the training voices, for means of the layers' activations."""
  shots = SOURCE_SAMPLES_PER_WORD
  return cached(
    folder,
    _key("source", "adapt", shots, 0),
    lambda: features.make("source", "adapt", shots, 0, progress=False),
  )


SOURCE_SAMPLES_PER_WORD = 20


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
