"""Let synthetic voices say phrases into made-up rooms, as streams of sound.

A stream begins as a device hears it: with the noise of its room, before anybody
speaks. All that is drawn for a stream follows from its seed and its content, so
a stream does not depend on which others are made.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from apps.kws.audio import room
from apps.kws.synthetic import speech

RATE_HZ = room.SAMPLE_RATE_HZ

LEAD_SECONDS = 1.5
"""Noise of the room before the first word: longer than a model's memory."""

TRAIL_SECONDS = 0.7
"""And after the last one: a model's window ends after the word does."""

NEAR, FAR, CHILD, WHISPER = "near", "far", "child", "whisper"
MANNERS = (NEAR, FAR, CHILD, WHISPER)

_PAUSE_SECONDS = (0.25, 0.7)
_CHILD_SCALE = (1.15, 1.35)
_MICROPHONES = {
  NEAR: room.Microphone(level_db=(-32.0, -18.0), snr_db=(15.0, 40.0)),
  FAR: room.Microphone(
    low_hz=200.0, high_hz=4500.0, level_db=(-42.0, -30.0), snr_db=(10.0, 25.0)
  ),
  CHILD: room.Microphone(level_db=(-32.0, -18.0), snr_db=(15.0, 40.0)),
  WHISPER: room.Microphone(level_db=(-40.0, -28.0), snr_db=(10.0, 25.0)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """A stream that is yet to be made: a voice, and what it says in turn.

  Attributes:
    texts: the phrases, with a pause between two.
    voice: espeak-ng's name of a language and a variant, such as "en-us+Andy".
    manner: one of MANNERS.
    seed: which of the streams that have the same content.
    fast: whether the stream is made a little longer, to a length that is ten
      times faster to transform.
  """

  texts: tuple[str, ...]
  voice: str
  manner: str = NEAR
  seed: int = 0
  fast: bool = False

  def utterances(self) -> list[speech.Utterance]:
    """What espeak-ng is asked to say."""
    rng = self._draws(0)
    slower = 1.25 if self.manner == CHILD else 1.0
    return [
      speech.Utterance(
        text=text,
        voice=self.voice,
        rate_wpm=round(int(rng.integers(130, 200)) / slower),
        pitch=int(rng.integers(30, 70)),
        pitch_range=int(rng.integers(30, 80)),
      )
      for text in self.texts
    ]

  def record(self, spoken: Sequence[bytes]) -> NDArray[np.int16]:
    """Turns what espeak-ng said into the stream.

    Args:
      spoken: for each utterance its PCM, as `speech.synthesize` yields it.

    Returns:
      int16 [n] at 16 kHz.
    """
    rng = self._draws(1)
    scale = float(rng.uniform(*_CHILD_SCALE)) if self.manner == CHILD else 1.0
    at, words = round(LEAD_SECONDS * RATE_HZ), []
    for pcm in spoken:
      sound = room.resample(pcm, speech.SAMPLE_RATE_HZ, scale)
      if self.manner == WHISPER:
        sound = whispered(sound, rng)
      if self.manner == FAR:
        sound = in_a_hall(sound, rng)
      words.append((at, sound))
      at += len(sound) + round(float(rng.uniform(*_PAUSE_SECONDS)) * RATE_HZ)
    length = words[-1][0] + len(words[-1][1]) + round(TRAIL_SECONDS * RATE_HZ)
    if self.fast:
      length = fft.next_fast_len(length, real=True)
    return _MICROPHONES[self.manner].record_long(words, length, rng)

  def _draws(self, use: int) -> np.random.Generator:
    names = "|".join((self.voice, self.manner, *self.texts))
    return np.random.default_rng([self.seed, zlib.crc32(names.encode()), use])


def spoken(plans: Sequence[Plan]) -> Iterator[NDArray[np.int16]]:
  """Makes the planned streams; espeak-ng speaks while others are recorded.

  Yields:
    For each plan int16 [n] at 16 kHz.

  Raises:
    TflmFgError: if espeakng-loader is missing or refuses a voice.
  """
  asked = [plan.utterances() for plan in plans]
  sounds = speech.synthesize([u for group in asked for u in group])
  for plan, group in zip(plans, asked):
    yield plan.record([next(sounds) for _ in group])


def whispered(
  sound: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
  """The same speech without a voice: noise with its short spectra.

  Windows of 8 ms tell vowels apart and no tones of the voice.

  Args:
    sound: float64 [n] at 16 kHz.
    rng: draws the noise.
  """
  if not len(sound):
    return sound
  window = {"nperseg": 128, "noverlap": 96}
  _, _, spectra = signal.stft(sound, RATE_HZ, **window)
  _, _, noise = signal.stft(rng.standard_normal(len(sound)), RATE_HZ, **window)
  _, out = signal.istft(np.abs(spectra) * noise, RATE_HZ, **window)
  return np.asarray(signal.lfilter([1, -0.7], [1], out[: len(sound)]))


def in_a_hall(
  sound: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
  """Speech from across a room: the direct sound, and echoes that die away.

  Args:
    sound: float64 [n] at 16 kHz.
    rng: draws the echoes, and the half second or so that they last.
  """
  length = round(float(rng.uniform(0.25, 0.6)) * RATE_HZ)
  echoes = rng.standard_normal(length) * np.exp(
    -6.9 * np.arange(length) / length
  )
  echoes *= float(rng.uniform(0.5, 1.2)) / np.sqrt((echoes**2).sum())
  echoes[0] += 1.0
  return np.asarray(signal.fftconvolve(sound, echoes))
