"""Check each operator: its tensors, options, scales, shapes and subgraphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

NAMES: dict[int, str] = {
  code: name
  for name, code in vars(schema.BuiltinOperator).items()
  if isinstance(code, int)
}


Check = Callable[
  [str, schema.OperatorT, Sequence[schema.TensorT], Sequence[schema.BufferT]],
  str,
]
"""Looks at an operator by its name, with the tensors of its subgraph and the
file's buffers; gives what is wrong, or nothing."""


def check_graphs(model: schema.ModelT, checks: Sequence[Check]) -> None:
  """Checks every operator and signature of a model whose indices are right.

  Args:
    model: unpacked.
    checks: in order; each may rely on those before it.

  Raises:
    ValueError: naming the operator, and what is wrong with it.
  """
  for place, graph in enumerate(model.subgraphs):
    for number, operator in enumerate(graph.operators or []):
      code = model.operatorCodes[operator.opcodeIndex]
      name = NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
      for check in checks:
        fault = check(name, operator, graph.tensors or [], model.buffers)
        if fault:
          raise ValueError(f"subgraph {place} operator {number} {name} {fault}")
  _check_calls(model)
  _check_signatures(model)


def _check_calls(model: schema.ModelT) -> None:
  """Checks that operators which run subgraphs run some that can end.

  Raises:
    ValueError: naming the operator.
  """
  calls: dict[int, set[int]] = {}
  for number, graph in enumerate(model.subgraphs):
    calls[number] = set()
    for place, operator in enumerate(graph.operators or []):
      for called in _called(operator):
        if not 0 < called < len(model.subgraphs):
          raise ValueError(
            f"subgraph {number} operator {place} runs subgraph {called} of "
            f"{len(model.subgraphs)}"
          )
        calls[number].add(called)
      _check_ends(model, operator, f"subgraph {number} operator {place}")
  while ends := {n for n, called in calls.items() if not called}:
    calls = {n: c - ends for n, c in calls.items() if n not in ends}
  if calls:
    names = ", ".join(map(str, sorted(calls)))
    raise ValueError(
      f"running subgraph {names} never ends: they run themselves"
    )


def _called(operator: schema.OperatorT) -> Iterator[int]:
  """The subgraphs that an operator runs."""
  options = operator.builtinOptions
  for field in (
    "condSubgraphIndex",
    "bodySubgraphIndex",
    "thenSubgraphIndex",
    "elseSubgraphIndex",
    "initSubgraphIndex",
  ):
    if hasattr(options, field):
      yield int(getattr(options, field))


def _check_ends(
  model: schema.ModelT, operator: schema.OperatorT, what: str
) -> None:
  """What flows into and out of a subgraph that is run has to fit."""
  options = operator.builtinOptions
  given, made = len(_list(operator.inputs)), len(_list(operator.outputs))
  if isinstance(options, schema.WhileOptionsT):
    ends = {options.condSubgraphIndex: (given, 1),
            options.bodySubgraphIndex: (given, made)}  # fmt: skip
    if given != made:
      raise ValueError(f"{what} takes {given} tensors and gives {made}")
  elif isinstance(options, schema.IfOptionsT):
    ends = {options.thenSubgraphIndex: (given - 1, made),
            options.elseSubgraphIndex: (given - 1, made)}  # fmt: skip
  else:
    return
  for number, wanted in ends.items():
    graph = model.subgraphs[number]
    held = len(_list(graph.inputs)), len(_list(graph.outputs))
    if held != wanted:
      raise ValueError(
        f"{what} runs subgraph {number} of {held[0]} inputs and {held[1]} "
        f"outputs, needs {wanted[0]} and {wanted[1]}"
      )


def _check_signatures(model: schema.ModelT) -> None:
  """Checks that signatures name subgraphs and tensors that are there.

  Raises:
    ValueError: naming the signature.
  """
  for number, signature in enumerate(model.signatureDefs or []):
    if not 0 <= signature.subgraphIndex < len(model.subgraphs):
      raise ValueError(
        f"signature {number} is of subgraph {signature.subgraphIndex} of "
        f"{len(model.subgraphs)}"
      )
    count = len(model.subgraphs[signature.subgraphIndex].tensors or [])
    entries: Sequence[Any] = [
      *(signature.inputs or []),
      *(signature.outputs or []),
    ]
    for entry in entries:
      if not 0 <= entry.tensorIndex < count:
        raise ValueError(
          f"signature {number} names tensor {entry.tensorIndex} of {count}"
        )


def _list(values: Iterable[Any] | None) -> list[Any]:
  return [] if values is None else list(values)
