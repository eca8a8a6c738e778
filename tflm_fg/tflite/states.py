"""Find what a model keeps from one step of a stream to the next.

Three forms are known. Resource variables are read and assigned by operators of
their own. Variable tensors belong to one operator, such as an LSTM. External
state is inputs that the last step's outputs go to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.model_file import ModelFile, op_name
from tflm_fg.tflite.subgraph import Subgraph, Tensor, is_state
from tflm_fg.types import Array, TflmFgError

RESOURCE, VARIABLE, EXTERNAL = (
  "resource variable",
  "variable tensor",
  "external",
)
"""The kinds of state: as the file declares them."""

StatePairs = Mapping[str | int, str | int]
"""Inputs and the outputs that go to them in the next step, each by its name or
its position."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StateTensor:
  """What a stream carries from one step to the next.

  Attributes:
    name: of the variable, the tensor or the input.
    kind: `RESOURCE`, `VARIABLE` or `EXTERNAL`.
    shape: its dimensions.
    dtype: a name of the schema's types in lower case.
    scale: of its quantization; 0 for none.
    zero_point: the same.
    initial: its bytes at the start of a stream, little-endian; None where the
      file computes them when it starts.
    reads: the tensor of subgraph 0 that holds it when a step begins; -1 for a
      variable that no step reads.
    writes: the tensor that holds it when a step ends; -1 for a variable that no
      step assigns.
    is_set: whether the file itself says how it starts. LiteRT reads a resource
      variable only once it is set; TFLM gives it zero points.
  """

  name: str
  kind: str
  shape: tuple[int, ...]
  dtype: str
  scale: float
  zero_point: int
  initial: bytes | None = dataclasses.field(repr=False)
  reads: int
  writes: int
  is_set: bool = True

  @property
  def num_bytes(self) -> int:
    """Bytes that it takes."""
    return int(np.prod(self.shape, dtype=np.int64)) * _item(self.dtype)

  @property
  def starts_at_zero(self) -> bool:
    """Whether every number of it is the zero point when a stream starts."""
    return self.initial == _zeros(self.shape, self.dtype, self.zero_point)

  def initial_array(self) -> Array:
    """What it holds when a stream starts, of `dtype` and `shape`.

    Raises:
      TflmFgError: if the file computes it when it starts.
    """
    if self.initial is None:
      raise TflmFgError(
        f"state {self.name!r}: the file computes it when it starts, so its "
        "first value is not known; run it with its own variables"
      )
    return np.frombuffer(self.initial, self.dtype).reshape(self.shape)


class VariableFlow(NamedTuple):
  """How a step of subgraph 0 uses a resource variable.

  Attributes:
    name: the name that all handles of it share.
    reads: the tensor of its first READ_VARIABLE; -1 for none.
    writes: what its last ASSIGN_VARIABLE stores; -1 for none.
    same: later reads of it, with the tensor that has the same numbers.
  """

  name: str
  reads: int
  writes: int
  same: tuple[tuple[int, int], ...]


def states_of(
  file: ModelFile, pairs: StatePairs | None = None
) -> tuple[StateTensor, ...]:
  """All state of a file's first subgraph, in the order in which it is declared.

  Args:
    file: a sound .tflite.
    pairs: which inputs are state, and the outputs that go to them; None to
      find them by shape, dtype and quantization, see `external_pairs`.

  Raises:
    TflmFgError: if it is not clear which outputs go to which inputs.
  """
  return (
    *_resources(file),
    *(
      _state(file.subgraph, index, VARIABLE, index, index)
      for index, tensor in enumerate(file.subgraph.tensors)
      if tensor.is_variable
    ),
    *(
      _state(
        file.subgraph,
        file.subgraph.inputs[place],
        EXTERNAL,
        file.subgraph.inputs[place],
        file.subgraph.outputs[made],
      )
      for place, made in external_pairs(file, pairs)
    ),
  )


def has_state(graph: Subgraph) -> bool:
  """Whether a subgraph has variables of either kind."""
  return graph.keeps_state or any(
    op.name == "VAR_HANDLE" for op in graph.operators
  )


def _resources(file: ModelFile) -> list[StateTensor]:
  """The state that resource variables hold."""
  if not any(op.name == "VAR_HANDLE" for op in file.subgraph.operators):
    return []
  model = file.unpack()
  first = _first_values(model)
  found = []
  for flow in variable_flows(model):
    index = flow.reads if flow.reads >= 0 else flow.writes
    if index < 0:
      continue  # a handle that nothing uses
    state = _state(file.subgraph, index, RESOURCE, flow.reads, flow.writes)
    found.append(
      dataclasses.replace(
        state,
        name=flow.name,
        initial=first.get(flow.name, state.initial),
        is_set=flow.name in first,
      )
    )
  return found


def _state(
  graph: Subgraph, index: int, kind: str, reads: int, writes: int
) -> StateTensor:
  """State of a tensor's form, which starts at its zero point."""
  tensor = graph.tensors[index]
  point = tensor.zero_points[0] if tensor.zero_points else 0
  return StateTensor(
    name=tensor.name,
    kind=kind,
    shape=tensor.shape,
    dtype=tensor.dtype,
    scale=tensor.scales[0] if tensor.scales else 0.0,
    zero_point=point,
    initial=_zeros(tensor.shape, tensor.dtype, point),
    reads=reads,
    writes=writes,
  )


def _item(dtype: str) -> int:
  try:
    return np.dtype(dtype).itemsize
  except TypeError:
    return 0


def _zeros(shape: tuple[int, ...], dtype: str, point: int) -> bytes | None:
  """The bytes of a tensor of zero points; None where it has no size here."""
  if not _item(dtype) or any(size < 0 for size in shape):
    return None
  return np.full(shape, point, dtype).tobytes()


def variable_key(op: schema.OperatorT) -> str:
  """What handles of one variable have in common."""
  names = op.builtinOptions.container, op.builtinOptions.sharedName
  return "/".join(
    (name or b"").decode("utf-8", "replace") for name in names if name
  )


def variable_flows(model: schema.ModelT) -> list[VariableFlow]:
  """How subgraph 0 of an unpacked model uses each resource variable."""
  handles: dict[int, str] = {}
  held: dict[str, int] = {}  # what a variable holds at this point of the step
  reads: dict[str, int] = {}
  writes: dict[str, int] = {}
  same: dict[str, list[tuple[int, int]]] = {}
  for op in model.subgraphs[0].operators:
    name = op_name(model, op)
    if name == "VAR_HANDLE":
      handles[int(op.outputs[0])] = variable_key(op)
      same.setdefault(variable_key(op), [])
    elif name in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
      key = handles.get(int(op.inputs[0]))
      if key is None:  # passed in from elsewhere
        continue
      if name == "ASSIGN_VARIABLE":
        held[key] = writes[key] = int(op.inputs[1])
      elif key in held:
        same[key].append((int(op.outputs[0]), held[key]))
      else:
        held[key] = reads[key] = int(op.outputs[0])
  return [
    VariableFlow(key, reads.get(key, -1), writes.get(key, -1), tuple(twins))
    for key, twins in same.items()
  ]


def _first_values(model: schema.ModelT) -> dict[str, bytes | None]:
  """What the subgraphs that run once assign, by the variables' names.

  Returns:
    The bytes of constants; None for what is computed.
  """
  found: dict[str, bytes | None] = {}
  for op in model.subgraphs[0].operators:
    if op_name(model, op) != "CALL_ONCE":
      continue
    graph = model.subgraphs[op.builtinOptions.initSubgraphIndex]
    handles: dict[int, str] = {}
    for inner in graph.operators or []:
      name = op_name(model, inner)
      if name == "VAR_HANDLE":
        handles[int(inner.outputs[0])] = variable_key(inner)
      elif name == "ASSIGN_VARIABLE" and int(inner.inputs[0]) in handles:
        held: Any = model.buffers[graph.tensors[inner.inputs[1]].buffer].data
        key = handles[int(inner.inputs[0])]
        found[key] = None if held is None else bytes(bytearray(held))
  return found


def external_pairs(
  file: ModelFile, pairs: StatePairs | None = None
) -> tuple[tuple[int, int], ...]:
  """Which inputs are state, and which outputs go to them in the next step.

  Where nobody says, an input beside the one for samples is state if exactly one
  output has its shape, type and quantization, and no other input has. The
  input for samples is the one that was chosen; else the only one that is like
  no output; else, where all are like outputs, the first, and then the first
  output is the answer.

  Args:
    file: a sound .tflite.
    pairs: inputs and their outputs, each by its name or its position.

  Returns:
    (position among the inputs, position among the outputs), in the order of
    inputs; none for a file of one input.

  Raises:
    TflmFgError: naming the input that pairs with no output, or with several.
  """
  graph = file.subgraph
  ins = [graph.tensors[i] for i in graph.inputs]
  outs = [graph.tensors[i] for i in graph.outputs]
  if pairs is not None:
    given = {
      _position(file, ins, "input", i): _position(file, outs, "output", o)
      for i, o in pairs.items()
    }
    _require_alike(file, ins, outs, given)
    return tuple(sorted(given.items()))
  if len(ins) < 2:
    return ()
  meant, answers = _meant(graph, ins, outs)
  rest = {n: t for n, t in enumerate(outs) if n not in answers}
  found = []
  for place, tensor in enumerate(ins):
    if place == meant:
      continue
    made = [n for n, other in rest.items() if is_state(tensor, [other])]
    twins = [
      t for n, t in enumerate(ins) if n != meant if is_state(t, [tensor])
    ]
    if len(made) != 1 or len(twins) != 1:
      raise TflmFgError(_unclear(file, tensor, [outs[n] for n in made], twins))
    found.append((place, made[0]))
  return tuple(found)


def _meant(
  graph: Subgraph, ins: list[Tensor], outs: list[Tensor]
) -> tuple[int, tuple[int, ...]]:
  """The input for samples, and outputs that are the answer, not state."""
  chosen = () if graph.chosen_output is None else (graph.chosen_output,)
  if graph.chosen_input is not None:
    return graph.chosen_input, chosen
  alone = [n for n, tensor in enumerate(ins) if not is_state(tensor, outs)]
  if len(alone) == 1:
    return alone[0], chosen
  return 0, chosen or (() if alone else (0,))


def _unclear(
  file: ModelFile, tensor: Tensor, made: list[Tensor], twins: list[Tensor]
) -> str:
  """Why an input does not pair with one output."""
  form = f"{list(tensor.shape)} {tensor.dtype}"
  if not made:
    why = f"is like no output in shape, type and quantization ({form})"
  elif len(twins) > 1:
    names = ", ".join(repr(t.name) for t in twins)
    why = f"is one of several alike ({names}: {form})"
  else:
    names = ", ".join(repr(t.name) for t in made)
    why = f"is like several outputs ({names}: {form})"
  return (
    f"{file.name}: input {tensor.name!r} {why}, so it is not clear which "
    "output is its next state; say it in Python with "
    "StreamModel.open(..., pairs={input name: output name})"
  )


def _position(
  file: ModelFile, tensors: list[Tensor], what: str, named: str | int
) -> int:
  """A tensor's place in a list, by its name or its position."""
  names = [tensor.name for tensor in tensors]
  if isinstance(named, int) and 0 <= named < len(names):
    return named
  if names.count(str(named)) == 1:
    return names.index(str(named))
  raise TflmFgError(
    f"{file.name}: pairs name {what} {named!r}, which is none of its {what}s, "
    f"{', '.join(map(repr, names))}"
  )


def _require_alike(
  file: ModelFile, ins: list[Tensor], outs: list[Tensor], pairs: dict[int, int]
) -> None:
  """Refuses a given pair that differs, and one output for two inputs."""
  for place, made in pairs.items():
    if not is_state(ins[place], [outs[made]]):
      raise TflmFgError(
        f"{file.name}: output {outs[made].name!r} cannot be the next "
        f"{ins[place].name!r}: shapes, types or quantization differ"
      )
  if len(set(pairs.values())) < len(pairs) or len(pairs) == len(ins):
    raise TflmFgError(
      f"{file.name}: pairs must give each state an output of its own, and "
      "leave one input for the samples"
    )
