"""Say what a file is and what can train in it: operators, tensors, memory."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from tflm_fg.evaluation import engine_agreement
from tflm_fg.fixed_point.random_bits import probe_input
from tflm_fg.marking import (
  Model,
  in_known_form,
  opened,
  options_for,
  with_change_told,
)
from tflm_fg.memory.footprint import (
  backpropagation,
  forward_gradients,
  inference,
  trainer_bytes,
)
from tflm_fg.placement.run_plan import phases_of
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.registry import open_session
from tflm_fg.runtimes.trial import require_runs
from tflm_fg.tflite.choice.outputs import choice_note, described, meant_output
from tflm_fg.tflite.choice.own_mark import own_mark
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.inputs import has_float_variables, resource_fault
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import (
  MarkedModel,
  input_spec,
  mark_file,
)
from tflm_fg.tflite.split_graph import cut
from tflm_fg.tflite.stream.cut import last_layer
from tflm_fg.tflite.stream.states import states_of
from tflm_fg.tflite.tensors import activation_bytes, describe
from tflm_fg.training.auto import Auto
from tflm_fg.training.objective import Objective, output_spec, width
from tflm_fg.types import TflmFgError, TrainableTensor


def inspect(
  model: Model,
  *,
  trainable: str | None = None,
  graph_options: GraphOptions | None = None,
  runtime: str = "litert",
  strategy: str = "auto",
  output: str | int | None = None,
  input: str | int | None = None,
  name: str | None = None,
) -> dict[str, Any]:
  """Describes a .tflite and what can train in it.

  Args:
    model: the path or the bytes of a .tflite, marked or not.
    trainable: as for `mark_trainable`; None for the file's mark, or "all".
    graph_options: how the file may change for what shall train.
    runtime: the engine whose writes are checked.
    strategy: how weights are set in it.
    output: which of several outputs is meant, as for `mark_trainable`.
    input: which of several inputs takes the samples, as for `mark_trainable`.
    name: what to call the model in errors; by default its path.

  Returns:
    Operators, outputs, state, what marking mends, trainable tensors, whether
    the runtime sees a write to each, bytes of memory, and how far engines are
    apart; JSON-ready. Of a model whose state is resource variables: operators,
    outputs, state and the last layer alone, and a note that says what adapts
    it.

  Raises:
    TflmFgError: in one line, if the file is not sound or nothing can train.
  """
  own = opened(model, name, output, input)
  report = describe_file(own)
  if resource_fault(own.subgraph) and not has_float_variables(own.subgraph):
    return report | describe_stream(own)
  options = options_for(own, trainable or "all", graph_options)
  file = with_change_told(own, in_known_form(own, options))
  found = own_mark(file) if trainable is None else None
  if found is None:
    marked = mark_file(file, trainable or "all", graph_options=options)
  else:
    marked = MarkedModel(file, found, ())
  report["is_marked"] = found is not None
  report["notes"] = list(marked.notes)
  training = describe_training(marked, runtime, strategy)
  return report | training | {"engine_agreement": _agreement(file)}


def _agreement(file: ModelFile) -> list[dict[str, Any]]:
  """How far engines are apart, on samples that fill the input's range."""
  spec = input_spec(file)
  return engine_agreement(file, probe_input(spec.shape[1:], spec.dtype, 0))


def describe_file(file: ModelFile) -> dict[str, Any]:
  """Operators, outputs and inference memory of a file."""
  meant = meant_output(file.subgraph, file.name).position
  return {
    "model_bytes": len(file.data),
    "operators": dict(Counter(op.name for op in file.subgraph.operators)),
    "outputs": [
      {**row, "is_meant": row["index"] == meant}
      for row in described(file.subgraph)
    ],
    "output_note": choice_note(file.subgraph),
    "state": describe_state(file),
    "activation_bytes": activation_bytes(file),
    "aligned_to_16": file.is_aligned,
  }


def describe_state(file: ModelFile) -> list[dict[str, Any]]:
  """What a file keeps from one step of a stream to the next."""
  try:
    states = states_of(file)
  except TflmFgError:  # several inputs, of which none need be state
    states = states_of(file, {})
  return [
    {
      "name": state.name,
      "kind": state.kind,
      "shape": list(state.shape),
      "dtype": state.dtype,
      "bytes": state.num_bytes,
      "starts_at_zero_point": state.starts_at_zero,
    }
    for state in states
  ]


def describe_stream(file: ModelFile) -> dict[str, Any]:
  """What can train in a file whose state is resource variables."""
  graph = file.subgraph
  notes = [resource_fault(graph)]
  answer = graph.outputs[meant_output(graph, file.name).position]
  rows = []
  try:
    site = last_layer(file, answer)
    rows = [
      _row(describe(graph, reader, index, role))
      for role, index, reader in site.parts(("kernel", "bias"))
    ]
  except TflmFgError as fault:
    notes.append(f"{fault}")
  return {
    "is_marked": False,
    "notes": notes,
    "tensors": [],
    "last_layer": rows,
  }


def describe_training(
  marked: MarkedModel, runtime: str, strategy: str
) -> dict[str, Any]:
  """Trainable tensors, the trainer's memory and the write check's verdicts."""
  tensors = marked.mark.trainable
  pieces = cut(marked.file, marked.mark)
  require_runs(marked.file, runtime)
  session = open_session(runtime, pieces.suffix, strategy)
  verdicts = write_check.check_visibility(session, tensors)
  outputs = width(output_spec(marked.file, marked.mark, marked.file.name))
  phases = phases_of(marked, Auto(), Objective())
  trainer = trainer_bytes(tensors, phases, outputs)
  kinds = {
    "inference": inference(marked.file),
    "forward gradients": forward_gradients(
      marked.file, marked.mark, phases, outputs
    ),
    "backpropagation at 16 bits": backpropagation(marked.file, marked.mark),
  }
  return {
    "runtime": runtime,
    "strategy": "in-place" if session.traits.in_place else "rebuild",
    "suffix_bytes": len(pieces.suffix.data),
    "suffix_activation_bytes": activation_bytes(pieces.suffix.file),
    "trainer_bytes": trainer.total,
    "memory": {
      kind: {**dataclasses.asdict(footprint), "total": footprint.total}
      for kind, footprint in kinds.items()
    },
    "tensors": [
      {**_row(v.tensor), "write_seen": v.seen, "cause": v.cause}
      for v in verdicts
    ],
  }


def _row(tensor: TrainableTensor) -> dict[str, Any]:
  return {
    "index": tensor.index,
    "name": tensor.name,
    "operator": f"{tensor.operator} {tensor.op_name}",
    "role": tensor.role,
    "shape": list(tensor.shape),
    "dtype": tensor.dtype,
    "scales": list(tensor.scales),
    "bytes": tensor.num_bytes,
  }
