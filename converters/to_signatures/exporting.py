"""Write a file that trains itself."""

from __future__ import annotations

from typing import NamedTuple

from converters.to_signatures import calls
from converters.to_signatures.infer import add_infer
from converters.to_signatures.parts import taken_apart
from tflm_fg.tflite import TYPE_NAMES, MarkedModel, pack


class Exported(NamedTuple):
  """A file that trains itself.

  Attributes:
    data: its bytes.
    table: a line for each signature: name, inputs and outputs.
  """

  data: bytes
  table: tuple[str, ...]


def to_signatures(marked: MarkedModel, capacity: int = 512) -> Exported:
  """Writes a file that trains itself, of builtin operators alone.

  Args:
    marked: a classifier whose head is marked.
    capacity: how many samples it remembers.

  Raises:
    TflmFgError: naming what of the model no such file can have.
  """
  parts = taken_apart(marked, capacity)
  calls.add_initial(parts)
  calls.add_remember(parts)
  calls.add_train(parts)
  calls.add_evaluate(parts)
  calls.add_get_weights(parts)
  calls.add_set_weights(parts)
  calls.add_reset(parts)
  add_infer(parts)
  return Exported(pack(parts.file.model), _table(parts.file.model))


def _table(model) -> tuple[str, ...]:
  lines = []
  for made in model.signatureDefs:
    graph = model.subgraphs[made.subgraphIndex]

    def listed(entries, graph=graph):
      told = []
      for entry in entries:
        tensor = graph.tensors[entry.tensorIndex]
        shape = ", ".join(str(int(n)) for n in tensor.shape)
        kind = TYPE_NAMES[tensor.type]
        told.append(f"{entry.name.decode()} {kind} [{shape}]")
      return ", ".join(told)

    name = made.signatureKey.decode()
    lines.append(f"{name}({listed(made.inputs)}) -> {listed(made.outputs)}")
  return tuple(lines)
