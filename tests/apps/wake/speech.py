"""Recordings of a wake word, and a published model, for tests of programs."""

import functools
import pathlib
import shutil

import pytest

from apps.kws.audio import files
from apps.wake import example
from apps.wake.example import Speaker

WORD = "hey_jarvis"


def require():
  """Skips a test where the extra `wake` is not installed."""
  pytest.importorskip("pymicro_wakeword", reason="needs the extra wake")
  pytest.importorskip("espeakng_loader", reason="needs the extra wake")


def models_folder():
  import pymicro_wakeword

  return pathlib.Path(pymicro_wakeword.__file__).parent / "models"


@functools.cache
def sounds():
  """Two recordings that the model hears, and two that it does not."""
  heard = example.recordings([Speaker("", "en-us+f4")], "Hey Jarvis", 2, 0, 0)
  missed = example.recordings([Speaker("", "de+f2")], "Hey Jarvis", 3, 0, 0)
  return heard, missed


@functools.cache
def more():
  """One more recording that the model hears."""
  return example.recordings([Speaker("", "en-us+f4")], "Hey Jarvis", 1, 1, 0)


def write(path, sound):
  """A recording as a user has it, without what is played in front of it."""
  first = round(sound.lead_seconds * 16_000) - 4_000
  files.write(str(path), sound.samples[first:])


def write_folder(folder, names=(WORD,)):
  """A model with its manifest, and recordings: a folder as a user has it."""
  for name in names:
    for suffix in (".tflite", ".json"):
      shutil.copy(models_folder() / f"{name}{suffix}", folder)
  for kind, group in zip(("family", "mine"), sounds()):
    (folder / kind).mkdir()
    for number, sound in enumerate(group):
      write(folder / kind / f"{number}.wav", sound)
