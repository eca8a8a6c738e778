"""Recordings of made-up voices, turned into the steps that a model reads.

Everything drawn for a recording comes from its name alone, so that a recording
is the same in every run, whichever others are made.
"""

from __future__ import annotations

import dataclasses
import pathlib
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from apps.kws.synthetic import speech
from tools.wake.rooms import ROOMS

Steps = NDArray[np.int8]
"""int8 [T, ...]: what a model reads, step by step."""

_RATES_WPM = {"child": (105, 155)}
"""A small speaker's frequencies are moved up after, which makes it quicker."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
  """One recording that is yet to be made.

  Attributes:
    name: unlike all others; what is drawn depends on it.
    texts: what is said, sentence by sentence.
    voice: an espeak-ng language and variant.
    room: a key of `rooms.ROOMS`.
    lead: range of seconds of room noise in front.
    gap: range of seconds of room noise behind each sentence.
  """

  name: str
  texts: tuple[str, ...]
  voice: str
  room: str = "near"
  lead: tuple[float, float] = (1.6, 2.4)
  gap: tuple[float, float] = (0.7, 1.0)

  def utterances(self) -> list[speech.Utterance]:
    """What espeak-ng is asked for; rate and pitch change by recording."""
    rng = np.random.default_rng([zlib.crc32(self.name.encode()), 0])
    rates = _RATES_WPM.get(self.room, (130, 200))
    low, high = (55, 85) if self.room == "child" else (30, 70)
    return [
      speech.Utterance(
        text=text,
        voice=self.voice,
        rate_wpm=int(rng.integers(*rates)),
        pitch=int(rng.integers(low, high)),
        pitch_range=int(rng.integers(30, 80)),
      )
      for text in self.texts
    ]

  def record(self, spoken: Sequence[bytes]) -> NDArray[np.int16]:
    """int16 [n] at 16 kHz, of what espeak-ng said."""
    rng = np.random.default_rng([zlib.crc32(self.name.encode()), 1])
    return ROOMS[self.room].record(
      spoken, speech.SAMPLE_RATE_HZ, rng, lead=self.lead, gap=self.gap
    )


def made(recordings: Sequence[Recording]) -> Iterator[NDArray[np.int16]]:
  """int16 [n] at 16 kHz of each recording, in order."""
  plans = [recording.utterances() for recording in recordings]
  spoken = speech.synthesize([u for plan in plans for u in plan])
  for recording, plan in zip(recordings, plans):
    yield recording.record([next(spoken) for _ in plan])


class Store:
  """Arrays of many lengths, a file a group, made when they are first read."""

  def __init__(self, folder: pathlib.Path) -> None:
    self.folder = folder

  def get(
    self, group: str, make: Callable[[], Sequence[NDArray[np.int8]]]
  ) -> list[NDArray[np.int8]]:
    """The arrays of a group, from their file or made and written.

    Args:
      group: its name, which says all that the arrays depend on.
      make: makes them; all but their first axes are the same.
    """
    path = self.folder / f"{group}.npy"
    lengths = path.with_suffix(".lengths.npy")
    if not lengths.exists():
      arrays = list(make())
      path.parent.mkdir(parents=True, exist_ok=True)
      np.save(path, np.concatenate(arrays))
      np.save(lengths, np.array([len(array) for array in arrays]))
    joined = np.load(path, mmap_mode="r")
    return np.split(joined, np.cumsum(np.load(lengths))[:-1])
