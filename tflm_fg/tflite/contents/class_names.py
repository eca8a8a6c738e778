"""Find what a file calls its classes."""

from __future__ import annotations

from tflm_fg.tflite.contents.labels import packed_lists
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import read_mark


def class_names(model: ModelFile, classes: int) -> tuple[str, ...]:
  """What a file calls its classes; their numbers where it does not say.

  Args:
    model: the file, marked or not.
    classes: how many it has.

  Returns:
    As many names.
  """
  names = known_names(model, classes)
  return names or tuple(str(label) for label in range(classes))


def known_names(model: ModelFile, classes: int) -> tuple[str, ...] | None:
  """What a file calls its classes, where it says so.

  The names are in the mark, or in the one list that the TensorFlow Lite
  metadata tools have packed behind the model.

  Args:
    model: the file, marked or not.
    classes: how many it has.

  Returns:
    As many names, in order; None where the file has none, or another count.
  """
  mark = read_mark(model)
  lists = list(packed_lists(model).values())
  packed = lists[0] if len(lists) == 1 else None
  for names in (mark and mark.classes, packed):
    if names and len(names) == classes:
      return tuple(names)
  return None
