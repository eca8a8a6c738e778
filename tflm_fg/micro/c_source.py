"""Write tables as C source."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping

import numpy as np

from tflm_fg.micro.table import KINDS, Layer, Network, Values
from tflm_fg.types import Array

_TYPES = {
  "int8": "int8_t",
  "uint8": "uint8_t",
  "int16": "int16_t",
  "uint16": "uint16_t",
  "int32": "int32_t",
  "uint32": "uint32_t",
}


def c_array(
  name: str, values: Array, *, writable: bool = False, align: int = 0
) -> str:
  """An array as a definition in C.

  Args:
    name: of the array; the definition is static.
    values: integers of at most 32 bits, any shape; at least one.
    writable: whether the program may change them, so that they lie in RAM.
    align: the boundary in bytes on which it starts, by GCC's attribute; 0 for
      the type's own.
  """
  kind = _TYPES[values.dtype.name]
  numbers = textwrap.fill(
    ", ".join(map(_literal, values.reshape(-1).tolist())),
    78,
    initial_indent="  ",
    subsequent_indent="  ",
    break_on_hyphens=False,
  )
  const = "" if writable else "const "
  where = f" __attribute__((aligned({align})))" if align else ""
  return (
    f"static {const}{kind} {name}[{values.size}]{where} = {{\n{numbers}\n}};\n"
  )


def _literal(value: int) -> str:
  if value == -(1 << 31):  # the minus is an operator, and 2147483648 no int
    return "-2147483647 - 1"
  return f"{value}u" if value > 0x7FFFFFFF else str(value)


def network_source(
  network: Network,
  name: str,
  writable: Collection[int] = (),
  places: Mapping[int, str] | None = None,
) -> str:
  """A network as definitions in C: constants, tables, and `NAME`.

  Args:
    network: what runs.
    name: a C name, which all names begin with; `fg_network NAME` itself, and
      kernels and biases as `NAME_tINDEX` by the index of their tensor.
    writable: tensor indices of kernels and biases that a program writes.
    places: expressions in C for kernels and biases that lie elsewhere, such as
      in the .tflite itself, by tensor index; they get no array.
  """
  places = places or {}
  parts = [
    c_array(f"{name}_t{index}", values, writable=index in writable)
    for index, values in network.constants.items()
    if index not in places
  ]
  constants = {
    index: places.get(index, f"{name}_t{index}") for index in network.constants
  } | {-1: "0"}
  for place, tensor in enumerate(network.tensors):
    if tensor.held is not None:
      parts.append(c_array(f"{name}_held{place}", tensor.held))
  for number, layer in enumerate(network.layers):
    if layer.multipliers:
      pairs = np.array(layer.multipliers)
      parts += [
        c_array(f"{name}_m{number}", pairs[:, 0].astype(np.int32)),
        c_array(f"{name}_s{number}", pairs[:, 1].astype(np.int8)),
      ]
  parts += [
    _table(
      "fg_values",
      f"{name}_values",
      [_tensor(t, f"{name}_held{p}") for p, t in enumerate(network.tensors)],
    ),
    _table(
      "fg_layer",
      f"{name}_layers",
      [
        _layer(layer, n, name, constants)
        for n, layer in enumerate(network.layers)
      ],
    ),
    f"static const fg_network {name} = {{\n  {name}_values, {name}_layers, "
    f"{len(network.tensors)}, {len(network.layers)}, {network.arena_bytes}\n"
    "};\n",
  ]
  return "\n".join(parts)


def _table(kind: str, name: str, rows: list[str]) -> str:
  lines = ",\n".join(f"  {{{row}}}" for row in rows)
  return f"static const {kind} {name}[{len(rows)}] = {{\n{lines}\n}};\n"


def _tensor(tensor: Values, held: str) -> str:
  height, width, channels = tensor.shape
  return (
    f"{height}, {width}, {channels}, {tensor.zero_point}, {tensor.offset}, "
    + (held if tensor.held is not None else "0")
  )


def _layer(
  layer: Layer, number: int, name: str, constants: Mapping[int, str]
) -> str:
  second = layer.inputs[1] if len(layer.inputs) > 1 else layer.inputs[0]
  windows = (*layer.filter, *layer.stride, *layer.dilation, *layer.pad)
  scales = len(layer.multipliers)
  return ",\n   ".join(
    [
      f"{KINDS.index(layer.kind)}, {{{layer.inputs[0]}, {second}}}, "
      f"{layer.output}, {', '.join(map(str, windows))}",
      f"{layer.limits[0]}, {layer.limits[1]}, {layer.depth}, {scales}",
      ", ".join(
        [
          constants[layer.kernel],
          constants[layer.bias],
          f"{name}_m{number}" if scales else "0",
          f"{name}_s{number}" if scales else "0",
        ]
      ),
    ]
  )
