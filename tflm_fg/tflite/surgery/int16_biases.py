"""Widen int32 biases of int16 layers that engines take for int64.

`misread_biases` says which ones. As int64 the same numbers are read by every
engine.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.known_forms import misread_biases
from tflm_fg.tflite.layers import TRAINABLE_OPS
from tflm_fg.tflite.model_file import op_name, subgraph_of
from tflm_fg.tflite.surgery.edit import add_buffer, unshare


def widen_biases(model: schema.ModelT) -> list[str]:
  """Makes misread int32 biases int64, of the same values; says so.

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
