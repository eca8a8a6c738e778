"""Turn int8 layers that shall train into layers of 16-bit weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.layers import Site, has_scale, sites_of, tensor_name
from tflm_fg.tflite.model_file import TYPE_NAMES, op_name
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
    TflmFgError: if none of the layers can have such weights.
  """
  if weights == "int8":
    return []
  if weights not in WEIGHTS:
    raise TflmFgError(
      f"weights {weights!r} is unknown; choose one of {', '.join(WEIGHTS)}"
    )
  sites = [
    site for site in sites_of(model) if "kernel" in wanted.get(site.kernel, ())
  ]
  fitting = [site for site in sites if can_be_finer(model, site)]
  if not fitting and not any(site.is_finer for site in sites):
    raise TflmFgError(
      f"{name}: --weights={weights} is for kernels of FULLY_CONNECTED and 1x1 "
      "CONV_2D between int8 activations; none is among what shall train"
    )
  notes = []
  for site in reversed(fitting):  # those before keep their places
    _SURGERY[weights](model, site)
    kernel = tensor_name(model.subgraphs[0].tensors[site.kernel])
    notes.append(f"{kernel}: {weights} weights")
  return notes[::-1]


def can_be_finer(model: schema.ModelT, site: Site) -> bool:
  """Whether a layer is a product of its last axis with an int8 kernel."""
  tensors = model.subgraphs[0].tensors
  op = model.subgraphs[0].operators[site.operator]
  if site.is_finer or op_name(model, op) not in ("FULLY_CONNECTED", "CONV_2D"):
    return False
  kernel, source = tensors[site.kernel], tensors[site.activation]
  out = tensors[op.outputs[0]]
  shapes = [[int(d) for d in t.shape] for t in (kernel, source, out)]
  (rows, *window), (*positions, depth), result = shapes
  flows = [TYPE_NAMES.get(t.type) for t in (kernel, source, out)]
  return (
    flows == ["int8"] * 3
    and has_scale(source)
    and has_scale(out)
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
  model: schema.ModelT, wanted: dict[Site, set[str]]
) -> dict[int, set[str]]:
  """Roles by the kernel's index, which lasts when operators are added."""
  roles = {site.operator: which for site, which in wanted.items()}
  return {
    site.kernel: roles[site.operator]
    for site in sites_of(model)
    if site.operator in roles
  }
