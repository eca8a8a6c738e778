"""Bring a file to the form that engines agree on and that training knows."""

from __future__ import annotations

from typing import NamedTuple

from tflm_fg.tflite.choice.outputs import like
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.known_forms import is_legacy, misread_biases
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.surgery.edit import empty_unused_buffers
from tflm_fg.tflite.surgery.int16_biases import widen_biases
from tflm_fg.tflite.surgery.uint8_to_int8 import to_int8


class Ready(NamedTuple):
  """A file in that form, and what had to be changed.

  Attributes:
    file: the file itself where nothing had to be changed.
    notes: one for each kind of change.
  """

  file: ModelFile
  notes: tuple[str, ...]


def ready(file: ModelFile, graph_options: GraphOptions) -> Ready:
  """Rewrites uint8 layers to int8, and widens biases that are misread.

  Args:
    file: without a mark.
    graph_options: whether uint8 layers are rewritten.

  Raises:
    TflmFgError: naming what cannot be rewritten.
  """
  rewrites = graph_options.uint8 == "rewrite" and is_legacy(file.subgraph)
  if not rewrites and not misread_biases(file.subgraph):
    return Ready(file, ())
  model = file.unpack()
  notes = widen_biases(model)
  notes += to_int8(model, file.name) if rewrites else []
  empty_unused_buffers(model)
  rewritten = ModelFile.open(file.repacked(model), file.name)
  return Ready(like(rewritten, file), tuple(notes))
