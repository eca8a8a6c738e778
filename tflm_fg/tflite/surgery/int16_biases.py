"""Widen int32 biases of int16 layers that engines take for int64.

Converters can write int32 biases beside int16 activations. LiteRT's
DEPTHWISE_CONV_2D refuses them; TFLM's DEPTHWISE_CONV_2D and TRANSPOSE_CONV read
eight bytes for each, which is past the constant's end and another number.
CONV_2D and FULLY_CONNECTED read what their options say. As int64 the same
numbers are read by every engine.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.layers import TRAINABLE_OPS
from tflm_fg.tflite.model_file import op_name, subgraph_of
from tflm_fg.tflite.subgraph import Operator, Subgraph
from tflm_fg.tflite.surgery.edit import add_buffer
from tflm_fg.tflite.surgery.repair import unshare


def misread_biases(graph: Subgraph) -> list[int]:
  """Operators with int16 activations whose int32 bias an engine misreads."""
  return [n for n, op in enumerate(graph.operators) if _is_misread(graph, op)]


def _is_misread(graph: Subgraph, op: Operator) -> bool:
  where = TRAINABLE_OPS.get(op.name)
  if where is None or len(op.inputs) <= where[2] or op.inputs[where[2]] < 0:
    return False
  bias = graph.tensors[op.inputs[where[2]]]
  return (
    bias.dtype == "int32"
    and bias.is_constant
    and graph.tensors[op.inputs[where[0]]].dtype == "int16"
    # DEPTHWISE_CONV_2D has no option to say it; TFLM's TRANSPOSE_CONV does not
    # look at it.
    and (op.name == "TRANSPOSE_CONV" or op.bias_dtype != "int32")
  )


def refusal(graph: Subgraph) -> str:
  """Why an engine would misread the file's biases; empty if it would not."""
  wrong = misread_biases(graph)
  if not wrong:
    return ""
  return (
    f"operator {wrong[0]} {graph.operators[wrong[0]].name} has an int32 bias "
    "beside int16 activations, which LiteRT refuses or TFLM reads as int64; "
    "tflm-fg-convert widens it"
  )


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
