"""Keep samples that take long to make in files, and read them the next time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import numpy as np

from apps.compare.data.sampling import Part
from tflm_fg import files
from tflm_fg.samples import load_npz
from tflm_fg.types import TflmFgError


def cached(folder: str | None, key: str, make: Callable[[], Part]) -> Part:
  """Reads FOLDER/KEY.npz, or makes it.

  A file that cannot be read, from a disk that was full or another program, is
  made again. Several processes may make one file at once: each writes it
  whole.

  Args:
    folder: made where it is missing; None keeps nothing.
    key: a file's name, which names everything that the samples depend on.
    make: makes the samples and their classes.

  Raises:
    TflmFgError: if the folder cannot be written.
  """
  if folder is None:
    return make()
  path = os.path.join(folder, f"{key}.npz")
  try:
    held = load_npz(path)
  except TflmFgError:
    held = None
  if held is not None and held.y is not None:
    return held.x, held.y
  x, y = make()
  files.make_folder(folder)
  content = io.BytesIO()
  np.savez_compressed(content, x=x, y=y)
  files.write_atomically(path, content.getvalue())
  return x, y
