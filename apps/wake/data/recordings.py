"""Read a user's recordings as streams, with what a device hears before them.

A model that keeps state judges a word by what it heard before. A recording that
begins with the word would be judged by an empty state, as no device ever is. So
each stream begins with a second and a half of noise like that in the quietest
parts of the recording, and ends with some of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import checked_clips, files
from apps.wake.data.speaking import LEAD_SECONDS, TRAIL_SECONDS
from tflm_fg.samples import counted
from tflm_fg.types import TflmFgError

RATE_HZ = files.SAMPLE_RATE_HZ

PAUSE_SECONDS = 0.8
"""A longer pause parts two utterances; a shorter one may be inside a phrase."""

NEGATIVE_SECONDS = 60
"""Long sound is cut into streams of so much, to keep some of them aside."""

_LEAST_SECONDS, _MOST_SECONDS = 0.2, 5.0  # of a wake word, said once
_FULL, _CLIPPED_SHARE = 32_760, 0.001
_FRAME = RATE_HZ // 50
_QUIET_SHARE = 0.2
_BELOW_PEAK = 0.1  # speech throughout: noise 20 dB under the loudest part
_LEAST_NOISE = 1.0  # of 32768: no microphone gives zeros
_FADE = RATE_HZ // 100


@dataclasses.dataclass(frozen=True)
class Recordings:
  """Streams of sound, and what was found in their files.

  Attributes:
    sounds: int16 [n] at 16 kHz, each after `LEAD_SECONDS` that come before it.
    names: the file of each, with the number of the part where it has several.
    seconds: of sound without what was put before and behind it, in all.
    notes: what a user should know: recordings that were cut.
    doubts: what is wrong: unread, silent, clipped or too long recordings.
  """

  sounds: list[NDArray[np.int16]] = dataclasses.field(repr=False)
  names: list[str]
  seconds: float
  notes: tuple[str, ...] = ()
  doubts: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.sounds)


def positives(path: str, *, strict: bool = False) -> Recordings:
  """Reads recordings of the wake word, each of which becomes one stream.

  A recording with pauses of more than `PAUSE_SECONDS` is cut in their middles.

  Args:
    path: a folder, with folders in it, or a sound file.
    strict: whether a recording that cannot be read stops it all.

  Raises:
    TflmFgError: if there is none, or none can be used.
  """
  found = checked_clips.Findings(path, strict=strict)
  clipped, long, cut, faint = [], [], [], 0
  sounds, names, seconds = [], [], 0.0
  for file, sound in _read(path, found):
    parts = _parted(sound)
    kept = [(n, p) for n, p in enumerate(parts, 1) if p is not None]
    faint += len(parts) - len(kept)
    if len(kept) > 1:
      cut.append(f"{_short(file)} ({len(kept)})")
    for number, part in kept:
      name = _short(file) + (f" #{number}" if len(parts) > 1 else "")
      if not _is_new(part, found, file):
        continue
      if _is_clipped(part):
        clipped.append(name)
      if len(part) > _MOST_SECONDS * RATE_HZ:
        long.append(f"{name} ({len(part) / RATE_HZ:.0f} s)")
      sounds.append(with_surroundings(part, sound))
      names.append(name)
      seconds += len(part) / RATE_HZ
  found.require_some()
  notes = [*found.remarks()]
  if cut:
    notes.append(
      f"{path}: {counted(len(cut), 'recording')} with pauses of more than "
      f"{PAUSE_SECONDS:g} s were cut, so that each part holds the wake word "
      f"once: {_some(cut)}"
    )
  if faint:
    notes.append(
      f"{path}: {counted(faint, 'part')} shorter than {_LEAST_SECONDS:g} s "
      "between pauses were left out, as no wake word is so short"
    )
  doubts = [*found.doubts(), *_doubts_of(path, clipped)]
  if long:
    doubts.append(
      f"{path}: longer than {_MOST_SECONDS:g} s without a pause, and a wake "
      f"word is said once in a recording: {_some(long)}"
    )
  return Recordings(sounds, names, seconds, tuple(notes), tuple(doubts))


def negatives(path: str, *, strict: bool = False) -> Recordings:
  """Reads sound in which nobody says the wake word.

  Long sound is cut into streams of a minute. What comes before a cut is put
  before the stream, so that every part of the sound is judged once.

  Args:
    path: a folder, with folders in it, or a sound file of any length.
    strict: whether a recording that cannot be read stops it all.

  Raises:
    TflmFgError: if there is none, or none can be used.
  """
  found = checked_clips.Findings(path, strict=strict)
  sounds, names, seconds, clipped = [], [], 0.0, []
  step, lead = NEGATIVE_SECONDS * RATE_HZ, round(LEAD_SECONDS * RATE_HZ)
  for file, sound in _read(path, found):
    if not _is_new(sound, found, file):
      continue
    if _is_clipped(sound):
      clipped.append(_short(file))
    seconds += len(sound) / RATE_HZ
    whole = with_surroundings(sound, sound, trail=False)
    parts = max(1, round(len(sound) / step))
    for number in range(parts):
      start = number * step
      end = len(whole) if number == parts - 1 else start + step + lead
      sounds.append(whole[start:end])
      names.append(_short(file) + (f" #{number + 1}" if parts > 1 else ""))
  found.require_some()
  doubts = (*found.doubts(), *_doubts_of(path, clipped))
  return Recordings(sounds, names, seconds, found.remarks(), doubts)


def with_surroundings(
  sound: NDArray[np.int16], of: NDArray[np.int16], *, trail: bool = True
) -> NDArray[np.int16]:
  """Puts noise before a sound, and behind it.

  Args:
    sound: int16 [n] at 16 kHz.
    of: the recording whose quietest parts say what the noise is like.
    trail: whether some follows.

  Returns:
    int16: `LEAD_SECONDS` of noise, the sound, `TRAIL_SECONDS` of noise. The
    same sound gives the same noise.
  """
  rng = np.random.default_rng(zlib.crc32(sound.tobytes()))
  lead = round(LEAD_SECONDS * RATE_HZ)
  rest = round(TRAIL_SECONDS * RATE_HZ) if trail else 0
  noise = _noise_like(of, lead + rest + 2 * _FADE, rng)
  whole = np.concatenate([noise[:lead], sound, noise[lead : lead + rest]])
  up = (np.arange(_FADE) + 0.5) / _FADE
  start, end = slice(lead, lead + _FADE), slice(-rest - _FADE, -rest or None)
  if len(sound) > 2 * _FADE:
    whole[start] = up * whole[start] + (1 - up) * noise[-_FADE:]
    if rest:
      whole[end] = up[::-1] * whole[end] + (1 - up[::-1]) * noise[:_FADE]
  return files.to_int16(whole / 32768)


def _noise_like(
  sound: NDArray[np.int16], length: int, rng: np.random.Generator
) -> NDArray[np.float64]:
  """Noise with the mean spectrum of the quietest frames of a sound."""
  frames = len(sound) // _FRAME
  if frames < 2:
    return rng.standard_normal(length) * _LEAST_NOISE
  shaped = sound[: frames * _FRAME].astype(np.float64).reshape(frames, _FRAME)
  level = np.sqrt((shaped**2).mean(axis=1))
  count = max(2, round(frames * _QUIET_SHARE))
  quiet = shaped[np.argsort(level, kind="stable")[:count]]
  if float(np.sqrt((quiet**2).mean())) < _LEAST_NOISE:  # a recorder's zeros
    return rng.standard_normal(length) * _LEAST_NOISE
  window = np.sqrt(np.hanning(2 * (_FRAME // 2) + 1)[:-1])
  power = (np.abs(np.fft.rfft(quiet * window)) ** 2).mean(axis=0)
  power[0] = 0.0
  half = _FRAME // 2
  parts_needed = length // half + 2
  white = np.fft.rfft(rng.standard_normal((parts_needed, _FRAME)))
  parts = np.fft.irfft(white * np.sqrt(power), _FRAME) * window
  noise = np.zeros((parts_needed + 1) * half)
  for number, part in enumerate(parts):
    noise[number * half : number * half + _FRAME] += part
  noise = noise[half : half + length]
  floor = float(np.sqrt((quiet**2).mean()))
  wanted = max(_LEAST_NOISE, min(floor, _BELOW_PEAK * float(level.max())))
  own = float(np.sqrt((noise**2).mean()))
  return noise * (wanted / own) if own > 0 else noise


def _parted(sound: NDArray[np.int16]) -> list[NDArray[np.int16] | None]:
  """A recording's utterances, cut in the middle of the pauses.

  Returns:
    The sound itself if it holds one; None for what is too short for a word.
  """
  found = files.utterances(sound, PAUSE_SECONDS)
  if len(found) < 2:
    return [sound]
  least = _LEAST_SECONDS * RATE_HZ
  middles = [(a[1] + b[0]) // 2 for a, b in itertools.pairwise(found)]
  edges = [0, *middles, len(sound)]
  return [
    sound[first:last] if end - start >= least else None
    for first, last, (start, end) in zip(edges, edges[1:], found)
  ]


def _read(
  path: str, found: checked_clips.Findings
) -> Iterator[tuple[str, NDArray[np.int16]]]:
  """The recordings that can be read and hold sound."""
  for file in _listed(path):
    sound = checked_clips.read(file, found)
    if sound is None:
      continue
    if files.is_silent(sound):
      found.silent.append(file)
      continue
    yield file, sound


def _listed(path: str) -> list[str]:
  """The sound files of a folder and of those in it, or the file itself."""
  if not os.path.exists(path):
    raise TflmFgError(
      f"{path}: no such file or folder; need recordings, such as {path}/1.wav"
    )
  if not os.path.isdir(path):
    return [path]
  listed = []
  for folder, inner, names in os.walk(path):
    inner[:] = sorted(name for name in inner if not name.startswith("."))
    listed += [
      os.path.join(folder, n) for n in sorted(names) if files.is_sound(n)
    ]
  if not listed:
    raise TflmFgError(
      f"{path}: holds no recordings; need sound files, such as {path}/1.wav"
    )
  return listed


def _is_new(
  sound: NDArray[np.int16], found: checked_clips.Findings, file: str
) -> bool:
  """Whether a sound has not been read before; keeps it in mind."""
  digest = hashlib.blake2b(sound.tobytes(), digest_size=16).digest()
  if digest in found.digests:
    found.copies.append(file)
    return False
  found.digests.append(digest)
  return True


def _is_clipped(sound: NDArray[np.int16]) -> bool:
  full = np.abs(sound.astype(np.int32)) >= _FULL
  return bool(full.mean() >= _CLIPPED_SHARE)


def _doubts_of(path: str, clipped: list[str]) -> list[str]:
  if not clipped:
    return []
  return [
    f"{path}: {counted(len(clipped), 'recording')} too loud for the "
    "microphone, so that the sound is cut off; speak softer or turn the gain "
    f"down: {_some(clipped)}"
  ]


def _short(path: str) -> str:
  return os.path.basename(path)


def _some(names: list[str], most: int = 3) -> str:
  more = len(names) - most
  shown = ", ".join(names[:most])
  return f"{shown} and {more} more" if more > 0 else shown
