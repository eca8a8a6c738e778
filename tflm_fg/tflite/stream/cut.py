"""Cut a model at its last layer, with all state on the frozen side.

The prefix makes the numbers that the last layer reads, and keeps the state. The
suffix is that layer and what bends and rounds its sums: it has no state, so
many steps of a stream run through it at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tflm_fg.tflite.choice.outputs import leading_to
from tflm_fg.tflite.layers import (
  SHAPING,
  Site,
  reads_one_vector,
  sites_of,
  untrainable,
)
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import extract
from tflm_fg.tflite.stream.states import EXTERNAL, StateTensor
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.tensors import Part, describe
from tflm_fg.types import NotApplicable, TrainableTensor

BENDING = ("LOGISTIC", "SOFTMAX")
_BEHIND = (*SHAPING, *BENDING, "QUANTIZE", "DEQUANTIZE")
_LAYERS = ("FULLY_CONNECTED", "CONV_2D")


class StreamCut(NamedTuple):
  """A model in two pieces, and what its last layer is.

  Attributes:
    prefix: a step and the state -> what the last layer reads, and state that
      flows out; None where the last layer reads the step itself.
    suffix: what the last layer reads -> the answer.
    site: the last layer.
    bends: "LOGISTIC" or "SOFTMAX" if one of them stands behind it, else "".
    trainable: its kernel and, if it has one, its bias.
  """

  prefix: Part | None
  suffix: Part
  site: Site
  bends: str
  trainable: tuple[TrainableTensor, ...]


def last_layer(file: ModelFile, answer: int) -> Site:
  """The last FULLY_CONNECTED, or 1x1 CONV_2D of one position, before an answer.

  Args:
    file: a sound .tflite.
    answer: tensor index of the output that is meant.

  Raises:
    NotApplicable: naming why the file has no such layer that can train.
  """
  graph = file.subgraph
  needed = set(leading_to(graph, [answer]))
  sites = [site for site in sites_of(graph) if site.operator in needed]
  heads = [s for s in sites if graph.operators[s.operator].name in _LAYERS]
  if not heads:
    raise NotApplicable(
      f"{file.name}: no FULLY_CONNECTED with constant weights leads to the "
      f"output {graph.tensors[answer].name!r}, so there is no last layer to "
      "adapt"
    )
  site = heads[-1]
  op = graph.operators[site.operator]
  what = f"{file.name}: the last layer, operator {site.operator} {op.name},"
  if graph.tensors[site.kernel].dtype == "uint8":
    raise NotApplicable(
      f"{what} has uint8 weights; tflm-fg-convert rewrites the file to int8"
    )
  fault = untrainable(graph, site)
  if fault:
    raise NotApplicable(f"{what} cannot train: {fault}")
  if graph.tensors[site.kernel].dtype != "int8" or (
    graph.tensors[site.activation].dtype != "int8"
  ):
    read = graph.tensors[site.activation].dtype
    raise NotApplicable(
      f"{what} reads {read}; need int8 weights and activations: convert the "
      "model with --activations=int8"
    )
  if not reads_one_vector(graph, site.operator):
    raise NotApplicable(
      f"{what} runs over several positions; need one vector a step"
    )
  if op.has_activation:
    raise NotApplicable(f"{what} has a ReLU behind it, so it is no last layer")
  return site


def stream_cut(
  file: ModelFile,
  answer: int,
  inputs: Sequence[int],
  states: Sequence[StateTensor],
) -> StreamCut:
  """Cuts a file at its last layer.

  Args:
    file: a sound .tflite.
    answer: tensor index of the output that is meant.
    inputs: tensors that flow into a step.
    states: all state, as `states.states_of` gives it.

  Raises:
    NotApplicable: naming what stands in the way.
  """
  graph = file.subgraph
  site = last_layer(file, answer)
  moving = _behind(file, site, answer)
  bends = [graph.operators[n].name for n in moving]
  bends = [name for name in bends if name in BENDING]
  frozen = _frozen(graph, site, states)
  if set(moving) & set(frozen):
    raise NotApplicable(
      f"{file.name}: the state depends on the last layer, operator "
      f"{site.operator}, so that layer cannot train by itself"
    )
  roles = ("kernel", "bias")
  trainable = tuple(
    describe(graph, reader, index, role)
    for role, index, reader in site.parts(roles)
  )
  suffix = extract(
    file, moving, [site.activation], [answer], trainable, alone=True
  )
  prefix = None
  if frozen and site.activation not in inputs:
    made = [site.activation, *(s.writes for s in states if s.kind == EXTERNAL)]
    prefix = extract(file, frozen, inputs, list(dict.fromkeys(made)), [])
  return StreamCut(prefix, suffix, site, "".join(bends), trainable)


def _behind(file: ModelFile, site: Site, answer: int) -> list[int]:
  """The last layer and what stands between it and the answer."""
  graph = file.subgraph
  moving, reached = [site.operator], {graph.output(site.operator)}
  for number in leading_to(graph, [answer]):
    op = graph.operators[number]
    if number == site.operator or not reached & set(op.inputs):
      continue
    first, *others = op.inputs
    fits = first in reached and all(
      i < 0 or graph.tensors[i].is_constant for i in others
    )
    if op.name not in _BEHIND or not fits:
      raise NotApplicable(
        f"{file.name}: operator {number} {op.name} stands behind the last "
        f"layer; need {', '.join(_BEHIND)} alone"
      )
    moving.append(number)
    reached.add(op.outputs[0])
  bends = [n for n in moving if graph.operators[n].name in BENDING]
  if len(bends) > 1:
    raise NotApplicable(
      f"{file.name}: several of {', '.join(BENDING)} stand behind the last "
      "layer; need one at most"
    )
  return moving


def _frozen(
  graph: Subgraph, site: Site, states: Sequence[StateTensor]
) -> list[int]:
  """What makes the last layer's input and the next state, in order."""
  storing = [n for n, op in enumerate(graph.operators) if not op.outputs]
  wanted = {site.activation, *(s.writes for s in states if s.writes >= 0)}
  wanted |= {i for n in storing for i in graph.operators[n].inputs}
  return sorted({*storing, *leading_to(graph, sorted(wanted))})
