"""Choose what may train in a .tflite and mark it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.choice.layers_chosen import (
  chosen_layers,
  refuse_to_widen,
  refuse_untrainable,
)
from tflm_fg.tflite.choice.outputs import (
  find_logits,
  last_head,
  like,
  meant_output,
)
from tflm_fg.tflite.choice.own_mark import as_marked, own_mark
from tflm_fg.tflite.contents.entry_points import left_signatures
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.inputs import meant_input, refuse_foreign, spec_of
from tflm_fg.tflite.layers import Site, sites_of
from tflm_fg.tflite.model_file import ModelFile, Source, subgraph_of
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.surgery.head_room import give_room
from tflm_fg.tflite.surgery.input_prompt import (
  insert_prompt,
  prompts_of,
  role_of,
)
from tflm_fg.tflite.surgery.ready import ready, require_allowed
from tflm_fg.tflite.surgery.repair import mend
from tflm_fg.tflite.surgery.weight_precision import (
  by_kernel,
  refine,
  with_biases,
)
from tflm_fg.tflite.surgery.wide_head import is_wide, widen_head
from tflm_fg.tflite.tensors import describe
from tflm_fg.types import (
  Mark,
  NotApplicable,
  TensorSpec,
  TflmFgError,
  TrainableTensor,
)


class MarkedModel(NamedTuple):
  """A marked file and what had to be changed before it could be marked."""

  file: ModelFile
  mark: Mark
  notes: tuple[str, ...]

  @property
  def data(self) -> bytes:
    """The file's bytes."""
    return self.file.data


def mark_file(
  source: Source,
  trainable: str = "head",
  name: str = "model",
  graph_options: GraphOptions | None = None,
  weights: str | None = None,
) -> MarkedModel:
  """Marks what may train; all else stays as it is.

  Args:
    source: a .tflite, marked or not.
    trainable: "head" (the last FULLY_CONNECTED or CONV_2D with its bias),
      "wide-head" (the same, reading earlier layers too), "prompt" (an offset
      a channel of the input), "bias", "first-bias" (the first layer's),
      "inner-bias" (all but the head's), "gain" (a gain a channel of all layers
      but the head, in the scales of their kernels), "all",
      a regular expression on tensor names, or several of these joined by
      commas.
    name: what to call bytes in errors.
    graph_options: how the graph grows for a prompt or a wide head.
    weights: in place of the graph options', where it is not None.

  Returns:
    The marked file. Operators are added for a prompt or a wide head, without
    a change of the outputs, and for 16-bit weights, with a change of at most
    about one step. A constant that is shared, a bias that the
    converter dropped, a useless scale and constants off their 16-byte boundary
    are mended first. Each comes with a note; without one of these the marked
    file holds the original bytes whole. Signatures of other subgraphs, which
    stay as they are, are named too.

  Raises:
    TflmFgError: if the file is not sound or the choice cannot be trained.
    NotApplicable: also if it takes operators that the options do not allow.
  """
  file = as_marked(source, name)
  old, name, opened = _old_mark(file), file.name, file.notes
  plain = file = training_metadata.stripped(file)
  refuse_foreign(file)
  graph_options = graph_options or GraphOptions()
  file, mended = ready(file, graph_options)
  model, graph = file.unpack(), file.subgraph
  output = meant_output(graph, name).position
  parts = [p for p in (p.strip() for p in trainable.split(",")) if p]
  if not parts:
    raise TflmFgError(f"--trainable={trainable!r} names nothing; try head")
  taken = meant_input(graph, name) if "prompt" in parts else -1
  notes = _operate(model, parts, graph_options, name, output, taken)
  graph = subgraph_of(model, output) if notes else graph
  wanted = chosen_layers(graph, parts, name)
  weights = weights or graph_options.weights
  notes += mend(model, with_biases(wanted, weights), name)
  if graph_options.head_room:
    notes += _roomy(model, graph, wanted, graph_options.head_room, name)
  roles = by_kernel(subgraph_of(model, output) if notes else graph, wanted)
  notes += refine(model, roles, weights, name)
  if not notes and not file.is_aligned:
    notes = ["constants moved to 16-byte boundaries"]
  if not notes and file.shares_bytes:
    notes = ["constants that shared bytes have bytes of their own"]
  if notes:
    file = like(ModelFile.open(file.repacked(model), name), plain)
    require_allowed(plain, file, graph_options, f"--trainable={trainable}")
  graph = file.subgraph
  head = last_head(graph)
  prompts = prompts_of(graph) if "prompt" in parts else []
  layers = _tensors(graph, roles)
  notes += _left_alone(layers)
  chosen = Mark(
    trainable=(*_prompts(graph, prompts), *layers),
    logits=find_logits(graph),
    head_input=find_logits(graph) if head is None else head.activation,
    frontend=old.frontend if old else None,
    classes=old.classes if old else None,
    output=output if len(graph.outputs) > 1 else None,
    input=graph.chosen_input,
    statistics=old.statistics if old else {},
  )
  marked = training_metadata.write_mark(file, chosen)
  left = left_signatures(file.data)
  return MarkedModel(marked, chosen, (*opened, *mended, *notes, *left))


def _operate(
  model: schema.ModelT,
  parts: list[str],
  graph_options: GraphOptions,
  name: str,
  output: int,
  taken: int,
) -> list[str]:
  """Adds the operators that the choice asks for and that are not there."""
  notes = []
  if "prompt" in parts and not prompts_of(subgraph_of(model)):
    numbers = insert_prompt(
      model,
      taken,
      graph_options.gain,
      name,
      graph_options.common_gain,
    )
    notes.append(f"an input prompt of {numbers} numbers inserted")
  graph = subgraph_of(model, output)
  if "wide-head" in parts and not is_wide(graph):
    head = last_head(graph)
    if head is None:
      raise TflmFgError(f"{name}: no FULLY_CONNECTED or CONV_2D for a head")
    refuse_untrainable(graph, head, name)
    if head.is_finer:
      raise NotApplicable(
        f"{name}: the head has 16-bit weights already; widen the file from "
        "before, with --weights"
      )
    refuse_to_widen(graph, head, name)
    numbers = widen_head(
      model, head, graph_options.layers, graph_options.pooled, name
    )
    notes.append(f"the head reads {numbers} more inputs, of earlier layers")
  return notes


def _roomy(
  model: schema.ModelT,
  graph: Subgraph,
  wanted: dict[Site, set[str]],
  bits: int,
  name: str,
) -> list[str]:
  """Gives the head's kernel room, if it is one of those that shall train."""
  head = last_head(graph)
  if head is None or "kernel" not in wanted.get(head, ()):
    raise TflmFgError(
      f"{name}: --head_room={bits} needs a head that trains; use "
      "--trainable=head, or leave it out"
    )
  return give_room(model, head, bits, name)


def _old_mark(file: ModelFile) -> Mark | None:
  """The mark whose front end and classes a new one keeps; a broken one goes."""
  try:
    return training_metadata.read_mark(file)
  except TflmFgError:
    return None


def _prompts(graph: Subgraph, constants: list[int]) -> list[TrainableTensor]:
  """The prompt's constants, with the operators that read them."""
  return [
    describe(graph, number, index, role_of(graph, index))
    for index in constants
    for number, op in enumerate(graph.operators)
    if index in op.inputs
  ]


def _tensors(
  graph: Subgraph, roles: dict[int, set[str]]
) -> list[TrainableTensor]:
  """The marked tensors, as the mended file has them."""
  return [
    describe(graph, operator, index, role)
    for site in sites_of(graph)
    for role, index, operator in site.parts(roles.get(site.kernel, ()))
  ]


def _left_alone(tensors: list[TrainableTensor]) -> list[str]:
  """Says of each layer which channels do not train."""
  counts = {
    t.operator: f"{t.name}: {np.count_nonzero(~t.trains)} of {len(t.scales)} "
    "channels have weights too small to move an output by a step; they stay "
    "as they are and do not train"
    for t in reversed(tensors)
    if not t.trains.all()
  }
  return list(counts.values())[::-1]


def present_mark(
  source: Source,
  trainable: str | None,
  name: str,
  graph_options: GraphOptions | None = None,
) -> MarkedModel:
  """The file's own mark, or a new one where a choice is given or none stands.

  Args:
    source: a .tflite.
    trainable: as for `mark_trainable`; None takes the file's mark, or "head".
    name: what to call the file in errors.
    graph_options: as for `mark_trainable`.
  """
  file = as_marked(source, name)
  found = own_mark(file) if trainable is None else None
  if found is not None:
    return MarkedModel(file, found, ())
  return mark_file(file, trainable or "head", graph_options=graph_options)


def input_spec(source: Source, name: str = "model") -> TensorSpec:
  """What a sample of a sound file must be like; see `inputs.spec_of`."""
  return spec_of(ModelFile.of(source, name))
