"""Small folders of recordings that several tests read, made once a process."""

from __future__ import annotations

import functools
import pathlib
import tempfile

import numpy as np

from apps.kws.audio import files
from apps.kws.synthetic import speakers

WORDS = ("down", "go", "left", "yes")


@functools.cache
def root_folder() -> pathlib.Path:
  """A folder that goes when the process ends."""
  held = tempfile.TemporaryDirectory()
  _KEPT.append(held)
  return pathlib.Path(held.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def speech(
  words: tuple[str, ...] = WORDS,
  clips: int = 5,
  domain: str = "whisper",
  split: str = "adapt",
  other_clips: int = 0,
) -> pathlib.Path:
  """Synthetic speech in the Speech Commands layout."""
  corpus = speakers.Corpus(
    words=words,
    clips_per_word=clips,
    other_words=("cat", "dog"),
    other_clips=other_clips,
    domain=domain,
    split=split,
  )
  root = (
    root_folder() / f"{domain}-{split}-{clips}-{other_clips}-{'-'.join(words)}"
  )
  places, plans = zip(*corpus.plans())
  for place, clip in [*zip(places, speakers.record(plans)), *corpus.noises()]:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    files.write(str(root / place), clip)
  return root


def tone(seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
  """A burst of a tone in the middle of silence, int16."""
  samples = np.zeros(round(seconds * 16_000))
  middle = len(samples) // 2
  width = min(3200, middle)
  times = np.arange(2 * width) / 16_000
  samples[middle - width : middle + width] = np.sin(2 * np.pi * hertz * times)
  return (samples * 8000).astype(np.int16)
