"""The old clips that a model trains on again, so that it does not forget."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from apps.kws.model import saved_clips
from apps.kws.model.saved_clips import Kept
from apps.kws.model.spotter import Spotter

NONE = "none"


def beside(model: str) -> str:
  """Where a model's replay set lies, if it has one."""
  return os.path.splitext(model)[0] + ".replay.npz"


def find(path: str | None, spotter: Spotter) -> Kept | None:
  """Loads the replay set that was named, or the one beside the model.

  Args:
    path: a file; None takes the one beside the model where there is one;
      "none" takes none.
    spotter: the model.

  Raises:
    TflmFgError: if the file does not fit the model.
  """
  if path == NONE:
    return None
  if path is None:
    path = beside(spotter.name)
    if not os.path.isfile(path):
      return None
  return saved_clips.load(path, spotter)


def packed(
  spotter: Spotter, old: Kept | None, new: Kept, kilobytes: int
) -> bytes:
  """The set for the next time: old clips and the new, classes in turn.

  Args:
    spotter: the model that it shall lie beside.
    old: what was replayed.
    new: what is trained on.
    kilobytes: size of the file, of --replay_kb.

  Returns:
    The file.

  Raises:
    TflmFgError: if so few bytes do not hold a clip of each class.
  """
  x, y = new.x, new.y
  if old is not None:
    if old.layer != new.layer:
      old = saved_clips.of(spotter, old.x, old.y, new.layer)
    x, y = np.concatenate([old.x, x]), np.concatenate([old.y, y])
  both = dataclasses.replace(new, x=x, y=y, classes=spotter.classes)
  return saved_clips.packed(both, "replay_kb", kilobytes).to_bytes()
