"""Bring a file to the form that engines agree on and that training knows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.choice.outputs import like
from tflm_fg.tflite.contents.operators import new_kernels
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.known_forms import is_legacy, misread_biases
from tflm_fg.tflite.layers import TRAINABLE_OPS
from tflm_fg.tflite.model_file import ModelFile, op_name, subgraph_of
from tflm_fg.tflite.surgery.edit import (
  add_buffer,
  empty_unused_buffers,
  unshare,
)
from tflm_fg.tflite.surgery.pooled_head import pool_first, pooled_head
from tflm_fg.tflite.surgery.uint8_to_int8 import to_int8
from tflm_fg.types import NotApplicable


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
    NotApplicable: if that takes operators that the options do not allow.
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
  what = "rewriting it to int8" if rewrites else "pooling in front of its head"
  require_allowed(file, rewritten, graph_options, what)
  return Ready(like(rewritten, file), tuple(notes))


def require_allowed(
  before: ModelFile, after: ModelFile, graph_options: GraphOptions, what: str
) -> None:
  """Refuses a file that needs operators which the options do not allow.

  Args:
    before: the user's file.
    after: what was made of it.
    graph_options: which operators it may need.
    what: what was done to it, for the error.

  Raises:
    NotApplicable: naming the operators.
  """
  if graph_options.operators == "any":
    return
  fresh = new_kernels(before, after)
  if fresh:
    names = ", ".join(f"{k.name} version {k.version}" for k in fresh)
    raise NotApplicable(
      f"{before.name}: {what} takes operators that the file does not have "
      f"({names}); --operators=same allows none: leave it out, or train the "
      "head or biases"
    )


def widen_biases(model: schema.ModelT) -> list[str]:
  """Makes misread int32 biases int64, of the same values; says so.

  `misread_biases` says which ones: engines take biases of int16 layers for
  int64, and as such the same numbers are read by every engine.

  Args:
    model: the unpacked model, edited.

  Returns:
    One note, or none where no bias is misread.
  """
  graph = model.subgraphs[0]
  wrong = misread_biases(subgraph_of(model))
  for number in wrong:
    op = graph.operators[number]
    options = op.builtinOptions
    position = TRAINABLE_OPS[op_name(model, op)][2]
    unshare(model, op, position)
    tensor = graph.tensors[op.inputs[position]]
    held = np.asarray(model.buffers[tensor.buffer].data).view("<i4")
    tensor.buffer = add_buffer(model, held.astype("<i8"))
    tensor.type = schema.TensorType.INT64
    if hasattr(options, "quantizedBiasType"):
      options.quantizedBiasType = schema.TensorType.INT64
  if not wrong:
    return []
  return [
    f"int32 biases of {len(wrong)} int16 layers widened to int64, which every "
    "engine reads: LiteRT refuses the old ones, or TFLM misreads them"
  ]
