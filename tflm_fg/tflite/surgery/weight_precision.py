"""Turn int8 layers that shall train into layers of 16-bit weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.layers import Site, sites_of
from tflm_fg.tflite.model_file import subgraph_of
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.surgery.int16_weights import to_int16
from tflm_fg.tflite.surgery.two_byte_weights import to_int8x2
from tflm_fg.types import TflmFgError

_SURGERY: dict[str, Callable[[schema.ModelT, Site], None]] = {
  "int16": to_int16,
  "int8x2": to_int8x2,
}

WEIGHTS = ("int8", *_SURGERY)
"""What a trained kernel is in the engine."""


def refine(
  model: schema.ModelT,
  wanted: Mapping[int, Collection[str]],
  weights: str,
  name: str,
) -> list[str]:
  """Gives layers 16-bit weights, as far as they are dense or pointwise.

  Args:
    model: the unpacked model, edited; their biases are there.
    wanted: what shall train, roles by the kernel's index.
    weights: one of `WEIGHTS`.
    name: what to call the file in errors.

  Returns:
    A note a layer. Kernels and biases keep their tensor indices.

  Raises:
    TflmFgError: if none of the layers can have such weights, or all have
      16-bit weights of the other kind.
  """
  if weights == "int8":
    return []
  if weights not in WEIGHTS:
    raise TflmFgError(
      f"weights {weights!r} is unknown; choose one of {', '.join(WEIGHTS)}"
    )
  graph = subgraph_of(model)
  sites = [
    site for site in sites_of(graph) if "kernel" in wanted.get(site.kernel, ())
  ]
  fitting = [site for site in sites if can_be_finer(graph, site)]
  if not fitting and not any(site.is_finer for site in sites):
    raise TflmFgError(
      f"{name}: --weights={weights} is for kernels of FULLY_CONNECTED and 1x1 "
      "CONV_2D between int8 activations; none is among what shall train"
    )
  others = [
    f"{graph.tensors[site.kernel].name}: has {_held(site)} weights already, "
    "which stay"
    for site in sites
    if site.is_finer and _held(site) != weights
  ]
  if others and not fitting:
    raise TflmFgError(
      f"{name}: --weights={weights}, but {'; '.join(others)}; drop --weights, "
      "or give the file from before"
    )
  notes = []
  for site in reversed(fitting):  # those before keep their places
    _SURGERY[weights](model, site)
    notes.append(f"{graph.tensors[site.kernel].name}: {weights} weights")
  return [*notes[::-1], *others]


def _held(site: Site) -> str:
  """Which 16-bit weights a layer has that has some."""
  return "int8x2" if site.low >= 0 else "int16"


def can_be_finer(graph: Subgraph, site: Site) -> bool:
  """Whether a layer is a product of its last axis with an int8 kernel."""
  op = graph.operators[site.operator]
  if site.is_finer or op.name not in ("FULLY_CONNECTED", "CONV_2D"):
    return False
  kernel, source = graph.tensors[site.kernel], graph.tensors[site.activation]
  out = graph.tensors[op.outputs[0]]
  shapes = [list(t.shape) for t in (kernel, source, out)]
  (rows, *window), (*positions, depth), result = shapes
  return (
    all(t.dtype == "int8" for t in (kernel, source, out))
    and source.has_scale
    and out.has_scale
    and window == [1] * (len(window) - 1) + [depth]
    and result == [*positions, rows]
    and len(positions) in (1, 3)
    and site.bias >= 0
  )


def with_biases(
  wanted: dict[Site, set[str]], weights: str
) -> dict[Site, set[str]]:
  """What must be mended: 16-bit weights need a bias beside them."""
  if weights == "int8":
    return wanted
  return {
    site: roles | {"bias"} if "kernel" in roles else roles
    for site, roles in wanted.items()
  }


def by_kernel(
  graph: Subgraph, wanted: dict[Site, set[str]]
) -> dict[int, set[str]]:
  """Roles by the kernel's index, which lasts when operators are added."""
  roles = {site.operator: which for site, which in wanted.items()}
  return {
    site.kernel: roles[site.operator]
    for site in sites_of(graph)
    if site.operator in roles
  }
