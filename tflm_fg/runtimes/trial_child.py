"""A process that runs models for `trial`, and that a model may bring down.

It is started as a script and imports NumPy and the engines alone, so that it is
there in a tenth of a second. It reads requests from its standard input and
answers each on its standard output, as pickles; `trial` has both ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import pickle
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_OPTIMIZED = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
LITERT_LIKE = {
  "litert": ("ai_edge_litert.interpreter", _OPTIMIZED),
  "litert-reference": ("ai_edge_litert.interpreter", "BUILTIN_REF"),
  "litert-xnnpack": ("ai_edge_litert.interpreter", "BUILTIN"),
  "tflite-runtime": ("tflite_runtime.interpreter", _OPTIMIZED),
  "tf": ("tensorflow", _OPTIMIZED),
}
"""Engine -> the module with its interpreter, and the kernels that it takes."""

TFLM = "tflite_micro.python.tflite_micro.runtime"

FILLS = 0x55, 0xAA
"""What memory is filled with that nothing has written yet, in one run and in
another: outputs that differ were computed from it."""

_M_PERTURB = -6
"""mallopt's name for that byte, in malloc.h of the GNU C library."""


class Write(NamedTuple):
  """A constant that will be written while the model lives.

  Attributes:
    tensor: its index.
    start: of its bytes in the file.
    dtype: of its numbers.
    shape: of the tensor.
  """

  tensor: int
  start: int
  dtype: str
  shape: tuple[int, ...]


def main() -> None:
  """Answers requests until the standard input ends."""
  answers = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)  # engines print where they like
  _leave_no_core()
  requests = sys.stdin.buffer
  while True:
    try:
      request = pickle.load(requests)
    except EOFError:
      return
    _end_after(request.pop("seconds"))
    try:
      answer: dict[str, Any] = _answer(**request)
    except Exception as fault:  # engines raise what they like
      answer = {"fault": f"{fault}" or type(fault).__name__}
    _end_after(0)
    pickle.dump(answer, answers)
    answers.flush()


def _end_after(seconds: float) -> None:
  """Lets the system end this process if it still runs then; 0 for never.

  The parent ends what takes too long. If that was killed, nobody else would.
  """
  if hasattr(signal, "setitimer"):
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _leave_no_core() -> None:
  with contextlib.suppress(ImportError, ValueError, OSError):
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _bound(most_bytes: int) -> None:
  """Bounds what a model may take beyond what this process has, if it can be."""
  with contextlib.suppress(ImportError, ValueError, OSError):
    import resource

    with open("/proc/self/statm", encoding="ascii") as sizes:
      held = int(sizes.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + most_bytes, hard))


@contextlib.contextmanager
def _filled(byte: int) -> Iterator[None]:
  """Fills memory with a byte when it is given out, where the C library can."""
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt is None:
    yield
    return
  mallopt(_M_PERTURB, byte)
  try:
    yield
  finally:
    mallopt(_M_PERTURB, 0)


def _answer(
  engine: str,
  model: bytes,
  inputs: list[Any],
  outputs: int,
  arena: int,
  most_bytes: int,
  first: tuple[Sequence[Any], bool, bool] | None = None,
) -> dict[str, Any]:
  """Opens a model and runs samples one by one, each from a fresh state.

  Args:
    engine: one of `LITERT_LIKE`, or "tflm".
    model: a .tflite.
    inputs: an array [N, *shape] for each input of the model; none to open it
      and run nothing.
    outputs: how many the model has.
    arena: bytes that TFLM may use for activations.
    most_bytes: of memory that the model may take.
    first: what else to try of a file of which nothing is known, as
      `trial.First` has it; None for nothing.

  Returns:
    "outputs": for each sample, an array for each output of the model; from
    TFLM "arena": its bytes in all, for activations, and for the rest; from the
    others "shapes": of each tensor that they know, by its index.

  Raises:
    ValueError: if a second run gives other outputs.
    Exception: what an engine raises.
  """
  importlib.import_module(TFLM if engine == "tflm" else LITERT_LIKE[engine][0])
  _bound(most_bytes)
  make = _TFLM if engine == "tflm" else _LiteRT
  with _filled(FILLS[0]) if first else contextlib.nullcontext():
    opened = make(engine, model, outputs, arena)
    found = [opened.run(sample) for sample in zip(*inputs)]
  answer = {"outputs": found, **opened.told()}
  if first:
    writes, in_place, repeats = first
    del opened
    with _filled(FILLS[1]):
      opened = make(engine, model, outputs, arena)
      again = [opened.run(sample) for sample in zip(*inputs)]
    if repeats and not all(map(_are_same, found, again)):
      raise ValueError(
        "it gives other outputs for the same samples when it is opened again: "
        "it computes from memory that nothing has written"
      )
    _write(opened, [Write(*write) for write in writes], in_place, inputs)
    make(engine, model, outputs, arena).run_together(inputs)
  return answer


def _are_same(some: Sequence[Any], others: Sequence[Any]) -> bool:
  """Bit for bit; floats, summed in another order, within a thousandth."""
  return all(
    np.allclose(a, b, 1e-3, 1e-3, equal_nan=True)
    if np.asarray(a).dtype.kind == "f"
    else np.array_equal(a, b)
    for a, b in zip(some, others)
  )


def _write(
  opened: _LiteRT | _TFLM, writes: list[Write], in_place: bool, inputs: Any
) -> None:
  """Runs with the largest numbers in all constants, then with the smallest."""
  samples = list(zip(*inputs))[:1]
  for most in (True, False) if writes and samples else ():
    for write in writes:
      values = np.full(write.shape, _far(np.dtype(write.dtype), most))
      opened.write(write, values.astype(write.dtype), in_place)
    if not in_place:
      opened = opened.anew()
    opened.run(samples[0])


def _far(dtype: np.dtype[Any], most: bool) -> float:
  """The largest number of a weight, the smallest one, and far ones of a bias.

  Sums of several of the largest int32 have no meaning in an engine.
  """
  if dtype.kind == "f":
    return 1.0 if most else -1.0
  top = min(int(np.iinfo(dtype).max), 1 << 24)
  return top if most else -top


def scratch() -> BinaryIO:
  """A file without a name: in memory where the system can, else on disk."""
  if hasattr(os, "memfd_create"):
    return os.fdopen(os.memfd_create("said"), "w+b")
  return tempfile.TemporaryFile()


class _LiteRT:
  """An interpreter of LiteRT and its kin."""

  def __init__(
    self, engine: str, model: bytes, outputs: int, arena: int
  ) -> None:
    self._given = engine, outputs, arena
    self._model = bytearray(model)
    name, resolver = LITERT_LIKE[engine]
    module: Any = importlib.import_module(name)
    kinds = module
    if engine == "tf":
      module, kinds = module.lite, module.lite.experimental
    self._held = bytes(self._model)  # engines write into the bytes
    self._engine = module.Interpreter(
      model_content=self._held,
      experimental_op_resolver_type=getattr(kinds.OpResolverType, resolver),
      num_threads=1,
    )
    self._engine.allocate_tensors()
    self._inputs = [d["index"] for d in self._engine.get_input_details()]
    self._outputs = [d["index"] for d in self._engine.get_output_details()]

  def anew(self) -> _LiteRT:
    """Another one, with what was written to the file."""
    engine, outputs, arena = self._given
    return _LiteRT(engine, bytes(self._model), outputs, arena)

  def run(self, sample: Sequence[Any]) -> list[Any]:
    """The outputs of one sample."""
    self._engine.reset_all_variables()
    for index, value in zip(self._inputs, sample):
      self._engine.set_tensor(index, value)
    self._engine.invoke()
    return [self._engine.get_tensor(i) for i in self._outputs]

  def told(self) -> dict[str, Any]:
    """The shapes that the kernels gave to tensors."""
    shapes = {
      int(detail["index"]): tuple(int(d) for d in detail["shape"])
      for detail in self._engine.get_tensor_details()
    }
    return {"shapes": shapes}

  def write(self, write: Write, values: Any, in_place: bool) -> None:
    """Writes a constant, in the interpreter or in the file for the next."""
    if in_place:
      self._engine.set_tensor(write.tensor, values)
    else:
      end = write.start + values.nbytes
      self._model[write.start : end] = values.tobytes()

  def run_together(self, inputs: Sequence[Any]) -> None:
    """Runs two samples at once, where the model takes them."""
    pairs = [np.concatenate([x[0], x[0]]) for x in inputs if _has_batch(x)]
    if not inputs or len(pairs) < len(inputs):
      return
    with contextlib.suppress(RuntimeError, ValueError):
      for index, pair in zip(self._inputs, pairs):
        self._engine.resize_tensor_input(index, pair.shape)
      self._engine.allocate_tensors()
      self.run(pairs)


def _has_batch(x: Any) -> bool:
  """Whether samples [N, *shape] have shapes that begin with one of a batch."""
  return len(x) > 0 and x.ndim > 1 and x.shape[1] == 1


class _TFLM:
  """An interpreter of TFLM."""

  def __init__(
    self, engine: str, model: bytes, outputs: int, arena: int
  ) -> None:
    self._given = engine, outputs, arena
    runtime: Any = importlib.import_module(TFLM)
    self._model = bytes(bytearray(model))
    self._count = outputs
    self._engine = runtime.Interpreter.from_bytes(self._model, arena_size=arena)

  def anew(self) -> _TFLM:
    """Another one, with what was written to the file."""
    engine, outputs, arena = self._given
    return _TFLM(engine, self._model, outputs, arena)

  def run(self, sample: Sequence[Any]) -> list[Any]:
    """The outputs of one sample."""
    self._engine.reset()
    for number, value in enumerate(sample):
      self._engine.set_input(value, number)
    self._engine.invoke()
    return [self._engine.get_output(i) for i in range(self._count)]

  def write(self, write: Write, values: Any, in_place: bool) -> None:
    """Writes a constant where TFLM reads it."""
    del in_place
    address = np.frombuffer(self._model, np.uint8).ctypes.data + write.start
    ctypes.memmove(address, values.tobytes(), values.nbytes)

  def run_together(self, inputs: Sequence[Any]) -> None:
    """Takes no batches."""

  def told(self) -> dict[str, Any]:
    """What it reports of its arena, on C's stderr and nowhere else."""
    with scratch() as said:
      own = os.dup(2)
      os.dup2(said.fileno(), 2)
      try:
        self._engine.print_allocations()
      finally:
        os.dup2(own, 2)
        os.close(own)
      said.seek(0)
      text = said.read().decode("utf-8", "replace")
    parts = ("total", "head", "tail")
    found = [
      re.search(rf"allocation {part} (\d+) bytes", text) for part in parts
    ]
    sizes = tuple(int(f[1]) for f in found if f)
    return {"arena": sizes if all(found) else None}


if __name__ == "__main__":
  main()
