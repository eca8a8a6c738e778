"""Read sound files of any kind as int16 mono at 16 kHz."""

from __future__ import annotations

import fractions
import io

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import decoding, room
from apps.kws.audio.decoding import UnreadSound
from tflm_fg import files

SAMPLE_RATE_HZ = room.SAMPLE_RATE_HZ
SUFFIXES = (*decoding.SUFFIXES, *decoding.PHONE_SUFFIXES)

LONG_SECONDS = 2.0
"""A file this long is searched for several utterances."""

_FULL_SCALE = 32768.0

_LARGEST_DENOMINATOR = 16_000
"""Of the ratio of two rates: it is off by 1 in 30,000 at most."""

_FRAME = SAMPLE_RATE_HZ // 50
_PAUSE_SECONDS = 0.26  # inside a word
_SHORTEST_FRAMES = 4
_SILENT_SPAN = 8  # of 65536: under -78 dB of full scale


def read(path: str) -> NDArray[np.int16]:
  """Reads a sound file of any rate, width and count of channels.

  Args:
    path: what libsndfile reads (WAV, FLAC, OGG, Opus, MP3), and with the extra
      `audio` what FFmpeg does (M4A, 3GP, AAC, AMR and others).

  Returns:
    int16 [n] at 16 kHz: the mean of the channels. A 16-bit mono file at
    16 kHz comes back as it is.

  Raises:
    UnreadSound: if it is no sound file, or holds no sound.
    TflmFgError: if there is no such file.
  """
  mono, rate_hz = decoding.decode(path)
  if not len(mono):
    raise UnreadSound(path, "holds no sound", "record it again")
  if not np.all(np.isfinite(mono)):
    raise UnreadSound(path, "holds NaN or infinity", "record it again")
  if rate_hz != SAMPLE_RATE_HZ:
    mono = resample(mono, rate_hz, path)
  return to_int16(mono)


def resample(
  samples: NDArray[np.float64], rate_hz: int, name: str = "sound"
) -> NDArray[np.float64]:
  """Brings samples to 16 kHz.

  Args:
    samples: float64 [n].
    rate_hz: their rate.
    name: what to call them in errors.

  Raises:
    UnreadSound: if the rate is no rate of speech.
  """
  if not 4_000 <= rate_hz <= 384_000:
    raise UnreadSound(
      name, f"{rate_hz} samples a second", "need 4000 to 384000"
    )
  from scipy import signal

  # The filter is as long as the larger of both: 383987 Hz would take 8 million
  # numbers. Of usual rates the ratio is exact.
  ratio = fractions.Fraction(SAMPLE_RATE_HZ, rate_hz)
  ratio = ratio.limit_denominator(_LARGEST_DENOMINATOR)
  return np.asarray(
    signal.resample_poly(samples, ratio.numerator, ratio.denominator)
  )


def to_int16(samples: NDArray[np.float64]) -> NDArray[np.int16]:
  """Rounds samples, full scale at 1, and saturates them."""
  wide = np.rint(np.asarray(samples) * _FULL_SCALE)
  return np.clip(wide, -32768, 32767).astype(np.int16)


def write(path: str, samples: NDArray[np.int16]) -> None:
  """Writes a 16-bit mono WAV at 16 kHz, whole or not at all."""
  files.write_atomically(path, to_wav(samples))


def to_wav(samples: NDArray[np.int16]) -> bytes:
  """The bytes of a 16-bit mono WAV at 16 kHz."""
  held = io.BytesIO()
  decoding.soundfile().write(
    held, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16"
  )
  return held.getvalue()


def one_clip(samples: NDArray[np.int16], length: int) -> NDArray[np.int16]:
  """Pads or cuts to a length, with the loudest part in the middle.

  Args:
    samples: int16 [n].
    length: samples of a clip; a clip of just that length stays as it is.
  """
  if len(samples) == length:
    return samples
  energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
  if len(samples) > length:
    inside = energy[length:] - energy[:-length]
    middle = int(np.argmax(inside)) + length // 2
    around = slice(max(0, middle - length // 2), middle + length // 2)
    energy = energy[around] - energy[around.start]
    centre = around.start + int(np.searchsorted(energy, energy[-1] / 2))
    start = min(max(0, centre - length // 2), len(samples) - length)
    return samples[start : start + length]
  centre = int(np.searchsorted(energy, energy[-1] / 2))
  start = min(max(0, length // 2 - centre), length - len(samples))
  clip = np.zeros(length, np.int16)
  clip[start : start + len(samples)] = samples
  return clip


def clips_of(
  samples: NDArray[np.int16], length: int
) -> list[NDArray[np.int16]]:
  """Cuts a recording into clips: one, or one an utterance if it is long.

  Args:
    samples: int16 [n].
    length: samples of a clip.

  Returns:
    At least one clip, int16 [length] each.
  """
  if len(samples) < LONG_SECONDS * SAMPLE_RATE_HZ:
    return [one_clip(samples, length)]
  found = utterances(samples)
  if not found:
    return [one_clip(samples, length)]
  return [_around(samples, start, end, length) for start, end in found]


def utterances(
  samples: NDArray[np.int16], pause_seconds: float = _PAUSE_SECONDS
) -> list[tuple[int, int]]:
  """Starts and ends of what stands out of the background.

  Args:
    samples: int16 [n].
    pause_seconds: a pause up to this long stays inside an utterance.

  Returns:
    First sample, and the one behind the last, of each; none where noise or
    speech goes on throughout.
  """
  frames = len(samples) // _FRAME
  shaped = samples[: frames * _FRAME].astype(np.float64).reshape(frames, -1)
  level_db = 10 * np.log10((shaped**2).mean(axis=1) + 1.0)
  floor, peak = np.percentile(level_db, 20), level_db.max()
  if peak - floor < 6:  # noise throughout, or speech throughout
    return []
  loud = np.flatnonzero(level_db > floor + 0.5 * (peak - floor))
  gap = round(pause_seconds * SAMPLE_RATE_HZ / _FRAME)
  breaks = np.flatnonzero(np.diff(loud) > gap)
  starts = loud[np.concatenate([[0], breaks + 1])]
  ends = loud[np.concatenate([breaks, [len(loud) - 1]])] + 1
  return [
    (int(start) * _FRAME, int(end) * _FRAME)
    for start, end in zip(starts, ends)
    if end - start >= _SHORTEST_FRAMES
  ]


def _around(
  samples: NDArray[np.int16], start: int, end: int, length: int
) -> NDArray[np.int16]:
  """A clip with an utterance in its middle; zeros beyond the recording."""
  first = (start + end) // 2 - length // 2
  clip = np.zeros(length, np.int16)
  held = samples[max(0, first) : first + length]
  at = max(0, -first)
  clip[at : at + len(held)] = held
  return clip


def is_sound(name: str) -> bool:
  """Whether a file's name says that it is sound; hidden files never are."""
  return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def is_silent(clip: NDArray[np.int16]) -> bool:
  """Whether a clip holds nothing but the last bits of a muted microphone."""
  return int(clip.max()) - int(clip.min()) <= _SILENT_SPAN
