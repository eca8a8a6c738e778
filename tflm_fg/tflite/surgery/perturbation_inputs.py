"""TODO."""

from __future__ import annotations

import numpy as np

from tflm_fg.tflite import model_file
from tflm_fg.tflite.split_graph import Part
from tflm_fg.types import TflmFgError


def constants_to_inputs(part: Part) -> Part:
  """Makes a part's trainable constants inputs, behind its other inputs.

  Args:
    part: a piece of the graph; its trainable constants have shape [1, ...].

  Returns:
    The piece without trainable constants. Fed with the constants' values it
    gives the same outputs.

  Raises:
    TflmFgError: if a constant's first axis is longer than 1.
  """
  model = model_file.read(part.data)
  graph = model.subgraphs[0]
  for index in part.writable:
    tensor = graph.tensors[index]
    shape = [int(d) for d in tensor.shape]
    if len(shape) < 2 or shape[0] != 1:
      raise TflmFgError(
        f"{tensor.name.decode()}: shape {shape} has no axis of samples; "
        "use another --method"
      )
    tensor.buffer = 0
  graph.inputs = np.array([*graph.inputs, *part.writable], np.int32)
  return part._replace(data=model_file.pack(model), writable=())
