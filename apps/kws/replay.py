"""The old clips that a model trains on again, so that it does not forget."""

from __future__ import annotations

import os

from apps.kws import features_file
from apps.kws.features_file import Kept
from apps.kws.spotter import Spotter

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
  return features_file.load(path, spotter)
