"""Mark what may train in a file, and take the mark off again."""

from __future__ import annotations

import os

from tflm_fg import files
from tflm_fg.tflite import select_trainable, training_metadata
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel

Model = bytes | str | os.PathLike[str] | ModelFile
"""A model as its bytes, its path, or opened."""


def mark_trainable(
  model: Model,
  trainable: str = "head",
  *,
  graph_options: GraphOptions | None = None,
  name: str | None = None,
) -> MarkedModel:
  """Marks what may train in a .tflite.

  Args:
    model: the path or the bytes of an int8 or int16x8 .tflite.
    trainable: "head", "wide-head", "prompt", "first-bias", "bias",
      "inner-bias", "all", a regular expression on tensors' names, or several of
      these with commas.
    graph_options: how the file may change for what shall train.
    name: what to call the model in errors; by default its path.

  Returns:
    The marked file, its mark, and a note for everything that was changed.

  Raises:
    TflmFgError: if the file is not sound or the choice cannot be trained.

  Example:
    >>> marked = tflm_fg.mark_trainable("kws.tflite", "head")
    >>> open("marked.tflite", "wb").write(marked.data)
  """
  return select_trainable.mark_file(
    opened(model, name), trainable, graph_options=graph_options
  )


def strip(model: Model, name: str | None = None) -> bytes:
  """Takes the mark off a file; one without a mark comes back as it is.

  Args:
    model: the path or the bytes of a .tflite.
    name: what to call the model in errors; by default its path.

  Raises:
    TflmFgError: if the file is not sound.
  """
  return training_metadata.without_mark(opened(model, name))


def opened(model: Model, name: str | None = None) -> ModelFile:
  """The model, verified and parsed; itself if it is open already.

  Raises:
    TflmFgError: if it cannot be read, or is not sound.
  """
  if isinstance(model, ModelFile):
    return model
  return ModelFile.open(*files.read_model(model, name))
