"""Estimate how long a part of a graph runs, from the file alone."""

from __future__ import annotations

import math

from tflm_fg.tflite import model_file
from tflm_fg.tflite.model_file import TYPE_NAMES, op_name

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")

DENSE_MULTIPLICATIONS = 1200
"""Of a dense layer, that take as long as one output of a convolution."""


def int8_work(data: bytes) -> int:
  """Work of a sample in the int8 layers, which XNNPACK runs faster.

  LiteRT's optimized kernels take about 10 ns for an output of a convolution,
  whatever its size, where there are few channels; a dense layer's
  multiplications hardly count beside that.

  Args:
    data: a sound .tflite.

  Returns:
    The outputs of its convolutions, with dense layers counted as so many.
  """
  model = model_file.read_shared(data)
  graph, outputs, multiplications = model.subgraphs[0], 0, 0
  for op in graph.operators or []:
    name = op_name(model, op)
    out = graph.tensors[op.outputs[0]]
    if TYPE_NAMES.get(out.type) != "int8":
      continue
    size = math.prod(int(d) for d in out.shape)
    if name in _CONVOLUTIONS:
      outputs += size
    elif name == "FULLY_CONNECTED":
      kernel = graph.tensors[op.inputs[1]]
      multiplications += size * int(kernel.shape[-1])
  return outputs + multiplications // DENSE_MULTIPLICATIONS
