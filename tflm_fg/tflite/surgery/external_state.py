"""Make inputs and outputs of the state that a model keeps in variables.

Where a step read a variable it reads an input, and what it assigned is an
output. Whoever runs the file hands each output to its input in the next step,
and gives the first step the state that it wants.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.model_file import ModelFile, op_name
from tflm_fg.tflite.stream.states import RESOURCE, StateTensor, states_of
from tflm_fg.tflite.stream.variables import VariableFlow, variable_flows
from tflm_fg.tflite.surgery.edit import add_buffer, empty_unused_buffers
from tflm_fg.types import NotApplicable

_VARIABLES = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")


class StatePair(NamedTuple):
  """An input and the output that goes to it in the next step.

  Attributes:
    input: position among the file's inputs.
    output: position among the file's outputs.
    state: what flows there, and how it starts.
  """

  input: int
  output: int
  state: StateTensor


class ExternalState(NamedTuple):
  """A file whose resource variables became inputs and outputs.

  Attributes:
    file: inputs and outputs of before keep their positions.
    pairs: the new ones.
  """

  file: ModelFile
  pairs: tuple[StatePair, ...]


def external_state(file: ModelFile) -> ExternalState:
  """Rewrites READ_VARIABLE to inputs and ASSIGN_VARIABLE to outputs.

  A step gives the same bytes as the file with its variables does, in every
  engine. A variable that no step assigns becomes a constant. Signatures are
  left out, since they do not name the new inputs.

  Args:
    file: a sound .tflite.

  Returns:
    The file as it is, without pairs, where it has no resource variables.

  Raises:
    NotApplicable: naming the variable or the operator that stands in the way.
  """
  states = [s for s in states_of(file, {}) if s.kind == RESOURCE]
  if not any(op.name in _VARIABLES for op in file.subgraph.operators):
    return ExternalState(file, ())
  model = file.unpack()
  flows = {flow.name: flow for flow in variable_flows(model)}
  _require_simple(file, model, states, flows)
  _drop_variables(model, flows)
  graph = model.subgraphs[0]
  inputs, outputs = (list(map(int, v)) for v in (graph.inputs, graph.outputs))
  pairs = []
  for state in states:
    if state.reads < 0:  # nothing comes of it
      continue
    if state.writes in (-1, state.reads):
      tensor = graph.tensors[state.reads]
      tensor.buffer = add_buffer(model, state.initial_array())
      continue
    inputs.append(state.reads)
    if state.writes not in outputs:  # the answer, or another's state too
      outputs.append(state.writes)
    place = outputs.index(state.writes)
    pairs.append(StatePair(len(inputs) - 1, place, state))
  graph.inputs, graph.outputs = (
    np.array(places, np.int32) for places in (inputs, outputs)
  )
  return ExternalState(ModelFile.packed(model, file.name), tuple(pairs))


def _drop_variables(
  model: schema.ModelT, flows: dict[str, VariableFlow]
) -> None:
  """Takes the operators of variables out, and the subgraph that ran once."""
  graph = model.subgraphs[0]
  graph.operators = [
    op for op in graph.operators if op_name(model, op) not in _VARIABLES
  ]
  twins = dict(pair for flow in flows.values() for pair in flow.same)
  for op in graph.operators:
    op.inputs = np.array([twins.get(int(i), int(i)) for i in op.inputs], "<i4")
  graph.outputs = [twins.get(int(i), int(i)) for i in graph.outputs]
  model.subgraphs, model.signatureDefs = [graph], None
  empty_unused_buffers(model)


def _require_simple(
  file: ModelFile,
  model: schema.ModelT,
  states: list[StateTensor],
  flows: dict[str, VariableFlow],
) -> None:
  """Refuses variables whose use is not that of one step after the other."""
  graph = file.subgraph
  calls = {
    number
    for number, op in enumerate(model.subgraphs[0].operators)
    if _runs_subgraphs(op) and op_name(model, op) != "CALL_ONCE"
  }
  if calls:
    number = min(calls)
    raise NotApplicable(
      f"{file.name}: operator {number} {graph.operators[number].name} runs "
      "another subgraph, which may use the variables too; run the file with "
      "its own variables"
    )
  made = {
    o for op in graph.operators if op.name not in _VARIABLES for o in op.outputs
  }
  for state in states:
    why = ""
    if state.initial is None:
      why = "starts at what the file computes, which is not known before"
    elif state.writes >= 0 and state.writes not in {*made, state.reads}:
      why = "is assigned an input, a constant or a variable as it is"
    else:
      for one, other in ((state.reads, state.writes), *flows[state.name].same):
        if min(one, other) >= 0 and not _same_form(file, one, other):
          why = "is read in another shape, type or quantization than assigned"
    if why:
      raise NotApplicable(
        f"{file.name}: variable {state.name!r} {why}; run the file with its "
        "own variables"
      )


def _runs_subgraphs(op: schema.OperatorT) -> bool:
  options = op.builtinOptions
  return any("ubgraph" in field for field in vars(options or object))


def _same_form(file: ModelFile, one: int, other: int) -> bool:
  first, second = (file.subgraph.tensors[i] for i in (one, other))
  return (first.shape, first.dtype, first.scales, first.zero_points) == (
    second.shape,
    second.dtype,
    second.scales,
    second.zero_points,
  )
