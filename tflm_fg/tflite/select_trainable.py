"""Choose what may train in a .tflite and mark it."""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite import model_file, training_metadata
from tflm_fg.tflite.layers import (
  Site,
  find_logits,
  last_head,
  served_logits,
  sites_of,
  tensor_name,
  untrainable,
)
from tflm_fg.tflite.model_file import op_name
from tflm_fg.tflite.surgery.input_prompt import (
  insert_prompt,
  prompts_of,
  role_of,
)
from tflm_fg.tflite.surgery.repair import mend
from tflm_fg.tflite.surgery.weight_precision import (
  by_kernel,
  refine,
  with_biases,
)
from tflm_fg.tflite.surgery.wide_head import Pooled, is_wide, widen_head
from tflm_fg.types import Mark, NotApplicable, TflmFgError, TrainableTensor


class MarkedModel(NamedTuple):
  """A marked file and what had to be changed before it could be marked."""

  data: bytes
  mark: Mark
  notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphOptions:
  """How the graph may change for what shall train.

  Attributes:
    gain: the prompt has a gain in front of its offset.
    layers: a regular expression on output tensors' names, the layers that a
      wide head joins; all where it is empty.
    pooled: what was measured of those layers; empty for nothing.
    weights: what the kernels that shall train are in the engine, as far as
      they are dense or pointwise: "int8", "int16", or "int8x2".
  """

  gain: bool = False
  layers: str = ""
  pooled: tuple[Pooled, ...] = ()
  weights: str = "int8"

  def __post_init__(self) -> None:
    try:
      re.compile(self.layers)
    except re.error as fault:
      raise TflmFgError(
        f"--wide_layers={self.layers!r} is not a regular expression: {fault}"
      ) from None


def mark_trainable(
  data: bytes,
  trainable: str = "head",
  name: str = "model",
  graph_options: GraphOptions | None = None,
  weights: str | None = None,
) -> MarkedModel:
  """Marks what may train; all else stays as it is.

  Args:
    data: a .tflite, marked or not.
    trainable: "head" (the last FULLY_CONNECTED or CONV_2D with its bias),
      "wide-head" (the same, reading earlier layers too), "prompt" (an offset
      a channel of the input), "bias", "first-bias" (the first layer's),
      "inner-bias" (all but the head's), "all",
      a regular expression on tensor names, or several of these joined by
      commas.
    name: what to call the file in errors.
    graph_options: how the graph grows for a prompt or a wide head.
    weights: the surgery's, where it is not None.

  Returns:
    The marked file. Operators are added for a prompt or a wide head, without
    a change of the outputs, and for 16-bit weights, with a change of at most
    about one step. A constant that is shared, a bias that the
    converter dropped, a useless scale and constants off their 16-byte boundary
    are mended first. Each comes with a note; without a note the marked file
    holds the original bytes whole.

  Raises:
    TflmFgError: if the file is not sound or the choice cannot be trained.
  """
  old = _old_mark(data, name)
  data = training_metadata.strip(data, name)
  model = model_file.read(data, name)
  _refuse_foreign_operators(model, name)
  parts = [p for p in (p.strip() for p in trainable.split(",")) if p]
  if not parts:
    raise TflmFgError(f"--trainable={trainable!r} names nothing; try head")
  graph_options = graph_options or GraphOptions()
  notes = _operate(model, parts, graph_options, name)
  wanted = _choose(model, parts, name)
  weights = weights or graph_options.weights
  notes += mend(model, with_biases(wanted, weights), name)
  roles = by_kernel(model, wanted)
  notes += refine(model, roles, weights, name)
  if not notes and not model_file.is_aligned(data):
    notes = ["constants moved to 16-byte boundaries"]
  if notes:
    data = model_file.pack(model)
    model = model_file.read(data, name)
  head = last_head(model)
  prompts = prompts_of(model) if "prompt" in parts else []
  chosen = Mark(
    trainable=(*_prompts(model, prompts), *_tensors(model, roles)),
    logits=find_logits(model),
    head_input=find_logits(model) if head is None else head.activation,
    frontend=old.frontend if old else None,
    classes=old.classes if old else None,
    statistics=old.statistics if old else {},
  )
  return MarkedModel(
    training_metadata.write_mark(data, chosen), chosen, tuple(notes)
  )


def _operate(
  model: schema.ModelT, parts: list[str], graph_options: GraphOptions, name: str
) -> list[str]:
  """Adds the operators that the choice asks for and that are not there."""
  notes = []
  if "prompt" in parts and not prompts_of(model):
    numbers = insert_prompt(model, graph_options.gain, name)
    notes.append(f"an input prompt of {numbers} numbers inserted")
  if "wide-head" in parts and not is_wide(model):
    head = last_head(model)
    if head is None:
      raise TflmFgError(f"{name}: no FULLY_CONNECTED or CONV_2D for a head")
    _refuse(model, head, name)
    if head.is_finer:
      raise NotApplicable(
        f"{name}: the head has 16-bit weights already; widen the file from "
        "before, with --weights"
      )
    numbers = widen_head(
      model, head, graph_options.layers, graph_options.pooled, name
    )
    notes.append(f"the head reads {numbers} more inputs, of earlier layers")
  return notes


def _old_mark(data: bytes, name: str) -> Mark | None:
  """The mark whose front end and classes a new one keeps; a broken one goes."""
  try:
    return training_metadata.read_mark(data, name)
  except TflmFgError:
    return None


def _refuse_foreign_operators(model: schema.ModelT, name: str) -> None:
  for number, op in enumerate(model.subgraphs[0].operators or []):
    code = model.operatorCodes[op.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema.BuiltinOperator.CUSTOM:
      raise TflmFgError(
        f"{name}: operator {number} is {op_name(model, op)!r}, a custom "
        "operator that only its own delegate can run; use the file from before "
        "it was compiled for the delegate"
      )


def _choose(
  model: schema.ModelT, parts: list[str], name: str
) -> dict[Site, set[str]]:
  """Which roles of which operators the user asked for."""
  sites = sites_of(model)
  if not sites:
    raise TflmFgError(
      f"{name}: no FULLY_CONNECTED or convolution with constant weights "
      "(float16 models unpack theirs at run time); quantize to int8"
    )
  wanted: dict[Site, set[str]] = {}
  for part in parts:
    if part == "prompt":
      continue
    found = _choose_part(model, sites, part, name)
    for site, roles in found.items():
      wanted.setdefault(site, set()).update(roles)
  for site in wanted:
    _refuse(model, site, name)
  return wanted


def _choose_part(
  model: schema.ModelT, sites: list[Site], part: str, name: str
) -> dict[Site, set[str]]:
  good = [s for s in sites if untrainable(model, s) is None]
  if part in ("head", "wide-head"):
    head = last_head(model)
    if head is None:
      raise TflmFgError(f"{name}: no FULLY_CONNECTED or CONV_2D for a head")
    return {head: {"kernel", "bias"}}
  if part == "first-bias":
    return {sites[0]: {"bias"}}
  if part == "inner-bias":
    head = last_head(model)
    return {site: {"bias"} for site in good if site != head}
  if part in ("bias", "all"):
    if not good:  # all are refused: say why, by name
      return {sites[-1]: {"bias"}}
    roles = {"bias"} if part == "bias" else {"kernel", "bias"}
    return {site: set(roles) for site in good}
  return _match(model, sites, part, name)


def _match(
  model: schema.ModelT, sites: list[Site], pattern: str, name: str
) -> dict[Site, set[str]]:
  try:
    expression = re.compile(pattern)
  except re.error as fault:
    raise TflmFgError(
      f"--trainable={pattern!r} is not a regular expression: {fault}"
    ) from None
  tensors = model.subgraphs[0].tensors
  found: dict[Site, set[str]] = {}
  for site in sites:
    for role, index in (("kernel", site.kernel), ("bias", site.bias)):
      if index >= 0 and expression.search(tensor_name(tensors[index])):
        found.setdefault(site, set()).add(role)
  if not found:
    raise TflmFgError(
      f"{name}: --trainable={pattern!r} matches no weight or bias; "
      "tflm-fg-inspect lists their names"
    )
  return found


def _refuse(model: schema.ModelT, site: Site, name: str) -> None:
  reason = untrainable(model, site)
  if reason is not None:
    op = model.subgraphs[0].operators[site.operator]
    tensor = tensor_name(model.subgraphs[0].tensors[site.kernel])
    raise NotApplicable(
      f"{name}: operator {site.operator} {op_name(model, op)} "
      f"{tensor!r} cannot be trained: {reason}"
    )


def _prompts(
  model: schema.ModelT, constants: list[int]
) -> list[TrainableTensor]:
  """The prompt's constants, with the operators that read them."""
  operators = model.subgraphs[0].operators
  return [
    model_file.describe(model, number, index, role_of(model, index))
    for index in constants
    for number, op in enumerate(operators)
    if index in op.inputs
  ]


def _tensors(
  model: schema.ModelT, roles: dict[int, set[str]]
) -> list[TrainableTensor]:
  """The marked tensors, as the mended file has them."""
  return [
    model_file.describe(model, operator, index, role)
    for site in sites_of(model)
    for role, index, operator in site.parts(roles.get(site.kernel, ()))
  ]


def present_mark(
  data: bytes,
  trainable: str | None,
  name: str,
  graph_options: GraphOptions | None = None,
) -> MarkedModel:
  """The file's own mark, or a new one where a choice is given or none stands.

  Args:
    data: a .tflite.
    trainable: as for `mark`; None takes the file's mark, or "head".
    name: what to call the file in errors.
    graph_options: as for `mark`.
  """
  found = training_metadata.read_mark(data, name) if trainable is None else None
  if found is not None:
    return MarkedModel(data, found, ())
  return mark_trainable(data, trainable or "head", name, graph_options)


def unmarked(data: bytes, name: str = "model") -> Mark:
  """What evaluating must know of a file in which nothing shall train."""
  logits = served_logits(model_file.read_shared(data, name))
  return Mark(trainable=(), logits=logits, head_input=logits)
