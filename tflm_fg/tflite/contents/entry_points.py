"""Say which of a file's ways in stay as they were.

A signature is a name for a subgraph with its inputs and outputs. What trains
is the first subgraph. Others may read the same constants: where one of these
trains, it is copied first, so that the others answer as before; which ones
those are a user should know.
"""

from __future__ import annotations

from collections.abc import Iterable

from ai_edge_litert import schema_py_generated as schema


def left_signatures(data: bytes) -> list[str]:
  """A note on each signature that runs another subgraph than the first.

  Args:
    data: a sound .tflite.
  """
  root = schema.Model.GetRootAsModel(data, 0)
  found = [root.SignatureDefs(i) for i in range(root.SignatureDefsLength())]
  own = [_key(s) for s in found if s.SubgraphIndex() == 0]
  trained = f", signature {own[0]!r}," if own else ""
  return [
    f"signature {_key(s)!r} runs subgraph {s.SubgraphIndex()}, which stays as "
    f"it was: the first subgraph{trained} is the one that trains"
    for s in found
    if s.SubgraphIndex() != 0
  ]


def _key(signature: schema.SignatureDef) -> str:
  return (signature.SignatureKey() or b"").decode("utf-8", "replace")


def named(model: schema.ModelT, subgraphs: Iterable[int]) -> str:
  """Subgraphs by number, with their names or those of their signatures.

  Args:
    model: unpacked.
    subgraphs: positions.
  """
  keys = {s.subgraphIndex: s.signatureKey for s in model.signatureDefs or []}
  said = []
  for number in subgraphs:
    name = keys.get(number) or model.subgraphs[number].name or b""
    text = name.decode("utf-8", "replace")
    said.append(f"subgraph {number}" + (f" ({text!r})" if text else ""))
  return ", ".join(said)
