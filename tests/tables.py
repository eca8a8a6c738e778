"""All that a .tflite says, field by field, to compare two files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tflm_fg.tflite import model_file


def fields(data: bytes) -> dict[str, Any]:
  """Every field of every table of a file, by its path.

  Constants stand at the tensors that hold them, so that buffers may lie in
  another order. What stands behind the file is at "tail".
  """
  model = model_file.read(data)
  found = dict(_walk("", model))
  for path in [p for p in found if p.startswith(".buffers")]:
    del found[path]
  for number, graph in enumerate(model.subgraphs):
    for index, tensor in enumerate(graph.tensors):
      content = model.buffers[tensor.buffer].data
      path = f".subgraphs[{number}].tensors[{index}]"
      found[f"{path}.buffer"] = None if content is None else bytes(content)
  for number, entry in enumerate(model.metadata or []):
    held = model.buffers[entry.buffer].data
    found[f".metadata[{number}].buffer"] = None if held is None else bytes(held)
  found["tail"] = model_file.ModelFile.open(data).tail
  return found


def _walk(path: str, value: Any) -> Iterator[tuple[str, Any]]:
  if hasattr(value, "__dict__"):
    for name, held in vars(value).items():
      yield from _walk(f"{path}.{name}", held)
  elif isinstance(value, np.ndarray):
    yield path, value.tolist()
  elif isinstance(value, list):
    yield path, len(value)
    for number, held in enumerate(value):
      yield from _walk(f"{path}[{number}]", held)
  else:
    yield path, value


def differing(one: bytes, other: bytes) -> set[str]:
  """The paths at which two files differ, or that one of them has not."""
  a, b = fields(one), fields(other)
  return {path for path in a.keys() | b.keys() if a.get(path) != b.get(path)}
