"""Pair the inputs of a model with the outputs that go to them next."""

from __future__ import annotations

from collections.abc import Mapping

from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.subgraph import Subgraph, Tensor, is_state
from tflm_fg.types import TflmFgError

StatePairs = Mapping[str | int, str | int]
"""Inputs and the outputs that go to them in the next step, each by its name or
its position."""


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
