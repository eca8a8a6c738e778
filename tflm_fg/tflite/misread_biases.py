"""Find int32 biases beside int16 activations that an engine misreads.

LiteRT's DEPTHWISE_CONV_2D refuses them; TFLM's DEPTHWISE_CONV_2D and
TRANSPOSE_CONV read eight bytes for each, which is past the constant's end and
another number. CONV_2D and FULLY_CONNECTED read what their options say.
"""

from __future__ import annotations

from tflm_fg.tflite.layers import TRAINABLE_OPS
from tflm_fg.tflite.subgraph import Operator, Subgraph


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
