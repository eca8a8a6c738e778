"""Make features and labels of a domain's clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tqdm
from numpy.typing import NDArray

from apps.kws.features import micro
from apps.kws.synthetic import speech, voices
from tflm_fg.types import TflmFgError


def make(
  domain: str,
  split: str,
  clips_per_class: int,
  seed: int = 0,
  *,
  first_index: int = 0,
  progress: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
  """Makes a balanced set of clips and takes their features.

  The classes alternate, so the first 12 n clips are n of each class, and a
  smaller set is the beginning of a larger one.

  Args:
    domain: A key of `voices.DOMAINS`.
    split: One of `voices.SPLITS`; splits never share an utterance.
    clips_per_class: Clips for each of the 12 classes.
    seed: Which corpus, from 0.
    first_index: The first clip of each class; a set that starts where another
      ends continues it.
    progress: Whether to show a bar.

  Returns:
    Features, float32 [N, 49, 40, 1], and classes, int32 [N], as indices into
    `voices.CLASSES`, with N = 12 * clips_per_class.

  Raises:
    TflmFgError: The domain or split is unknown, or clips_per_class is below 1.
    TflmFgError: A package is missing, or the speech synthesis failed.
  """
  return speak(
    voices.get(domain),
    split,
    clips_per_class,
    seed,
    first_index=first_index,
    progress=progress,
  )


def speak(
  who: voices.Domain,
  split: str,
  clips_per_class: int,
  seed: int = 0,
  *,
  first_index: int = 0,
  progress: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
  """The same as `make`, by a speaker who need not be in `voices.DOMAINS`."""
  if clips_per_class < 1:
    raise TflmFgError(f"clips_per_class: need 1 or more, got {clips_per_class}")
  plans = [
    voices.plan(who, split, label, first_index + index, seed)
    for index in range(clips_per_class)
    for label in range(len(voices.CLASSES))
  ]
  x = np.empty((len(plans), *micro.PARAMETERS.shape), np.float32)
  bar = tqdm.tqdm(
    clips(plans),
    desc=f"{who.name} {split}",
    total=len(plans),
    unit="clip",
    disable=not progress,
  )
  for row, clip in enumerate(bar):
    x[row] = micro.features(clip)
  y = np.arange(len(plans), dtype=np.int32) % len(voices.CLASSES)
  return x, y


def clips(plans: Sequence[voices.Plan]) -> Iterator[NDArray[np.int16]]:
  """Makes the planned clips; espeak-ng speaks the next while one is recorded.

  Args:
    plans: Which clips.

  Yields:
    For each plan int16 [16000]: one second at 16 kHz.

  Raises:
    TflmFgError: A package is missing, or the speech synthesis failed.
  """
  utterances = [plan.utterance for plan in plans]
  spoken = speech.synthesize([u for u in utterances if u is not None])
  for plan in plans:
    yield plan.record(b"" if plan.utterance is None else next(spoken))
