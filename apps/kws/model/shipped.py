"""The shipped keyword spotter, and the voices that it has never heard."""

from __future__ import annotations

import importlib.resources

from tflm_fg import files
from tflm_fg.types import Array, TflmFgError

TARGETS = ("whisper", "child", "hungarian")
TITLES = {
  "whisper": "a whisper through a cheap microphone",
  "child": "a child-like voice",
  "hungarian": "a Hungarian voice reading English",
}


MODEL = "ds_cnn.tflite"
ABOUT = "ds_cnn.json"
"""Beside the model: its classes and its front end."""


def shipped_path() -> str:
  """Where the int8 DS-CNN that `tflm-fg-kws train` made lies."""
  return str(importlib.resources.files("apps.kws").joinpath(MODEL))


def shipped_model() -> bytes:
  """The int8 DS-CNN that `tflm-fg-kws train` made."""
  return files.read_bytes(shipped_path())


def clips_of(
  name: str, clips_per_word: int, test_clips_per_word: int, seed: int
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
  """Clips of a voice to adapt to, and others of it to score on; (x, y) each."""
  try:
    from apps.kws.synthetic import features as dataset
  except ModuleNotFoundError as fault:
    raise TflmFgError(
      f"voices need: pip install 'tflm-fg[kws]' ({fault})"
    ) from None
  return (
    dataset.make(name, "adapt", clips_per_word, seed),
    dataset.make(name, "test", test_clips_per_word, seed),
  )
