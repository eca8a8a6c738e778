"""Estimate how long a part of a graph runs, from the file alone."""

from __future__ import annotations

import math

from tflm_fg.tflite.model_file import ModelFile

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")

DENSE_MULTIPLICATIONS = 1200
"""Of a dense layer, that take as long as one output of a convolution."""


def int8_work(file: ModelFile) -> int:
  """Work of a sample in the int8 layers, which XNNPACK runs faster.

  LiteRT's optimized kernels take about 10 ns for an output of a convolution,
  whatever its size, where there are few channels; a dense layer's
  multiplications hardly count beside that.

  Args:
    file: the part.

  Returns:
    The outputs of its convolutions, with dense layers counted as so many.
  """
  graph, outputs, multiplications = file.subgraph, 0, 0
  for op in graph.operators:
    out = graph.tensors[op.outputs[0]]
    if out.dtype != "int8":
      continue
    size = math.prod(out.shape)
    if op.name in _CONVOLUTIONS:
      outputs += size
    elif op.name == "FULLY_CONNECTED":
      multiplications += size * graph.tensors[op.inputs[1]].shape[-1]
  return outputs + multiplications // DENSE_MULTIPLICATIONS
