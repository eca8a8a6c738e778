"""Say which layers, and what of them, the words of --trainable mean."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from tflm_fg.tflite.choice.outputs import (
  CURE,
  last_head,
  listed,
  meant_output,
  sites_before_output,
)
from tflm_fg.tflite.layers import (
  Site,
  dead_channels,
  reads_one_vector,
  sites_of,
  untrainable,
)
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.surgery.repair import may_have_gains
from tflm_fg.types import NotApplicable, TflmFgError


def chosen_layers(
  graph: Subgraph, parts: list[str], name: str
) -> dict[Site, set[str]]:
  """Which roles of which operators the user asked for."""
  sites = sites_before_output(graph, name)
  if not sites:
    raise TflmFgError(
      f"{name}: no FULLY_CONNECTED or convolution with constant weights "
      f"{'leads to its output' if sites_of(graph) else _NO_WEIGHTS}"
    )
  wanted: dict[Site, set[str]] = {}
  for part in parts:
    if part == "prompt":
      continue
    found = _choose_part(graph, sites, part, name)
    for site, roles in found.items():
      wanted.setdefault(site, set()).update(roles)
  for site, roles in wanted.items():
    refuse_untrainable(graph, site, name, roles)
    if {"kernel", "scale"} <= roles:
      raise TflmFgError(
        f"{name}: {graph.tensors[site.kernel].name!r} cannot train both its "
        "weights and its gains; leave out gain, or the weights"
      )
  return wanted


_NO_WEIGHTS = "(float16 models unpack theirs at run time); quantize to int8"


def _choose_part(
  graph: Subgraph, sites: list[Site], part: str, name: str
) -> dict[Site, set[str]]:
  bias_alone = part in ("bias", "first-bias", "inner-bias")
  roles = {"bias"} if bias_alone else {"kernel", "bias"}
  good = [
    s
    for s in sites
    if untrainable(graph, s, roles) is None
    and not dead_channels(graph, s.operator).all()
  ]
  if part in ("head", "wide-head"):
    head = last_head(graph)
    if head is None:
      raise TflmFgError(f"{name}: no FULLY_CONNECTED or CONV_2D for a head")
    return {head: roles}
  if part == "first-bias":
    return {sites[0]: roles}
  if part == "inner-bias":
    head = last_head(graph)
    return {site: set(roles) for site in good if site != head}
  if part == "gain":
    return _with_gains(graph, good, name)
  if part in ("bias", "all"):  # where all are refused: say why, by name
    return {site: set(roles) for site in good or sites[-1:]}
  return _match(graph, sites, part, name)


def _with_gains(
  graph: Subgraph, good: list[Site], name: str
) -> dict[Site, set[str]]:
  """The layers before the head whose channels have, or may have, scales."""
  head = last_head(graph)
  fit = [s for s in good if s != head and may_have_gains(graph, s)]
  if not fit:
    raise NotApplicable(
      f"{name}: no layer before the head whose kernel has a scale for each "
      "channel; convert it with kernels of one scale a channel, or choose "
      "another --trainable"
    )
  return {site: {"scale"} for site in fit}


def _match(
  graph: Subgraph, sites: list[Site], pattern: str, name: str
) -> dict[Site, set[str]]:
  try:
    expression = re.compile(pattern)
  except re.error as fault:
    raise TflmFgError(
      f"--trainable={pattern!r} is not a regular expression: {fault}"
    ) from None
  found = _named(graph, sites, expression)
  if not found and _named(graph, sites_of(graph), expression):
    raise NotApplicable(
      f"{name}: what --trainable={pattern!r} matches does not lead to the "
      f"output that is trained, {meant_output(graph).position} of "
      f"{listed(graph)}; {CURE}"
    )
  if not found:
    raise TflmFgError(
      f"{name}: --trainable={pattern!r} matches no weight or bias; "
      "tflm-fg-inspect lists their names"
    )
  return found


def _named(
  graph: Subgraph, sites: list[Site], expression: re.Pattern[str]
) -> dict[Site, set[str]]:
  """The roles whose tensors' names match."""
  found: dict[Site, set[str]] = {}
  for site in sites:
    for role, index in (("kernel", site.kernel), ("bias", site.bias)):
      if index >= 0 and expression.search(graph.tensors[index].name):
        found.setdefault(site, set()).add(role)
  return found


def refuse_untrainable(
  graph: Subgraph, site: Site, name: str, roles: Collection[str] = ("kernel",)
) -> None:
  """Refuses a layer that cannot be trained, and says why.

  Raises:
    NotApplicable: naming the operator and its kernel.
  """
  reason = untrainable(graph, site, roles)
  if reason is not None:
    op, kernel = graph.operators[site.operator], graph.tensors[site.kernel]
    raise NotApplicable(
      f"{name}: operator {site.operator} {op.name} {kernel.name!r} cannot be "
      f"trained: {reason}"
    )


def refuse_to_widen(graph: Subgraph, head: Site, name: str) -> None:
  """Refuses a head that nothing can be joined to.

  Raises:
    NotApplicable: saying what the head reads.
  """
  read = graph.tensors[head.activation]
  op = graph.operators[head.operator]
  if read.dtype != "int8" or not read.has_scale:
    raise NotApplicable(
      f"{name}: a wide head needs int8 activations; use --trainable=head"
    )
  several = op.name == "CONV_2D" and math.prod(read.shape[:-1]) != 1
  if several or not reads_one_vector(graph, head.operator):
    raise NotApplicable(
      f"{name}: the head, operator {head.operator} {op.name}, reads "
      f"{list(read.shape)} position by position, and a wide head joins one "
      "vector; use --trainable=head"
    )
