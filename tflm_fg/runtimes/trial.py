"""Run a model in another process first, where a crash does no harm.

Engines are native code: a graph that they do not expect can end the process
that opens it. So every file that is tried or written is opened and run once in
a child. The child stays, so that a trial costs little more than a run of the
model. How it ends is an answer too: outputs, a refusal or a signal.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.util
import os
from typing import NamedTuple

import numpy as np

from tflm_fg.fixed_point import random_bits
from tflm_fg.runtimes.trial_process import Child, Ran
from tflm_fg.tflite import known_forms, outside
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.tensors import Part, arena_bytes
from tflm_fg.types import Array, NotApplicable, Tensors, TflmFgError

KERNELS = {"litert": ("litert", "litert-xnnpack")}
"""Runtime -> the kernels that run its files; the others have one set."""

TARGETS = ("any", "tflm", "litert")
"""What a file is for: any engine, or one that must load and run it here."""


def require_runs(file: ModelFile, runtime: str) -> None:
  """Refuses a file that the runtime's engine does not open or run.

  What LiteRT's XNNPACK refuses runs without it, so there only a crash counts.

  Args:
    file: what is about to be opened here, or written.
    runtime: one of `runtimes.NAMES`.

  Raises:
    NotApplicable: with the engine's own reason or the signal.
  """
  fault = known_forms.refusal(file.subgraph, runtime)
  if fault:
    raise NotApplicable(f"{file.name}: {fault}")
  for engine in KERNELS.get(runtime, (runtime,)):
    if can_run(engine):  # opening it says what to choose or to install
      require_engine(file, engine)


def require_runs_for(file: ModelFile, runtime: str, target: str) -> None:
  """Refuses a file that the runtime or the target does not open or run.

  Args:
    file: what is about to be opened here, or written.
    runtime: one of `runtimes.NAMES`.
    target: one of `TARGETS`.

  Raises:
    NotApplicable: with the engine's own reason or the signal.
    TflmFgError: if the target is unknown or not installed.
  """
  require_target(target)
  require_runs(file, runtime)
  require_loads(file, target)


def require_loads(file: ModelFile, target: str) -> None:
  """Refuses a file that its target does not load and run here.

  Args:
    file: as it will be used.
    target: one of `TARGETS`.

  Raises:
    NotApplicable: with the engine's own reason or the signal.
    TflmFgError: if the target is unknown or not installed.
  """
  require_target(target)
  if target == "any":
    return
  fault = misread(file, target)
  if fault:
    raise NotApplicable(f"{file.name}: not for --target={target}: {fault}")
  for engine in KERNELS.get(target, (target,)):
    require_engine(file, engine, f"not for --target={target}: ")


def misread(file: ModelFile, engine: str) -> str:
  """Why an engine that opens a file reads it wrongly; empty if it does not."""
  if engine == "tflm" and outside.holds_constants(file.data):
    return (
      "constants lie outside the flatbuffer, and TFLM takes them for zeros or "
      "worse without a word; tflm-fg-convert --target=tflm moves them in"
    )
  return known_forms.refusal(file.subgraph, engine)


def require_target(target: str) -> None:
  """Refuses a target that is unknown, or that cannot be tried here.

  Args:
    target: one of `TARGETS`.

  Raises:
    TflmFgError: saying what to choose or to install.
  """
  if target not in TARGETS:
    raise TflmFgError(
      f"target {target!r} is unknown; choose one of {', '.join(TARGETS)}"
    )
  if target == "tflm" and not can_run(target):
    raise TflmFgError(
      "target 'tflm': files are tried in TFLM's interpreter, which is not "
      "installed; pip install 'tflm-fg[tflm]'"
    )


def require_engine(file: ModelFile, engine: str, what: str = "") -> None:
  """Refuses a file that one engine crashes on or does not run.

  Args:
    file: the file.
    engine: one of `PACKAGES`.
    what: stands in front of the engine's name in the error.

  Raises:
    NotApplicable: with the engine's own reason or the signal.
  """
  ran = verdict(file, engine)
  if ran.crashed or (ran.fault and engine != "litert-xnnpack"):
    told = "crashes on it" if ran.crashed else "refuses it"
    raise NotApplicable(f"{file.name}: {what}{engine} {told}: {ran.fault}")


PACKAGES = {
  "litert": "ai_edge_litert",
  "litert-reference": "ai_edge_litert",
  "litert-xnnpack": "ai_edge_litert",
  "tflite-runtime": "tflite_runtime",
  "tflm": "tflite_micro",
  "tf": "tensorflow",
}

ENGINES = tuple(name for name in PACKAGES if name != "tf")
"""Engines that any file is tried in. The kernels of TensorFlow's own
interpreter are LiteRT's, and it takes seconds to start."""


def can_run(engine: str) -> bool:
  """Whether an engine is known here and its package installed."""
  package = PACKAGES.get(engine)
  return package is not None and importlib.util.find_spec(package) is not None


_known: dict[tuple[bytes, str, object], Ran] = {}
"""How files ran that did, without what they gave, or took too long."""


def require_session(part: Part, runtime: str, in_place: bool) -> None:
  """Refuses a part of which no session may be opened in this process.

  It is opened, run and written in the child first, as a session does it.

  Args:
    part: what a session shall run.
    runtime: one of `runtimes.NAMES`.
    in_place: whether weights are written while the interpreter lives.

  Raises:
    NotApplicable: with the engine's own reason or the signal.
  """
  engine = runtime
  if runtime == "litert" and not in_place:
    engine = "litert-xnnpack"
  if not can_run(engine):  # opening it says what to install
    return
  opened = computed_shapes(part.file) if engine == "tflm" else None
  if opened and opened.outputs is None:
    raise NotApplicable(f"the operators do not fit together: {opened.fault}")
  gains = {part.writable[place] for place in part.gains}
  graph = part.file.subgraph
  writes = tuple(
    (i, part.file.span(i)[0], graph.tensors[i].dtype, graph.tensors[i].shape)
    for i in part.writable
    if i not in gains and part.file.span(i)[1]
  )
  _require_ran(verdict(part.file, engine, writes, in_place))


def require_stream(file: ModelFile, runtime: str) -> None:
  """Refuses a file, NotApplicable, whose step does not run in the child."""
  if can_run(runtime):  # opening it says what to install
    _require_ran(verdict(file, runtime))


def _require_ran(ran: Ran) -> None:
  if ran.crashed or ran.fault:
    told = "crashes on it" if ran.crashed else "the engine refused the model"
    raise NotApplicable(f"{told}: {ran.fault}")


def verdict(
  file: ModelFile,
  engine: str,
  writes: tuple[tuple[int, int, str, tuple[int, ...]], ...] = (),
  in_place: bool = True,
) -> Ran:
  """How a file runs in an engine that has not seen it; outputs are left out.

  Args:
    file: the file.
    engine: one of `PACKAGES`.
    writes: the constants that are written too, as `First` has them.
    in_place: whether they are written while the interpreter lives.
  """
  key = _digest(file, [write[0] for write in writes]), engine, writes or None
  if key in _known:
    return _known[key]
  if engine == "tflm" and (fault := shape_fault(file)):
    return Ran(None, fault)
  repeats = not any("RANDOM" in name for name in file.operator_names)
  first = First(writes, in_place, repeats)
  ran = run(file, engine, _probes(file), first)
  if ran.outputs is not None:
    ran = ran._replace(outputs=[])
  if ran.outputs is not None or ran.is_late:
    _known[key] = ran
  return ran


def _digest(file: ModelFile, written: list[int]) -> bytes:
  """What a file is, whatever values its written constants have."""
  if not written:
    return hashlib.sha256(file.data).digest()
  data = bytearray(file.data)
  for index in written:
    start, length = file.span(index)
    data[start : start + length] = bytes(length)
  return hashlib.sha256(data).digest()


def shape_fault(file: ModelFile) -> str:
  """Why TFLM must not open a file whose shapes are not what kernels compute.

  TFLM believes the shapes in the file and reads past the ends of those that do
  not fit; LiteRT computes them, in the child.

  Returns:
    The first tensor that does not fit; empty where all do, and where LiteRT
    does not open the file.
  """
  shapes = computed_shapes(file).shapes or {}
  # Behind the file's tensors come the kernels' temporaries.
  for index, tensor in enumerate(file.subgraph.tensors):
    computed = shapes.get(index, tensor.shape)
    if computed != tensor.shape:
      return (
        f"{tensor.name}: the file says shape {list(tensor.shape)}, its "
        f"operator gives {list(computed)}; convert the model again"
      )
  return ""


def computed_shapes(file: ModelFile) -> Ran:
  """Opens a file in LiteRT's reference kernels, in the child, and no more."""
  key = hashlib.sha256(file.data).digest(), "shapes", None
  if key not in _known:
    ran = run(file, "litert-reference", ())
    if ran.outputs is None:
      return ran
    _known[key] = ran
  return _known[key]


def _probes(file: ModelFile) -> Tensors:
  """One sample for each input, an array [1, *shape]."""
  tensors = [file.subgraph.tensors[i] for i in file.subgraph.inputs]
  try:
    return tuple(
      random_bits.probe_input(tensor.shape, tensor.dtype, number, samples=1)
      for number, tensor in enumerate(tensors)
    )
  except TflmFgError as fault:
    raise TflmFgError(f"{file.name}: {fault}") from None


class First(NamedTuple):
  """How much more is tried of a file of which nothing is known.

  It is run twice with other bytes in fresh memory, then with other constants,
  then on two samples at once.

  Attributes:
    writes: the constants, as `trial_child.Write` has them.
    in_place: whether they are written while the interpreter lives.
    repeats: whether the second run must give what the first gave.
  """

  writes: tuple[tuple[int, int, str, tuple[int, ...]], ...] = ()
  in_place: bool = True
  repeats: bool = True


def run(
  file: ModelFile, engine: str, inputs: Tensors, first: First | None = None
) -> Ran:
  """Runs samples through a whole file in the child, each from a fresh state.

  Args:
    file: the model.
    engine: "litert", "litert-reference", "litert-xnnpack", "tflite-runtime",
      "tf" or "tflm".
    inputs: an array [N, *shape] for each input, `shape` with its batch axis;
      none to open the file and run nothing.
    first: what else to try; None for nothing.
  """
  request = {
    "engine": engine,
    "model": file.data,
    "inputs": list(inputs),
    "outputs": len(file.subgraph.outputs),
    "arena": arena_bytes(file),
    "first": first and tuple(first),
  }
  ran = _child(os.getpid()).ask(request)
  if ran.crashed and not ran.is_late:
    # Perhaps for what an earlier model did to the process.
    ran = _child(os.getpid()).ask(request)
  return ran


@functools.lru_cache(maxsize=1)
def _child(process: int) -> Child:
  """The child of this process; a forked one must not use its parent's."""
  del process
  child = Child()
  atexit.register(child.end)
  return child


def sample_rows(file: ModelFile, x: Array) -> Tensors:
  """Samples [N, ...] as the one input of a file has them, [N, *shape]."""
  (index,) = file.subgraph.inputs
  shape = file.subgraph.tensors[index].shape
  return (np.reshape(x, (len(x), *shape)),)
