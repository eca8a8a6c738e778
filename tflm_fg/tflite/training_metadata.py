"""Read and write the mark: which tensors of a .tflite train.

Marking puts a new root in front of the file and leaves every old byte as it
was, so stripping gives back the original bytes, and an adapted file differs
from its original in the trained bytes alone:

    [new root, vectors, mark][the original file, whole]
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.tflite import outside
from tflm_fg.tflite.choice.outputs import like
from tflm_fg.tflite.layers import TRAINABLE_OPS, logits_before
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.packing import ALIGNMENT, align
from tflm_fg.tflite.prepend import prepend_metadata
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.tensors import describe
from tflm_fg.tflite.verify.structure import IDENTIFIER
from tflm_fg.types import ROLES, Mark, TflmFgError, TrainableTensor

MARK_NAME = "tflm_fg"
MARK_VERSION = 1


def read_mark(source: Source, name: str = "model") -> Mark | None:
  """Reads the mark of a file; None if it has none.

  Raises:
    TflmFgError: if the file or its mark is not sound.
  """
  file = ModelFile.of(source, name)
  name, graph = file.name, file.subgraph
  text = _mark_text(file)
  if text is None:
    return None
  try:
    content = json.loads(text)
    version = content["version"]
    if version != MARK_VERSION:
      raise TflmFgError(
        f"{name}: mark version {version}, this release reads {MARK_VERSION}; "
        "convert the model again"
      )
    tensors = tuple(_marked_tensor(graph, e) for e in content["trainable"])
    if not tensors or len({t.index for t in tensors}) < len(tensors):
      raise ValueError("no tensor, or one twice")
    Layout(tensors)  # refuses a low byte without its kernel
    return Mark(
      trainable=tensors,
      logits=_activation(graph, content["logits"]),
      head_input=_activation(graph, content["head_input"]),
      frontend=_frontend(content.get("frontend")),
      classes=_classes(content.get("classes")),
      output=_output(graph, content.get("output"), content["logits"]),
      input=_input(graph, content.get("input")),
      statistics=_statistics(graph, content.get("statistics", [])),
    )
  except (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    RecursionError,
    OverflowError,
  ) as fault:
    raise TflmFgError(
      f"{name}: the training mark is broken ({fault}); convert it again"
    ) from None


def has_mark(file: ModelFile) -> bool:
  """Whether a file has a mark, sound or not."""
  return _mark_text(file) is not None


def _mark_text(file: ModelFile) -> bytes | None:
  for entry, buffer in file.metadata:
    if entry == MARK_NAME.encode():
      start, length = file.spans[buffer]
      return file.data[start : start + length]
  return None


def _index(graph: Subgraph, index: Any) -> int:
  if type(index) is not int or not 0 <= index < len(graph.tensors):
    raise IndexError(f"tensor {index}")
  return index


def _activation(graph: Subgraph, index: Any) -> int:
  if graph.tensors[_index(graph, index)].is_constant:
    raise ValueError(f"tensor {index} is a constant")
  return int(index)


def _statistics(graph: Subgraph, found: Any) -> dict[int, tuple[int, ...]]:
  means = {_activation(graph, index): tuple(row) for index, row in found}
  for index, row in means.items():
    channels = graph.tensors[index].shape[-1]
    if len(row) != channels or any(type(mean) is not int for mean in row):
      raise ValueError(f"means of tensor {index}")
  return means


def _frontend(found: Any) -> dict[str, Any] | None:
  if found is not None and not isinstance(found, dict):
    raise ValueError("its front end is no object")
  return found


def _classes(found: Any) -> tuple[str, ...] | None:
  if found is None:
    return None
  if not isinstance(found, list) or not all(type(n) is str for n in found):
    raise ValueError("its classes are no list of names")
  return tuple(found)


def _output(graph: Subgraph, position: Any, logits: int) -> int | None:
  if position is None and len(graph.outputs) > 1:  # an older release's mark
    fits = [logits_before(graph, tensor) == logits for tensor in graph.outputs]
    return fits.index(True) if any(fits) else None
  if position is None:
    return None
  if type(position) is not int or not 0 <= position < len(graph.outputs):
    raise IndexError(f"output {position}")
  return position


def _input(graph: Subgraph, position: Any) -> int | None:
  if position is None:
    return None
  if type(position) is not int or not 0 <= position < len(graph.inputs):
    raise IndexError(f"input {position}")
  return position


def _marked_tensor(graph: Subgraph, entry: dict[str, Any]) -> TrainableTensor:
  index, operator = _index(graph, entry["index"]), entry["operator"]
  role = entry["role"]
  if entry["subgraph"] != 0 or role not in ROLES:
    raise ValueError(f"tensor {index}")
  if type(operator) is not int or not 0 <= operator < len(graph.operators):
    raise IndexError(f"operator {operator}")
  if index not in graph.operators[operator].inputs:
    raise ValueError(f"operator {operator} does not read tensor {index}")
  tensor = describe(graph, operator, index, role)
  if not _may_be(tensor) or tensor.name != entry["name"]:
    raise ValueError(f"tensor {index} is not the {role} that was marked")
  if not graph.tensors[index].is_constant:
    raise ValueError(f"tensor {index} is not a constant")
  return tensor


def _may_be(tensor: TrainableTensor) -> bool:
  """Whether a tensor's type and operator go with its role."""
  if tensor.role == "scale":
    return tensor.op_name in TRAINABLE_OPS
  whole = {"kernel": "BATCH_MATMUL", "bias": "ADD"}
  if tensor.dtype == "int16":
    return whole.get(tensor.role) == tensor.op_name
  if tensor.role == "bias":
    return tensor.dtype in ("int32", "int64")
  return tensor.dtype == "int8"


def write_mark(source: Source, mark: Mark) -> ModelFile:
  """Puts the mark in front of an aligned file without one."""
  file = ModelFile.of(source)
  content: dict[str, Any] = {
    "version": MARK_VERSION,
    "trainable": [
      {
        "subgraph": t.subgraph,
        "index": t.index,
        "name": t.name,
        "role": t.role,
        "operator": t.operator,
      }
      for t in mark.trainable
    ],
    "logits": mark.logits,
    "head_input": mark.head_input,
  }
  if mark.output is not None:  # a mark without it stays as it always was
    content["output"] = mark.output
  if mark.input is not None:
    content["input"] = mark.input
  if mark.statistics:
    content["statistics"] = list(mark.statistics.items())
  if mark.frontend is not None:
    content["frontend"] = mark.frontend
  if mark.classes is not None:
    content["classes"] = list(mark.classes)
  text = json.dumps(content, separators=(",", ":")).encode()
  marked = prepend_metadata(file.data, MARK_NAME, text)
  # The old file lies whole behind the new root, so what is known of it stays.
  front = len(marked) - len(file.data)
  spans = [
    (start + front, size) if size else (0, 0) for start, size in file.spans
  ]
  spans.append((marked.index(text, 0, front), len(text)))
  return dataclasses.replace(
    file,
    data=marked,
    spans=tuple(spans),
    metadata=(*file.metadata, (MARK_NAME.encode(), len(file.spans))),
  )


def describe_input(
  source: Source,
  frontend: dict[str, Any] | None,
  classes: tuple[str, ...] | None,
  name: str = "model",
) -> bytes:
  """Writes into the mark what the input is made by and the outputs mean.

  Args:
    source: a marked .tflite.
    frontend: as `Mark.frontend`.
    classes: as `Mark.classes`.
    name: what to call the file in errors.

  Raises:
    TflmFgError: if the file has no mark.
  """
  file = ModelFile.of(source, name)
  found = read_mark(file)
  if found is None:
    raise TflmFgError(f"{file.name}: has no training mark; run tflm-fg-convert")
  known = dataclasses.replace(found, frontend=frontend, classes=classes)
  return write_mark(stripped(file), known).data


def without_mark(source: Source, name: str = "model") -> bytes:
  """Takes the mark off: the bytes that were marked, with today's weights.

  A file whose mark no longer stands in front (another tool wrote it again) is
  written anew without it. A file without a mark comes back as it is.
  """
  file = ModelFile.of(source, name)
  if _mark_text(file) is None:
    return file.data
  rest = file.data[_mark_end(file) :]
  if rest[4:8] == IDENTIFIER:
    return outside.without_front(rest, len(file.data) - len(rest))
  model = file.unpack()
  model.metadata = [e for e in model.metadata if e.name != MARK_NAME.encode()]
  return file.repacked(model)


def stripped(file: ModelFile) -> ModelFile:
  """The file without its mark; itself if it has none."""
  rest = without_mark(file)
  if rest == file.data:
    return file
  return like(ModelFile.open(rest, file.name), file)


def _mark_end(file: ModelFile) -> int:
  for entry, buffer in file.metadata:
    if entry == MARK_NAME.encode():
      return align(sum(file.spans[buffer]), ALIGNMENT)
  return 0
