"""Forms of files that not every engine reads: they are rewritten or refused.

int32 biases beside int16 activations: LiteRT's DEPTHWISE_CONV_2D refuses them;
TFLM's DEPTHWISE_CONV_2D and TRANSPOSE_CONV read eight bytes for each, which is
past the constant's end and another number. CONV_2D and FULLY_CONNECTED read
what their options say.

Legacy uint8 layers: TFLM has no kernels for them, and their kernels' zero
points stand in the way of training.
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


def is_legacy(graph: Subgraph) -> bool:
  """Whether a layer has a uint8 kernel and reads uint8 activations."""
  return any(_is_uint8_layer(graph, op) for op in graph.operators)


def _is_uint8_layer(graph: Subgraph, op: Operator) -> bool:
  where = TRAINABLE_OPS.get(op.name)
  if where is None or len(op.inputs) <= where[1]:
    return False
  source, kernel = (graph.tensors[op.inputs[i]] for i in where[:2])
  return source.dtype == kernel.dtype == "uint8" and kernel.is_constant


def refusal(graph: Subgraph, runtime: str) -> str:
  """Why a runtime does not read a file rightly; empty if it does.

  Args:
    graph: the file's subgraph.
    runtime: one of `runtimes.NAMES`.
  """
  wrong = misread_biases(graph)
  if wrong:
    return (
      f"operator {wrong[0]} {graph.operators[wrong[0]].name} has an int32 bias "
      "beside int16 activations, which LiteRT refuses or TFLM reads as int64; "
      "tflm-fg-convert widens it"
    )
  if runtime == "tflm" and is_legacy(graph):
    return (
      "a legacy uint8 model, for which TFLM has no kernels; tflm-fg-convert "
      "rewrites it to int8"
    )
  return ""
