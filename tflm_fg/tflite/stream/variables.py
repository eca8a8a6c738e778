"""Follow the resource variables of a model: how a step reads and assigns them.

An operator VAR_HANDLE names a variable, and others read or assign what the
handle stands for. A subgraph that CALL_ONCE runs may give first values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.model_file import op_name


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


def variable_key(op: schema.OperatorT) -> str:
  """What handles of one variable have in common."""
  options = op.builtinOptions
  names = (getattr(options, key, b"") for key in ("container", "sharedName"))
  return "/".join(
    (name or b"").decode("utf-8", "replace") for name in names if name
  )


def _handle(op: schema.OperatorT) -> int:
  """The tensor that a VAR_HANDLE makes; -1 where a file leaves it out."""
  return next(map(int, () if op.outputs is None else op.outputs), -1)


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
      handles[_handle(op)] = variable_key(op)
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


def first_values(model: schema.ModelT) -> dict[str, bytes | None]:
  """What the subgraphs that run once assign, by the variables' names.

  Returns:
    The bytes of constants; None for what is computed.
  """
  found: dict[str, bytes | None] = {}
  for op in model.subgraphs[0].operators:
    if op_name(model, op) != "CALL_ONCE":
      continue
    number = getattr(op.builtinOptions, "initSubgraphIndex", -1)
    if not 0 < number < len(model.subgraphs):
      continue
    graph = model.subgraphs[number]
    handles: dict[int, str] = {}
    for inner in graph.operators or []:
      name = op_name(model, inner)
      if name == "VAR_HANDLE":
        handles[_handle(inner)] = variable_key(inner)
      elif name == "ASSIGN_VARIABLE" and int(inner.inputs[0]) in handles:
        held: Any = model.buffers[graph.tensors[inner.inputs[1]].buffer].data
        key = handles[int(inner.inputs[0])]
        found[key] = None if held is None else bytes(bytearray(held))
  return found
