"""Find what a file calls its classes."""

from __future__ import annotations

import io
import zipfile

from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import read_mark


def class_names(model: ModelFile, classes: int) -> tuple[str, ...]:
  """What a file calls its classes; their numbers where it does not say.

  The names are in the mark, or in a list of labels that the TensorFlow Lite
  metadata tools have packed behind the model.

  Args:
    model: the file, marked or not.
    classes: how many it has.

  Returns:
    As many names.
  """
  mark = read_mark(model)
  for names in (mark and mark.classes, _packed_labels(model)):
    if names and len(names) == classes:
      return tuple(names)
  return tuple(str(label) for label in range(classes))


def _packed_labels(model: ModelFile) -> list[str] | None:
  """The lines of the one text file in the archive behind a model."""
  try:
    with zipfile.ZipFile(io.BytesIO(model.data)) as archive:
      texts = [n for n in archive.namelist() if n.endswith(".txt")]
      if len(texts) != 1:
        return None
      lines = archive.read(texts[0]).decode().splitlines()
  except Exception:  # there is mostly none, and a broken one names no class
    return None
  return [line.strip() for line in lines if line.strip()]
