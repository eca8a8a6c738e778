"""Run the part of a model that a file which trains itself leaves as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert

from tflm_fg.runtimes import interpreter_maker
from tflm_fg.tflite import MarkedModel, ModelFile
from tflm_fg.tflite.training_metadata import stripped
from tflm_fg.types import Array, TflmFgError

KERNELS = {
  "reference": "BUILTIN_REF",
  "optimized": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
  "xnnpack": "BUILTIN",
}
"""Kernels of LiteRT, and its names for them."""


def interpreter_of(data: bytes, kernels: str) -> Any:
  """LiteRT's interpreter of a file.

  Args:
    data: the file, of which it gets a copy of its own.
    kernels: one of `KERNELS`.

  Raises:
    TflmFgError: if the kernels have another name.
  """
  if kernels not in KERNELS:
    raise TflmFgError(
      f"kernels {kernels!r} are unknown; choose one of {', '.join(KERNELS)}"
    )
  made = interpreter_maker(litert, KERNELS[kernels])(bytes(bytearray(data)))
  made.allocate_tensors()
  return made


class Frozen:
  """The layers before the head, behind a prompt for every sample."""

  def __init__(self, marked: MarkedModel, kernels: str) -> None:
    """Cuts the layers out of a marked file.

    Args:
      marked: what `to_signatures` takes.
      kernels: one of `KERNELS`.
    """
    tensors = {tensor.role: tensor for tensor in marked.mark.trainable}
    name = marked.file.name
    model = stripped(marked.file).unpack()
    graph = model.subgraphs[0]
    source, features = int(graph.inputs[0]), marked.mark.head_input
    prompt = [tensors[r].index for r in ("gain", "offset") if r in tensors]
    flow = source
    if prompt:
      first = graph.operators[tensors["gain"].operator]
      flow = int(first.inputs[0])
    self._features = self._flow = None
    if features not in (source, flow):
      self._features = _cut(model, [flow, *prompt], features, name, kernels)
    if flow != source:
      self._flow = _cut(model, [source], flow, name, kernels)
    self.shape = tuple(int(n) for n in graph.tensors[flow].shape[1:])
    self._gain = (
      [int(n) for n in graph.tensors[prompt[0]].shape[1:]] if prompt else []
    )
    self._prompted = bool(prompt)

  def flow(self, x: Array) -> Array:
    """What comes to the prompt: int8 [N, n].

    Args:
      x: samples [N, ...] of the model's own type.
    """
    found = x if self._flow is None else _run(self._flow, [x])
    return found.reshape(len(x), -1)

  def features(self, flow: Array, gain: Array, offset: Array) -> Array:
    """What the head reads: int8 [N, D].

    Args:
      flow: int8 [N, n].
      gain: int8 [N, 1, ...]; unused in a file without a prompt.
      offset: int8 [N, ...]; the same.
    """
    x = flow.reshape(len(flow), *self.shape)
    given = [x, gain, offset] if self._prompted else [x]
    found = x if self._features is None else _run(self._features, given)
    return found.reshape(len(x), -1)


def _cut(
  model: Any, sources: list[int], wanted: int, name: str, kernels: str
) -> Any:
  """An interpreter from some tensors of subgraph 0 to another."""
  graph = model.subgraphs[0]
  kept = graph.operators, graph.inputs, graph.outputs
  buffers = {number: graph.tensors[number].buffer for number in sources}
  needed, found = {wanted}, []
  for op in reversed(graph.operators):
    if needed & {int(i) for i in op.outputs}:
      needed |= {int(i) for i in op.inputs} - {*sources}
      found.append(op)
  graph.operators = found[::-1]
  graph.inputs = np.array(sources, np.int32)
  graph.outputs = np.array([wanted], np.int32)
  for number in sources:
    graph.tensors[number].buffer = 0
  model.signatureDefs = []
  data = ModelFile.packed(model, name).data
  graph.operators, graph.inputs, graph.outputs = kept
  for number, buffer in buffers.items():
    graph.tensors[number].buffer = buffer
  return interpreter_of(data, kernels)


def _run(engine: Any, given: list[Array]) -> Array:
  """Runs samples one by one, as a batch gives the same."""
  numbers = [detail["index"] for detail in engine.get_input_details()]
  (out,) = engine.get_output_details()
  found = []
  for row in range(len(given[0])):
    for number, values in zip(numbers, given):
      engine.set_tensor(number, values[row : row + 1])
    engine.invoke()
    found.append(engine.get_tensor(out["index"]))
  return np.concatenate(found)
