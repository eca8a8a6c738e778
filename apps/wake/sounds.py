"""Read sound that a wake word model is to be played: files and folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import checked_clips, decoding
from apps.kws.audio import files as audio
from apps.wake.detector import Detector
from tflm_fg.types import TflmFgError

LEAD_SECONDS = 1.5
"""Of noise before a recording: longer than a model's memory."""

_FRAME = audio.SAMPLE_RATE_HZ // 50


class Sound(NamedTuple):
  """What a model is played.

  Attributes:
    name: of the sound.
    samples: int16 [n] at 16 kHz; or int8 [frames, 40].
    lead_seconds: how much of it stands in front of the recording itself.
  """

  name: str
  samples: NDArray[Any]
  lead_seconds: float = 0.0


def read(
  path: str, found: Detector, strict: bool = False
) -> tuple[list[Sound], list[str]]:
  """Reads a sound file, or all of a folder and what is below it.

  Args:
    path: of the file or folder.
    found: the model that is to be played them.
    strict: refuse a recording that cannot be read, which else is passed over.

  Returns:
    The sounds, each with noise of its own background in front, as a device has
    heard the room before somebody speaks; and what a user should know.

  Raises:
    TflmFgError: if nothing can be read.
  """
  del found
  findings = checked_clips.Findings(path, strict=strict)
  sounds = []
  for name in _files(path):
    try:
      samples = audio.read(name)
    except decoding.UnreadSound as fault:
      if strict or os.path.isfile(path):
        raise
      findings.unread.append(fault)
      continue
    if audio.is_silent(samples):
      findings.silent.append(name)
      continue
    sounds.append(Sound(name, _with_lead(samples), LEAD_SECONDS))
  notes = list(findings.doubts())
  if not sounds:
    raise TflmFgError(
      f"{path}: holds no sound that can be used"
      + "".join(f"; {note}" for note in notes)
    )
  return sounds, notes


def _with_lead(samples: NDArray[np.int16]) -> NDArray[np.int16]:
  """A recording behind noise that is as loud as its quietest parts."""
  frames = len(samples) // _FRAME
  floor = 1.0
  if frames:
    shaped = samples[: frames * _FRAME].astype(np.float64).reshape(frames, -1)
    floor += float(np.sqrt(np.percentile((shaped**2).mean(axis=1), 5)))
  length = round(LEAD_SECONDS * audio.SAMPLE_RATE_HZ)
  noise = np.random.default_rng(0).normal(0, floor, length)
  return np.concatenate([np.rint(noise).astype(np.int16), samples])


def _files(path: str) -> list[str]:
  """A file, or the sound files of a folder and of what is below it."""
  if os.path.isfile(path):
    return [path]
  if not os.path.isdir(path):
    raise TflmFgError(f"{path}: no such file or folder")
  found = sorted(
    os.path.join(folder, name)
    for folder, _, names in os.walk(path)
    for name in names
    if audio.is_sound(name)
  )
  if not found:
    raise TflmFgError(
      f"{path}: holds no recordings; need sound files, such as {path}/1.wav"
    )
  return found


def require_apart(folders: Mapping[str, str | None]) -> None:
  """Refuses a folder that two flags name.

  Raises:
    TflmFgError: naming both flags.
  """
  taken: dict[str, str] = {}
  for flag, path in folders.items():
    if path is None:
      continue
    real = os.path.realpath(path)
    other = taken.setdefault(real, flag)
    if other != flag:
      raise TflmFgError(
        f"{path}: named by --{other} and by --{flag}; each needs sound of its "
        "own"
      )
