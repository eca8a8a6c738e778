"""Record speech by a simulated microphone in a noisy room, as int16 clips."""

from __future__ import annotations

import dataclasses
import fractions
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import signal

SAMPLE_RATE_HZ = 16_000
CLIP_SAMPLES = 16_000

_NOISE_COLOURS = (0.0, 0.5, 1.0)  # White, pink, brown: amplitude ~ f**-colour.
_FULL_SCALE = 32767.0
_MAX_SHIFT = SAMPLE_RATE_HZ // 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Microphone:
  """What a microphone and its room do to speech; ranges are drawn per clip.

  Attributes:
    low_hz: Lower edge of its band.
    high_hz: Upper edge of its band.
    order: Steepness of both edges: 6 dB an octave each.
    level_db: Range of the speech's RMS level, in dB of full scale.
    snr_db: Range of the ratio of speech to background noise.
    overdrive_db: Range of the gain in front of the clipping stage; 0 or less
      leaves the peaks alone.
  """

  low_hz: float = 60.0
  high_hz: float = 7600.0
  order: int = 2
  level_db: tuple[float, float] = (-32.0, -16.0)
  snr_db: tuple[float, float] = (8.0, 40.0)
  overdrive_db: tuple[float, float] = (0.0, 0.0)

  def record(
    self,
    speech: NDArray[np.float64] | None,
    rng: np.random.Generator,
  ) -> NDArray[np.int16]:
    """Records one clip.

    Args:
      speech: float64 [n] at SAMPLE_RATE_HZ in any unit, or None for a clip
        without speech.
      rng: Draws level, noise, shift and overdrive.

    Returns:
      int16 [CLIP_SAMPLES].
    """
    level = _amplitude(rng.uniform(*self.level_db))
    noise_level = level / _amplitude(rng.uniform(*self.snr_db))
    clip = _noise(rng, CLIP_SAMPLES) * noise_level
    if speech is not None:
      clip += _normalised(_placed(speech, rng)) * level
    return self._heard(clip, rng)

  def record_long(
    self,
    words: Sequence[tuple[int, NDArray[np.float64]]],
    samples: int,
    rng: np.random.Generator,
  ) -> NDArray[np.int16]:
    """Records for longer: one voice, one room, one noise.

    Args:
      words: where each word starts, and its samples in any unit.
      samples: length of the recording.
      rng: draws levels, noise and overdrive.

    Returns:
      int16 [samples].
    """
    usual_db = rng.uniform(*self.level_db)
    sound = _noise(rng, samples)
    sound *= _amplitude(usual_db - rng.uniform(*self.snr_db))
    for start, word in words:
      level = _amplitude(usual_db + rng.uniform(-3, 3))
      # As loud as in a clip of one second, whose RMS counts the pauses too.
      loud = _normalised(word) * level * np.sqrt(CLIP_SAMPLES / len(word))
      part = sound[start : start + len(word)]
      part += loud[: len(part)]
    return self._heard(sound, rng)

  def _heard(
    self, sound: NDArray[np.float64], rng: np.random.Generator
  ) -> NDArray[np.int16]:
    """What the membrane and the converter make of a sound."""
    response = _band(self.low_hz, self.high_hz, self.order, len(sound))
    sound = np.fft.irfft(np.fft.rfft(sound) * response, len(sound))
    ceiling = np.abs(sound).max() / _amplitude(rng.uniform(*self.overdrive_db))
    sound = np.clip(sound, -ceiling, ceiling)
    return np.clip(np.rint(sound * _FULL_SCALE), -32768, 32767).astype(np.int16)


def resample(
  pcm: bytes, rate_hz: int, formant_scale: float = 1.0
) -> NDArray[np.float64]:
  """Brings PCM to SAMPLE_RATE_HZ and moves its frequencies up.

  Args:
    pcm: Mono int16, little-endian.
    rate_hz: Its sampling rate.
    formant_scale: Factor on all frequencies; the duration shrinks by it too.

  Returns:
    float64 [n], full scale at 1.
  """
  samples = np.frombuffer(pcm, "<i2") / _FULL_SCALE
  ratio = fractions.Fraction(SAMPLE_RATE_HZ / (rate_hz * formant_scale))
  ratio = ratio.limit_denominator(441)  # 22050 to 16000 Hz is 320 to 441.
  up, down = ratio.numerator, ratio.denominator
  resampled: NDArray[np.float64] = signal.resample_poly(
    samples, up, down, window=_low_pass(up, down)
  )
  return resampled


@functools.cache
def _low_pass(up: int, down: int) -> NDArray[np.float64]:
  # Designing the filter takes ten times as long as applying it once.
  widest = max(up, down)
  taps: NDArray[np.float64] = signal.firwin(
    20 * widest + 1, 1 / widest, window=("kaiser", 5.0)
  )
  return taps


def _frequencies(samples: int) -> NDArray[np.float64]:
  rates = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
  return np.asarray(rates, np.float64)


@functools.lru_cache(maxsize=4)
def _band(
  low_hz: float, high_hz: float, order: int, samples: int
) -> NDArray[np.float64]:
  ratio = np.maximum(_frequencies(samples), 1.0)
  high_pass = 1 / np.sqrt(1 + (low_hz / ratio) ** (2 * order))
  low_pass = 1 / np.sqrt(1 + (ratio / high_hz) ** (2 * order))
  return np.asarray(high_pass * low_pass, np.float64)


@functools.lru_cache(maxsize=4)
def _colour(exponent: float, samples: int) -> NDArray[np.float64]:
  return np.asarray(np.maximum(_frequencies(samples), 20.0) ** -exponent)


def _noise(rng: np.random.Generator, samples: int) -> NDArray[np.float64]:
  """Draws coloured noise of RMS 1 with a slow swell."""
  exponent = _NOISE_COLOURS[rng.integers(len(_NOISE_COLOURS))]
  white = rng.standard_normal(samples)
  noise = np.fft.irfft(np.fft.rfft(white) * _colour(exponent, samples), samples)
  swell_hz, phase = rng.uniform(0.2, 2.0), rng.uniform(0, 2 * np.pi)
  seconds = np.arange(samples) / SAMPLE_RATE_HZ
  swell = 1 + 0.5 * np.sin(2 * np.pi * swell_hz * seconds + phase)
  return _normalised(noise * swell)


def _placed(
  speech: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
  """Puts the centre of the energy near the middle of a clip, 0.1 s about."""
  energy = np.cumsum(speech**2)
  centre = int(np.searchsorted(energy, energy[-1] / 2)) if energy.size else 0
  shift = int(rng.integers(-_MAX_SHIFT, _MAX_SHIFT + 1))
  start = CLIP_SAMPLES // 2 + shift - centre
  clip = np.zeros(CLIP_SAMPLES)
  head = max(0, -start)
  part = speech[head : head + CLIP_SAMPLES - max(0, start)]
  clip[max(0, start) : max(0, start) + part.size] = part
  return clip


def _normalised(samples: NDArray[np.float64]) -> NDArray[np.float64]:
  """Scales to an RMS of 1; silence stays silence."""
  rms = float(np.sqrt(np.mean(samples**2)))
  return samples / rms if rms > 0 else samples


def _amplitude(decibel: float) -> float:
  return float(10 ** (decibel / 20))
