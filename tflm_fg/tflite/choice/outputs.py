"""Find which of a file's outputs is meant, and what leads to it.

A file may give several outputs, in an order that its converter chose. One of
them is trained and scored. Whoever opens a file may say which; else it is
chosen where there is no doubt, and refused where there is. Everything behind
that follows the flow of data back from that output: its logits, its head, and
the layers that can move it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, NamedTuple

from tflm_fg.tflite.layers import (
  HEAD_OPS,
  Site,
  logits_before,
  sites_of,
)
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.subgraph import Subgraph, is_state
from tflm_fg.types import TflmFgError

CURE = (
  "say which one is meant with --output=NAME or --output=INDEX (output= in "
  "Python)"
)


def with_output(file: ModelFile, output: str | int | None) -> ModelFile:
  """The file with one of its outputs chosen.

  Args:
    file: a sound .tflite.
    output: a position among its outputs, from 0; an output tensor's name; or
      the name that the file's signature gives it. None leaves the file as it
      is.

  Raises:
    TflmFgError: if the file has no such output.
  """
  if output is None:
    return file
  position = _position(file.subgraph, output, file.name)
  graph = dataclasses.replace(file.subgraph, chosen_output=position)
  return dataclasses.replace(file, subgraph=graph)


def like(file: ModelFile, other: ModelFile) -> ModelFile:
  """The file with the choices of input and output that another has.

  Args:
    file: was made of the other, and has as many inputs and outputs.
    other: the other.
  """
  graph = dataclasses.replace(
    file.subgraph,
    chosen_input=other.subgraph.chosen_input,
    chosen_output=other.subgraph.chosen_output,
  )
  return dataclasses.replace(file, subgraph=graph)


def _position(graph: Subgraph, output: str | int, name: str) -> int:
  text = str(output).strip()
  if text.isdigit() and int(text) < len(graph.outputs):
    return int(text)
  names = [graph.tensors[i].name for i in graph.outputs]
  for known in (names, graph.output_keys):
    if list(known).count(text) == 1:
      return list(known).index(text)
  raise TflmFgError(
    f"{name}: output {text!r} is none of its outputs, {listed(graph)}; {CURE}"
  )


def listed(graph: Subgraph) -> str:
  """All outputs with their names, shapes and types, in one line."""
  return ", ".join(
    f"{row['index']} {row['name']!r} {row['shape']} {row['dtype']}"
    for row in described(graph)
  )


def described(graph: Subgraph) -> list[dict[str, Any]]:
  """All outputs: index, name, signature's name, shape, dtype; JSON-ready."""
  keys = graph.output_keys or ("",) * len(graph.outputs)
  return [
    {
      "index": position,
      "name": graph.tensors[tensor].name,
      "signature_name": key,
      "shape": list(graph.tensors[tensor].shape),
      "dtype": graph.tensors[tensor].dtype,
    }
    for position, (tensor, key) in enumerate(zip(graph.outputs, keys))
  ]


class Meant(NamedTuple):
  """The output that is meant.

  Attributes:
    position: among the file's outputs.
    reason: why it was chosen for the user; empty where there was no choice.
  """

  position: int
  reason: str = ""


def meant_output(graph: Subgraph, name: str = "model") -> Meant:
  """The output that is trained and scored.

  Where nobody has chosen, it is the one that is left when outputs are taken
  away that no quantized layer makes, that are an input of the next run, or that
  give the same numbers as one before them, such as the logits of a softmax. An
  output on the way to another one is not taken away: an embedding may be meant.

  Raises:
    TflmFgError: if there is none, or more than one is left.
  """
  if not graph.outputs:
    raise TflmFgError(f"{name}: the model has no output")
  if graph.chosen_output is not None:
    return Meant(graph.chosen_output)
  if len(graph.outputs) == 1:
    return Meant(0)
  logits = [logits_before(graph, tensor) for tensor in graph.outputs]
  reasons = _reasons_against(graph, logits)
  left = [position for position, why in enumerate(reasons) if not why]
  if len(left) != 1:
    raise TflmFgError(
      f"{name}: gives {len(graph.outputs)} outputs, {listed(graph)}; {CURE}"
    )
  why = " or ".join(dict.fromkeys(reason for reason in reasons if reason))
  return Meant(left[0], f"every other one {why}")


def _reasons_against(graph: Subgraph, logits: list[int]) -> list[str]:
  """Why each output is not the one that is meant; empty where it may be."""
  trained = {graph.output(site.operator) for site in sites_of(graph)}
  reasons = []
  for position, tensor in enumerate(logits):
    found = graph.tensors[tensor]
    above = {o for n in leading_to(graph, [tensor]) for o in _outputs(graph, n)}
    fits = found.dtype in ("int8", "int16", "uint8") and found.has_scale
    if len(graph.inputs) > 1 and _is_next_state(graph, position):
      reasons.append("is the next run's input")
    elif not fits or not trained & above:
      reasons.append("is made by no quantized layer")
    elif tensor in logits[:position]:
      reasons.append("gives the same numbers")
    else:
      reasons.append("")
  return reasons


def _is_next_state(graph: Subgraph, position: int) -> bool:
  """Whether an output is made to be an input of the next run."""
  own = [graph.tensors[graph.outputs[position]]]
  return any(is_state(graph.tensors[i], own) for i in graph.inputs)


def _outputs(graph: Subgraph, operator: int) -> tuple[int, ...]:
  return graph.operators[operator].outputs


def choice_note(graph: Subgraph) -> str:
  """Which output was chosen for a user who had a choice; empty without."""
  meant = meant_output(graph)
  if not meant.reason:
    return ""
  return (
    f"of {len(graph.outputs)} outputs ({listed(graph)}) output "
    f"{meant.position} is trained and scored, since {meant.reason}; "
    "choose another with --output"
  )


def leading_to(graph: Subgraph, tensors: Collection[int]) -> list[int]:
  """The operators that some tensors depend on, in the order of running."""
  wanted, needed = set(tensors), []
  for number in reversed(range(len(graph.operators))):
    op = graph.operators[number]
    if wanted & set(op.outputs):
      needed.append(number)
      wanted |= {i for i in op.inputs if i >= 0}
  return needed[::-1]


def find_logits(graph: Subgraph, name: str = "model") -> int:
  """The tensor in front of a final SOFTMAX or LOGISTIC, or the output.

  Operators that only shape or quantize may stand around the SOFTMAX.

  Raises:
    TflmFgError: if it is not clear which output is meant.
  """
  position = meant_output(graph, name).position
  return logits_before(graph, graph.outputs[position])


def served_logits(graph: Subgraph, name: str = "model") -> int:
  """The logits as the file gives them away.

  Training looks at a layer of int16 weights before its sums are rounded to
  int8; whoever runs the file does not see them.
  """
  logits = find_logits(graph, name)
  for op in graph.operators:
    if op.name == "QUANTIZE" and op.inputs[0] == logits:
      rounded = op.outputs[0]
      types = [graph.tensors[i].dtype for i in (logits, rounded)]
      if types == ["int16", "int8"]:
        return rounded
  return logits


def operators_between(graph: Subgraph, tensor: int, output: int) -> list[str]:
  """Names of the operators on the way from a tensor to an output."""
  reached, found = {tensor}, []
  needed = set(leading_to(graph, [output]))
  for number, op in enumerate(graph.operators):
    if number in needed and reached & set(op.inputs):
      reached |= set(op.outputs)
      found.append(op.name)
  return found


def sites_before_output(graph: Subgraph, name: str = "model") -> list[Site]:
  """The layers that can move the output that is meant, in order."""
  needed = set(leading_to(graph, [find_logits(graph, name)]))
  return [site for site in sites_of(graph) if site.operator in needed]


def last_head(graph: Subgraph, name: str = "model") -> Site | None:
  """The last FULLY_CONNECTED or CONV_2D before the output; None if none is."""
  heads = [
    site
    for site in sites_before_output(graph, name)
    if graph.operators[site.operator].name in HEAD_OPS
  ]
  return heads[-1] if heads else None
