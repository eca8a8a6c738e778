"""Bring a file to the form that engines agree on and that training knows."""

from __future__ import annotations

from typing import NamedTuple

from tflm_fg.tflite.choice.outputs import like
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.known_forms import is_legacy, misread_biases
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.surgery.edit import empty_unused_buffers
from tflm_fg.tflite.surgery.int16_biases import widen_biases
from tflm_fg.tflite.surgery.pooled_head import pool_first, pooled_head
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
  """Rewrites uint8 layers to int8, widens misread biases, pools before a head.

  Args:
    file: without a mark.
    graph_options: whether uint8 layers are rewritten, and a head over
      positions.

  Raises:
    TflmFgError: naming what cannot be rewritten, or if it is not clear which
      output is meant.
  """
  rewrites = graph_options.uint8 == "rewrite" and is_legacy(file.subgraph)
  pools = graph_options.pooled_head == "rewrite"
  if not (
    rewrites
    or misread_biases(file.subgraph)
    or (pools and pooled_head(file.subgraph, file.name))
  ):
    return Ready(file, ())
  model = file.unpack()
  notes = widen_biases(model)
  notes += to_int8(model, file.name) if rewrites else []
  if pools:
    notes += pool_first(model, file.subgraph.chosen_output, file.name)
  if not notes:
    return Ready(file, ())
  empty_unused_buffers(model)
  rewritten = ModelFile.open(file.repacked(model), file.name)
  return Ready(like(rewritten, file), tuple(notes))
