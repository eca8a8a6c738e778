"""Damaged .tflite bytes are refused or run: no traceback, no crash, no hang.

Python's part runs here under hypothesis. Engines are C++: a crash would take
pytest with it, so `python -m tests.tflite.verify.test_structure` runs every
damaged model in a forked child of its own and reports how the children ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import models
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite import (
  model_file,
  select_trainable,
  split_graph,
  training_metadata,
)
from tflm_fg.tflite.model_file import verify
from tflm_fg.tflite.verify.structure import _OPTION_TABLES, _TABLES
from tflm_fg.types import TflmFgError

SOUND = {
  "dense": models.dense_model(),
  "wide": models.dense_model(wide=True, per_channel=False),
  "conv": models.conv_model(),
  "outside": models.outside(models.conv_model()),
  "marked": select_trainable.mark_file(models.dense_model(), "all").data,
}
SELECTIONS = ("head", "bias", "all")

# Damage under hypothesis: it shrinks what fails to one small edit.

_PLACES = st.floats(0, 1, exclude_max=True)
_WORDS = st.sampled_from(
  [0, 1, 2, 4, 127, 128, 255, 256, 0xFFFF, 0x10000, 0x3F800000, 0x7F800000,
   0x7FC00000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF]
) | st.integers(0, 2**32 - 1)  # fmt: skip
_SMALL_WORDS = _WORDS | st.integers(0, 4096)

_EDITS = st.one_of(
  st.tuples(st.just("flip"), _PLACES, st.integers(0, 7)),
  st.tuples(st.just("word"), _PLACES, _SMALL_WORDS),
  st.tuples(st.just("cut"), _PLACES),
  st.tuples(st.just("splice"), _PLACES, _PLACES, st.integers(1, 64)),
)


def damaged(model: bytes, edits: list[tuple]) -> bytes:
  """Applies edits whose places are shares of the file's length."""
  content = bytearray(model)
  for kind, place, *rest in edits:
    at = int(place * len(content))
    if kind == "flip" and content:
      content[at] ^= 1 << rest[0]
    elif kind == "word" and len(content) >= 4:
      struct.pack_into("<I", content, min(at, len(content) - 4) & ~3, rest[0])
    elif kind == "cut":
      del content[at:]
    elif kind == "splice":
      source = int(rest[0] * len(content))
      content[at : at + rest[1]] = content[source : source + rest[1]]
  return bytes(content)


@contextlib.contextmanager
def _refusal_is_fine() -> Iterator[None]:
  """Lets through a refusal that says something, and nothing else."""
  try:
    yield
  except TflmFgError as fault:
    assert len(str(fault)) > 20


@pytest.mark.parametrize("which", list(SOUND))
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(edits=st.lists(_EDITS, min_size=1, max_size=3), data=st.data())
def test_damaged_model_is_refused_or_read(which, edits, data):
  content = damaged(SOUND[which], edits)
  with _refusal_is_fine():
    verify(content, "name")
  with _refusal_is_fine():
    model_file.read(content, "name")
  with _refusal_is_fine():
    training_metadata.without_mark(content, "name")
  with _refusal_is_fine():
    select_trainable.mark_file(
      content, data.draw(st.sampled_from(SELECTIONS)), "name"
    )
  with _refusal_is_fine():
    select_trainable.present_mark(content, None, "name")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=400))
def test_noise_behind_a_good_identifier_is_refused(noise):
  for content in (noise, noise[:4] + b"TFL3" + noise[4:]):
    with _refusal_is_fine():
      select_trainable.mark_file(content, "all", "name")


# Damage by field: every number in the file, each set to values that hurt.


class Field(NamedTuple):
  """A number in the file and its path: table.slot[element]."""

  at: int
  size: int
  path: str


_VALUES = {
  1: [0, 1, 2, 3, 4, 5, 9, 14, 17, 22, 25, 40, 64, 99, 127, 128, 255],
  2: [0, 1, 4, 6, 8, 12, 16, 20, 100, 0x7FFF, 0x8000, 0xFFFF],
  4: [0, 1, 2, 3, 4, 5, 6, 8, 16, 31, 127, 256, 1000, 0xFFFF, 0x10000,
      0x800000, 0x3F800000, 0x7F000000, 0x7F800000, 0x7FC00000, 0x7FFFFFFF,
      0x80000000, 0xBF800000, 0xFFFFFFFC, 0xFFFFFFFF],
  8: [0, 1, 127, 2**31, 2**63 - 1, 2**63, 2**64 - 1],
}  # fmt: skip
_MOST_ELEMENTS = 8  # of a vector of numbers, and no weights


def fields_of(model: bytes) -> list[Field]:
  """Walks a sound file by the verifier's own list of tables."""
  found = [Field(0, 4, "root")]
  _walk(model, "Model", _target(model, 0), "Model", 0, found)
  return found


def _target(model: bytes, at: int) -> int:
  return at + struct.unpack_from("<I", model, at)[0]


def _walk(
  model: bytes, kind: str, at: int, path: str, option: int, found: list[Field]
) -> None:
  vtable = at - struct.unpack_from("<i", model, at)[0]
  length, table_bytes = struct.unpack_from("<HH", model, vtable)
  places = struct.unpack_from(f"<{length // 2 - 2}H", model, vtable + 4)
  found.append(Field(at, 4, f"{path}.vtable"))
  found += [Field(vtable + 2 * i, 2, f"{path}.vtable[{i}]")
            for i in range(length // 2)]  # fmt: skip
  ends = sorted([*filter(None, places), table_bytes])
  known = _TABLES[_OPTION_TABLES.get(option, "Any") if kind == "Any" else kind]
  for slot, place in enumerate(places):
    if place:
      gap = ends[ends.index(place) + 1] - place
      field = known.get(slot, gap if gap in (1, 2, 4) else 4)
      name = f"{path}.{slot}" + (f"<{option}>" if kind == "Any" else "")
      union = places[slot - 1] if (kind, slot) == ("Operator", 4) else 0
      _walk_field(model, field, at + place, name, union and model[at + union],
                  found)  # fmt: skip


def _walk_field(
  model: bytes,
  field: object,
  at: int,
  path: str,
  option: int,
  found: list[Field],
) -> None:
  if isinstance(field, int):
    found.append(Field(at, field, path))
    return
  target = _target(model, at)
  found.append(Field(at, 4, f"{path}.offset"))
  if isinstance(field, str) and field != "S" and not field.startswith("N"):
    _walk(model, field, target, path, option, found)
    return
  count = struct.unpack_from("<I", model, target)[0]
  found.append(Field(target, 4, f"{path}.length"))
  if isinstance(field, list):
    for i in range(count):
      place = target + 4 + 4 * i
      found.append(Field(place, 4, f"{path}[{i}].offset"))
      _walk(model, field[0], _target(model, place), f"{path}[{i}]", 0, found)
  elif isinstance(field, str) and field.startswith("N"):
    size = int(field[1:])
    found += [Field(target + 4 + size * i, size, f"{path}[{i}]")
              for i in range(min(count, _MOST_ELEMENTS))]  # fmt: skip


def by_field(model: bytes) -> Iterator[tuple[str, bytes]]:
  """What was set to what, and the file; in an order that is always the same."""
  cases = [(f, v) for f in fields_of(model) for v in _VALUES[f.size]]
  random.Random(0).shuffle(cases)
  for field, value in cases:
    content = bytearray(model)
    content[field.at : field.at + field.size] = value.to_bytes(
      field.size, "little"
    )
    if content != model:
      yield f"{field.path} = {value}", bytes(content)


def _custom(code: bytes) -> bytes:
  """The dense model whose softmax became a custom operator of the host."""
  model = model_file.read(SOUND["dense"])
  model.operatorCodes[2].builtinCode = 32
  model.operatorCodes[2].deprecatedBuiltinCode = 32
  model.operatorCodes[2].customCode = code
  operator = model.subgraphs[0].operators[2]
  operator.builtinOptions, operator.builtinOptionsType = None, 0
  return model_file.pack(model)


def by_hand() -> Iterator[tuple[str, bytes]]:
  """Damage that no single number does."""
  for code in (b"Mfcc", b"AudioSpectrogram", b"TFLite_Detection_PostProcess"):
    yield f"SOFTMAX = custom {code.decode()}", _custom(code)


# What a child runs.

ENGINES = ("litert", "tflm")
_SECONDS = 10
_MEMORY = 6 << 30


def exercise(content: bytes, runtime: str) -> None:
  """Marks, cuts, opens and runs once with zeros, as the programs do."""
  marked = select_trainable.mark_file(content, "all", "name")
  for part in (
    split_graph.whole(marked.data, marked.mark),
    split_graph.cut(marked.data, marked.mark).suffix,
  ):
    session = open_session(runtime, part)
    session.run(
      tuple(np.zeros((1, *shape), kind) for shape, kind in session.input_specs)
    )


def _ending_of(work: Callable[[], None]) -> str:
  """Runs it in a forked child: "", or how it ended badly."""
  read, write = os.pipe()
  child = os.fork()
  if not child:
    status = 0
    os.close(read)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.alarm(_SECONDS)
    try:
      work()
    except TflmFgError:
      pass
    except BaseException as fault:
      status = 1
      frame = traceback.extract_tb(fault.__traceback__)[-1]
      place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
      os.write(write, f"{type(fault).__name__} {place} {fault}"[:200].encode())
    os._exit(status)
  os.close(write)
  with os.fdopen(read, "rb") as pipe:
    said = pipe.read().decode("utf-8", "replace")
  _, status = os.waitpid(child, 0)
  if os.WIFSIGNALED(status):
    return signal.Signals(os.WTERMSIG(status)).name
  return said


def bad_endings(which: str, count: int, skip: int = 0) -> Iterator[str]:
  """Runs `count` damaged files that pass the verifier; one line a bad end."""
  source = by_hand() if which == "by hand" else by_field(SOUND[which])
  for what, content in source:
    with contextlib.suppress(TflmFgError):
      verify(content)
      skip -= 1
      if skip >= 0:
        continue
      count -= 1
      for engine in ENGINES:
        ending = _ending_of(lambda c=content, e=engine: exercise(c, e))
        if ending:
          yield f"{which} {engine}: {what}: {ending}"
    if count <= 0:
      return


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
  ("which", "count"), [("by hand", 99), ("dense", 25), ("conv", 25)]
)
def test_model_that_passes_the_verifier_crashes_no_engine(which, count):
  pytest.importorskip("tflite_micro")
  path = os.pathsep.join(p or os.getcwd() for p in sys.path)
  result = subprocess.run(
    [
      sys.executable,
      "-m",
      "tests.tflite.verify.test_structure",
      which,
      str(count),
    ],
    env={**os.environ, "PYTHONPATH": path},
    stdout=subprocess.PIPE,
    text=True,
    timeout=300,
    check=True,
  )
  endings = json.loads(result.stdout)
  assert not endings, "\n".join(endings)


if __name__ == "__main__":  # WHICH COUNT [SKIP]
  for _engine in ENGINES:  # imported once, before any fork
    exercise(SOUND["dense"], _engine)
  _found = bad_endings(sys.argv[1], *map(int, sys.argv[2:]))
  print(json.dumps(list(_found), indent=0))
