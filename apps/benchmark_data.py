"""The benchmark's data sets: samples of an .npz, or the voices of the demo."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from apps.kws.model import shipped
from tflm_fg.training import load_npz
from tflm_fg.types import Array, TflmFgError

Part = tuple[Array, Array]
"""Samples and their classes."""

VOICES = (*shipped.TARGETS, "words", "source")
"""The demo's voices; ten new words by one voice; voices as in training."""

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
"""Words that the shipped model has never heard, on its first ten outputs."""

NEW_WORDS_VOICE = "en-us+m7"

TEST_SAMPLES_PER_WORD = 40


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How many samples are used.

  Attributes:
    train: of an .npz, to train on.
    test: of an .npz, to score on.
    per_word: of a voice, to train on.
  """

  train: int
  test: int
  per_word: int


def split_of(name: str, seed: int, sizes: Sizes) -> tuple[Part, Part]:
  """Training and test samples of a data set.

  An .npz is cut in its own order for seed 0 and in a shuffled one for others;
  a voice speaks anew for every seed.

  Raises:
    TflmFgError: if there is no such data set, or it is too small.
  """
  if name == "words":
    return (
      new_words("adapt", sizes.per_word, seed),
      new_words("test", TEST_SAMPLES_PER_WORD, seed),
    )
  if name in VOICES:
    return shipped.samples_of(name, sizes.per_word, TEST_SAMPLES_PER_WORD, seed)
  samples = load_npz(name)
  end = sizes.train + sizes.test
  if samples.y is None or len(samples.x) < end:
    raise TflmFgError(
      f"{name}: {len(samples.x)} samples, --train_clips and --test_clips "
      f"need {end}"
    )
  order = np.arange(len(samples.x))
  if seed:
    order = np.random.default_rng(seed).permutation(order)
  train, test = order[: sizes.train], order[sizes.train : end]
  return (samples.x[train], samples.y[train]), (
    samples.x[test],
    samples.y[test],
  )


def new_words(split: str, clips_per_word: int, seed: int) -> Part:
  """Ten words that no training corpus has, said by one voice."""
  # With them come SciPy and a speech synthesizer.
  from apps.kws.features import micro as frontend
  from apps.kws.synthetic import features as dataset
  from apps.kws.synthetic import voices as domains

  speaker = domains.Domain(name="words", voices=(NEW_WORDS_VOICE,))
  plans = []
  for index in range(clips_per_word):
    for label, word in enumerate(NEW_WORDS):
      plan = domains.plan(speaker, split, label, index, seed)
      assert plan.utterance is not None  # only silence has none
      said = dataclasses.replace(plan.utterance, text=word)
      plans.append(dataclasses.replace(plan, utterance=said))
  x = np.stack([frontend.features(clip) for clip in dataset.clips(plans)])
  return x, np.arange(len(x)) % len(NEW_WORDS)


@functools.lru_cache(maxsize=1)
def source_test(seed: int) -> Part:
  """Test samples of the voices that the shipped model was trained on."""
  from apps.kws.synthetic import features as dataset

  return dataset.make("source", "test", TEST_SAMPLES_PER_WORD, seed)


def source_of(name: str, seed: int) -> Part | None:
  """What should not be forgotten while adapting; None where that is nothing.

  New words take the outputs of the old ones, and an .npz does not say what the
  model was trained on.
  """
  return source_test(seed) if name in (*shipped.TARGETS, "source") else None
