"""Damage a model: one or a few fields of its tables, or its bytes.

A mutation is data, so that what once failed can be kept in a list: the path of
a field in the unpacked model and what is put there.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import struct
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests import zoo
from tflm_fg.tflite import outside
from tflm_fg.tflite.packing import pack


class Edit(NamedTuple):
  """One thing that is changed.

  Attributes:
    path: attributes and positions from the model on; of raw bytes, the place.
    value: what is put there; of a list, None takes the place out.
    kind: what the table tells it by.
  """

  path: tuple[str | int, ...]
  value: Any
  kind: str


class Mutant(NamedTuple):
  """A damaged model.

  Attributes:
    base: one of `zoo.BUILDERS`.
    edits: in order.
  """

  base: str
  edits: tuple[Edit, ...]

  @property
  def kind(self) -> str:
    """What was damaged first."""
    return self.edits[0].kind

  def data(self) -> bytes:
    """The file.

    Raises:
      Exception: if the damaged model cannot be written at all.
    """
    if self.kind == "bytes":
      return _with_words(built(self.base), self.edits)
    model = copy.deepcopy(_unpacked(self.base))
    for edit in self.edits:
      _put(model, edit)
    return pack(model)


@functools.cache
def built(base: str) -> bytes:
  """The sound file."""
  return zoo.BUILDERS[base]()


@functools.cache
def _unpacked(base: str) -> schema.ModelT:
  model = schema.ModelT.InitFromPackedBuf(built(base), 0)
  outside.take_in(model, built(base))
  for table in _tables(model):
    for name, value in vars(table).items():
      if isinstance(value, np.ndarray) and name != "data":
        setattr(table, name, value.tolist())
  return model


def _tables(model: schema.ModelT) -> list[Any]:
  """All tables below a model."""
  found: list[Any] = []
  waiting = [model]
  while waiting:
    table = waiting.pop()
    found.append(table)
    for value in vars(table).values():
      held = value if isinstance(value, list) else [value]
      waiting += [v for v in held if type(v).__module__ == schema.__name__]
  return found


def _put(model: schema.ModelT, edit: Edit) -> None:
  """Changes one field, or one number of a constant."""
  place: Any = model
  *way, last = edit.path
  for step in way:
    place = place[step] if isinstance(step, int) else getattr(place, step)
  if isinstance(last, str):
    setattr(place, last, edit.value)
  elif edit.value is None:
    del place[last]
  elif last >= len(place):
    place.append(edit.value)
  else:
    place[last] = edit.value


def _with_words(data: bytes, edits: tuple[Edit, ...]) -> bytes:
  out = bytearray(data)
  for edit in edits:
    at = int(edit.path[0])
    struct.pack_into("<I", out, at, edit.value)
  return bytes(out)


INTEGERS = (0, -1, 1, 2, 3, 4, 5, 7, 8, 13, 64, 127, 128, 255, 1000, -2, -5,
            1 << 15, (1 << 16) + 1, 1 << 24, (1 << 31) - 1,
            -(1 << 31))  # fmt: skip
FLOATS = (0.0, -0.0, -1.0, 1.0, 1e-45, 1e-38, 1e-30, 3e38, 1e10,
          float("nan"), float("inf"), float("-inf"))  # fmt: skip
POINTS = (-129, -128, 127, 128, 255, 256, 3, -1, 0, 1 << 15, -(1 << 15) - 1,
          1 << 31, (1 << 63) - 1, -(1 << 63))  # fmt: skip
OPERATORS = tuple(
  code
  for name, code in vars(schema.BuiltinOperator).items()
  if isinstance(code, int)
)


@functools.lru_cache(maxsize=1)
def drawn(seed: int, number: int) -> Mutant:
  """One mutant; the same for the same numbers.

  Args:
    seed: of all.
    number: which one, from 0; models take turns.
  """
  for attempt in range(100):  # some fields are too small for some values
    mutant = _drawn(random.Random(f"{seed}/{number}/{attempt}"), number)
    with contextlib.suppress(Exception):
      mutant.data()
      return mutant
  raise AssertionError(f"seed {seed}, number {number}: nothing to damage")


def _drawn(chance: random.Random, number: int) -> Mutant:
  names = list(zoo.BUILDERS)
  base = names[number % len(names)]
  count = 1 if chance.random() < 0.75 else chance.randint(2, 3)
  if chance.random() < 0.15:
    return Mutant(base, tuple(_word(base, chance) for _ in range(count)))
  model = copy.deepcopy(_unpacked(base))
  edits: list[Edit] = []
  for _ in range(count):
    for _ in range(20):  # some models lack what some edits change
      kind = chance.choice(list(_KINDS))
      edit = _KINDS[kind](model, chance)
      if edit is None:
        continue
      try:
        _put(model, edit._replace(kind=kind))
      except (IndexError, TypeError, AttributeError):  # another edit took it
        continue
      edits.append(edit._replace(kind=kind))
      break
  return Mutant(base, tuple(edits))


def _word(base: str, chance: random.Random) -> Edit:
  at = 4 * chance.randrange(1, len(built(base)) // 4)
  (old,) = struct.unpack_from("<I", built(base), at)
  value = chance.choice(
    (
      old ^ (1 << chance.randrange(32)),
      (old + chance.choice((-4, -1, 1, 4))) % (1 << 32),
      chance.choice(INTEGERS) % (1 << 32),
      chance.randrange(1 << 32),
    )
  )
  return Edit((at,), value, "bytes")


def _graph(model: schema.ModelT, chance: random.Random) -> tuple[int, Any]:
  number = chance.randrange(len(model.subgraphs))
  return number, model.subgraphs[number]


def _operator(model: schema.ModelT, chance: random.Random) -> tuple[Any, Any]:
  number, graph = _graph(model, chance)
  place = chance.randrange(max(1, len(graph.operators or [])))
  operator = graph.operators[place] if graph.operators else None
  return ("subgraphs", number, "operators", place), operator


def _tensor(model: schema.ModelT, chance: random.Random) -> tuple[Any, Any]:
  number, graph = _graph(model, chance)
  place = chance.randrange(max(1, len(graph.tensors or [])))
  tensor = graph.tensors[place] if graph.tensors else None
  return ("subgraphs", number, "tensors", place), tensor


def _one_of(
  values: Any, path: tuple[Any, ...], chance: random.Random, fresh: Any
) -> Edit | None:
  """Another number in a list, one more, one fewer, or none at all."""
  held = [] if values is None else list(values)
  what = chance.random()
  if what < 0.08:
    return Edit(path, None if chance.random() < 0.5 else [], "")
  if not held or what < 0.16:
    return None if values is None else Edit((*path, len(held)), fresh, "")
  place = chance.randrange(len(held))
  return Edit((*path, place), None if what < 0.24 else fresh, "")


def _reads(model: schema.ModelT, chance: random.Random) -> Edit | None:
  path, operator = _operator(model, chance)
  if operator is None:
    return None
  tensors = len(model.subgraphs[path[1]].tensors or [])
  fresh = chance.choice((-1, -1, chance.randrange(tensors + 1), tensors, -2))
  side = "inputs" if chance.random() < 0.75 else "outputs"
  return _one_of(getattr(operator, side), (*path, side), chance, fresh)


def _option(model: schema.ModelT, chance: random.Random) -> Edit | None:
  path, operator = _operator(model, chance)
  options = operator and operator.builtinOptions
  if options is None:
    return None
  if chance.random() < 0.06:
    return Edit((*path, "builtinOptions"), None, "")
  fields = list(vars(options))
  if not fields:
    return None
  name = chance.choice(fields)
  value, inner = getattr(options, name), (*path, "builtinOptions", name)
  if isinstance(value, bool):
    return Edit(inner, not value, "")
  if isinstance(value, float):
    return Edit(inner, chance.choice(FLOATS), "")
  if isinstance(value, list):
    return _one_of(value, inner, chance, chance.choice(INTEGERS))
  return Edit(inner, chance.choice(INTEGERS), "") if value is not None else None


def _code(model: schema.ModelT, chance: random.Random) -> Edit | None:
  place = chance.randrange(len(model.operatorCodes))
  what = chance.random()
  if what < 0.15:
    return Edit(("operatorCodes", place, "version"), chance.randint(0, 9), "")
  if what < 0.3:
    path, _ = _operator(model, chance)
    fresh = chance.choice((*range(len(model.operatorCodes) + 1), 1 << 20))
    return Edit((*path, "opcodeIndex"), fresh, "")
  return Edit(
    ("operatorCodes", place, "builtinCode"), chance.choice(OPERATORS), ""
  )


def _shape(model: schema.ModelT, chance: random.Random) -> Edit | None:
  path, tensor = _tensor(model, chance)
  if tensor is None:
    return None
  fresh = chance.choice(INTEGERS)
  return _one_of(tensor.shape, (*path, "shape"), chance, fresh)


def _type(model: schema.ModelT, chance: random.Random) -> Edit | None:
  path, tensor = _tensor(model, chance)
  if tensor is None:
    return None
  if chance.random() < 0.1:
    return Edit((*path, "isVariable"), not tensor.isVariable, "")
  return Edit((*path, "type"), chance.randrange(20), "")


def _quantization(model: schema.ModelT, chance: random.Random) -> Edit | None:
  path, tensor = _tensor(model, chance)
  held = tensor and tensor.quantization
  if held is None:
    return None
  what, inner = chance.random(), (*path, "quantization")
  if what < 0.1:
    return Edit(inner, None, "")
  if what < 0.55:
    scale = chance.choice(FLOATS)
    return _one_of(held.scale, (*inner, "scale"), chance, scale)
  if what < 0.85:
    point = chance.choice(POINTS)
    return _one_of(held.zeroPoint, (*inner, "zeroPoint"), chance, point)
  return Edit((*inner, "quantizedDimension"), chance.choice(INTEGERS), "")


def _content(model: schema.ModelT, chance: random.Random) -> Edit | None:
  """Another number in a constant, or other bytes of it."""
  path, tensor = _tensor(model, chance)
  if tensor is None:
    return None
  what = chance.random()
  if what < 0.1:
    fresh = chance.choice((*range(len(model.buffers) + 1), 1 << 20))
    return Edit((*path, "buffer"), fresh, "")
  if not 0 <= tensor.buffer < len(model.buffers):
    return None
  data = model.buffers[tensor.buffer].data
  if data is None:
    return None
  held = np.array(data, np.uint8)
  if what < 0.3:
    held = held[: chance.choice((0, 1, len(held) - 1, len(held) // 2))]
  elif what < 0.4:
    held = np.concatenate([held, held[:4]])
  elif len(held) % 4 == 0 and tensor.type == schema.TensorType.INT32:
    words = held.view("<i4").copy()
    words[chance.randrange(len(words))] = chance.choice(INTEGERS)
    held = words.view(np.uint8)
  else:
    held[chance.randrange(len(held))] = chance.choice((0, 127, 128, 255))
  return Edit(("buffers", tensor.buffer, "data"), held.tolist(), "")


def _ends(model: schema.ModelT, chance: random.Random) -> Edit | None:
  number, graph = _graph(model, chance)
  side = "inputs" if chance.random() < 0.5 else "outputs"
  fresh = chance.choice((-1, chance.randrange(len(graph.tensors) + 1)))
  path = ("subgraphs", number, side)
  return _one_of(getattr(graph, side), path, chance, fresh)


def _order(model: schema.ModelT, chance: random.Random) -> Edit | None:
  """An operator that is gone, or is there twice; a subgraph likewise."""
  path, operator = _operator(model, chance)
  if operator is None:
    return None
  operators = model.subgraphs[path[1]].operators
  what = chance.random()
  if what < 0.4:
    return Edit(path, None, "")
  if what < 0.8:
    return Edit((*path[:-1], len(operators)), copy.deepcopy(operator), "")
  if what < 0.9 and len(model.subgraphs) > 1:
    return Edit(("subgraphs", chance.randrange(len(model.subgraphs))), None, "")
  return Edit((*path, "builtinOptionsType"), chance.randrange(130), "")


_KINDS = {
  "operator inputs and outputs": _reads,
  "operator options": _option,
  "operator codes": _code,
  "tensor shapes": _shape,
  "tensor types": _type,
  "quantization": _quantization,
  "constants": _content,
  "graph inputs and outputs": _ends,
  "order of operators": _order,
}

KINDS = (*_KINDS, "bytes")
"""Kinds of damage, as a table has them."""
