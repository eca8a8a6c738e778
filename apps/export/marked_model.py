"""The model with a mark, as the flags say."""

from __future__ import annotations

import tflm_fg
from apps.flags import export_flags, graph_flags, output_flags
from tflm_fg.marking import opened
from tflm_fg.tflite import read_mark


def marked_model(path: str) -> tflm_fg.MarkedModel:
  """The model with its own mark, or with what the flags say.

  Args:
    path: of the model.

  Raises:
    TflmFgError: if the file is not sound or cannot be marked so.
  """
  file = opened(path, None, output_flags.OUTPUT.value, output_flags.INPUT.value)
  own = read_mark(file)
  if own is not None and export_flags.TRAINABLE.value is None:
    return tflm_fg.MarkedModel(file, own, ())
  return tflm_fg.mark_trainable(
    file,
    export_flags.TRAINABLE.value or "head",
    graph_options=graph_flags.graph_options(),
  )
