"""Pool in front of a head that is a 1x1 convolution, and not behind it.

Some files end with a 1x1 convolution over all positions of a map and the mean
of what it makes. Both are linear, so the mean of its inputs and then the
convolution of that one vector is the same function. In that order the head
reads one vector, and everything that trains such heads applies to it.

Rounding is another one: the means of the inputs are rounded to steps of the
input, before that the outputs were rounded at each position.
"""

from __future__ import annotations

import copy
import math
import re
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.choice.outputs import find_logits, last_head
from tflm_fg.tflite.layers import SHAPING, Site, tensor_name, untrainable
from tflm_fg.tflite.model_file import TYPE_NAMES, op_name, subgraph_of
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.surgery.edit import add_tensor, insert_operator

POOLS = ("AVERAGE_POOL_2D", "MEAN")

_HEADLESS = ("prompt", "bias", "first-bias", "inner-bias", "gain")


class PooledHead(NamedTuple):
  """A head over positions, and what pools its outputs.

  Attributes:
    head: the 1x1 convolution.
    pool: the operator that pools, of which the shapes fit.
  """

  head: Site
  pool: int


def pooled_head(graph: Subgraph, name: str = "model") -> PooledHead | None:
  """The head, if it is a 1x1 convolution that is pooled over its whole map.

  What shapes cannot tell, such as the window and the axes, `pool_first` looks
  at, and whether the head is of a form that trains: uint8 comes to it later.

  Args:
    graph: of the file.
    name: what to call the file in errors.

  Raises:
    TflmFgError: if it is not clear which output is meant.
  """
  head = last_head(graph, name)
  if head is None or graph.operators[head.operator].name != "CONV_2D":
    return None
  op, made = graph.operators[head.operator], graph.output(head.operator)
  read, kernel, out = (
    graph.tensors[i].shape for i in (head.activation, head.kernel, made)
  )
  readers = [n for n, o in enumerate(graph.operators) if made in o.inputs]
  if len(readers) != 1 or made in graph.outputs or op.has_activation:
    return None
  pool = graph.operators[readers[0]]
  pooled = graph.tensors[pool.outputs[0]]
  fits = (
    pool.name in POOLS
    and not pool.has_activation
    and len(read) == 4
    and read[0] == 1
    and math.prod(read[1:3]) > 1
    and kernel == (out[-1], 1, 1, read[-1])
    and out[:3] == read[:3]  # no stride
    and pooled.shape in ((1, 1, 1, out[-1]), (1, out[-1]))
    and pooled.has_scale
    and _ends_with(graph, pool.outputs[0], name)
    and not head.is_finer
  )
  return PooledHead(head, readers[0]) if fits else None


def _ends_with(graph: Subgraph, tensor: int, name: str) -> bool:
  """Whether the logits are this tensor, or the same numbers in a shape."""
  writer = {o: op for op in graph.operators for o in op.outputs}
  found = find_logits(graph, name)
  while found != tensor and found in writer and writer[found].name in SHAPING:
    found = writer[found].inputs[0]
  return found == tensor


def trains_head(graph: Subgraph, trainable: str | None) -> bool:
  """Whether a choice may train the weights of a pooled head.

  Args:
    graph: of a file that has such a head.
    trainable: as for `mark_trainable`; "auto" and None may.
  """
  found = pooled_head(graph)
  if found is None:
    return False
  kernel = graph.tensors[found.head.kernel].name
  for part in (trainable or "auto").split(","):
    word = part.strip()
    if word in ("auto", "head", "wide-head", "all"):
      return True
    try:
      if word and word not in _HEADLESS and re.search(word, kernel):
        return True
    except re.error:  # whoever chooses the layers refuses it
      continue
  return False


def pool_first(
  model: schema.ModelT, output: int | None = None, name: str = "model"
) -> list[str]:
  """Moves the pooling behind a head to the front of it, where there is one.

  Args:
    model: the unpacked model, edited.
    output: position of the output that is meant; None for no choice.
    name: what to call the file in errors.

  Returns:
    A note of what was moved; none where the model stays as it is.

  Raises:
    TflmFgError: if it is not clear which output is meant.
  """
  before = subgraph_of(model, output)
  found = pooled_head(before, name)
  if found is None or untrainable(before, found.head):
    return []
  graph = model.subgraphs[0]
  head, pool = (graph.operators[n] for n in (found.head.operator, found.pool))
  source = graph.tensors[found.head.activation]
  if not _is_whole(model, pool):
    return []
  read = before.tensors[found.head.activation]
  result, given = int(pool.outputs[0]), int(head.outputs[0])
  shape = before.tensors[result].shape
  if len(shape) == 4:
    fresh, head.outputs = given, np.array([result], np.int32)
  else:
    fresh = _before_reshape(model, found.head.operator, given, result)
  vector = graph.tensors[fresh]
  vector.name = f"{read.name}/pooled".encode()
  vector.shape = np.array([1, 1, 1, read.shape[-1]], np.int32)
  vector.shapeSignature = None
  vector.quantization = copy.deepcopy(source.quantization)
  pool.inputs = np.array([found.head.activation, *pool.inputs[1:]], np.int32)
  pool.outputs = np.array([fresh], np.int32)
  head.inputs = np.array([fresh, *head.inputs[1:]], np.int32)
  if op_name(model, pool) == "MEAN":
    pool.builtinOptions.keepDims = True
  graph.operators.remove(pool)
  graph.operators.insert(found.head.operator, pool)
  where = "x".join(str(size) for size in read.shape[1:3])
  return [
    f"the head's outputs at {where} positions were pooled; now its inputs are, "
    "which is the same function of one vector"
  ]


def _before_reshape(
  model: schema.ModelT, head: int, made: int, result: int
) -> int:
  """Lets the head make one vector, of which a RESHAPE makes the result.

  Args:
    model: the unpacked model, edited.
    head: the operator.
    made: its output, of all positions so far.
    result: what the pool made, [1, outputs].

  Returns:
    A new tensor, for what the head reads.
  """
  graph = model.subgraphs[0]
  own, out = graph.tensors[made], graph.tensors[result]
  shape = np.asarray(out.shape, np.int32)
  own.shape = np.array([1, 1, 1, shape[-1]], np.int32)
  own.shapeSignature = None
  own.quantization = copy.deepcopy(out.quantization)
  name = tensor_name(own)
  target = add_tensor(model, f"{name}/shape", (2,), "int32", values=shape)
  options = schema.ReshapeOptionsT()
  options.newShape = shape
  insert_operator(
    model, head + 1, "RESHAPE", [made, target], result, options, 1
  )
  return add_tensor(model, f"{name}/read", (), TYPE_NAMES[own.type])


def _is_whole(model: schema.ModelT, pool: schema.OperatorT) -> bool:
  """Whether a pool takes all positions of its map, each of them once."""
  graph = model.subgraphs[0]
  source, made = (graph.tensors[i] for i in (pool.inputs[0], pool.outputs[0]))
  options = pool.builtinOptions
  if options is None:
    return False
  if op_name(model, pool) == "AVERAGE_POOL_2D":
    window = [options.filterHeight, options.filterWidth]
    same_scale = source.quantization.scale[0] == made.quantization.scale[0]
    whole = [int(size) for size in source.shape[1:3]]
    return window == whole and bool(same_scale)
  listed = graph.tensors[pool.inputs[-1]]
  axes = model.buffers[listed.buffer].data
  if axes is None or listed.type != schema.TensorType.INT32:
    return False
  return {int(axis) % 4 for axis in np.asarray(axes).view("<i4")} == {1, 2}
