"""Read the sound that a wake word model is to be played."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from apps.kws.audio import files as audio
from apps.wake.data import recordings
from apps.wake.data.recordings import NEGATIVE_SECONDS, Recordings
from apps.wake.data.speaking import LEAD_SECONDS
from tflm_fg.types import TflmFgError


class Sound(NamedTuple):
  """What a model is played.

  Attributes:
    name: of the sound.
    samples: int16 [n] at 16 kHz; or int8 [frames, 40].
    lead_seconds: how much of it stands in front of the sound itself.
  """

  name: str
  samples: NDArray[Any]
  lead_seconds: float = LEAD_SECONDS


_PART = re.compile(r"(.*\.\w+) #(\d+)")
"""The name of a part of a long file."""


def positives(path: str, strict: bool) -> tuple[list[Sound], list[str]]:
  """Reads recordings of the wake word; see `recordings.positives`.

  Returns:
    The sounds, and what a user should know of them.
  """
  found = recordings.positives(path, strict=strict)
  named = zip(found.names, found.sounds)
  return [Sound(name, samples) for name, samples in named], _notes(found)


def negatives(path: str, strict: bool) -> tuple[list[Sound], list[str]]:
  """Reads sound without the wake word; see `recordings.negatives`.

  Long files come in parts, each with the name of the file; times in a part are
  those in the file.
  """
  found = recordings.negatives(path, strict=strict)
  sounds = []
  for name, samples in zip(found.names, found.sounds):
    lead = LEAD_SECONDS
    if part := _PART.fullmatch(name):
      name = part[1]
      lead -= (int(part[2]) - 1) * NEGATIVE_SECONDS
    sounds.append(Sound(name, samples, lead))
  return sounds, _notes(found)


def whole(path: str) -> Sound:
  """Reads one sound file as it is, behind noise of its own background.

  Raises:
    TflmFgError: if it is none.
  """
  samples = audio.read(path)
  return Sound(
    path, recordings.with_surroundings(samples, samples, trail=False)
  )


def _notes(found: Recordings) -> list[str]:
  return [*found.notes, *found.doubts]


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
