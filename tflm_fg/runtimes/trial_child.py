"""A process that runs models for `trial`, and that a model may bring down.

It is started as a script and imports NumPy and the engines alone, so that it is
there in a tenth of a second. It reads requests from its standard input and
answers each on its standard output, as pickles; `trial` has both ends.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import re
import sys
import tempfile
from typing import Any

LITERT_LIKE = {
  "litert": (
    "ai_edge_litert.interpreter",
    "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
  ),
  "litert-reference": ("ai_edge_litert.interpreter", "BUILTIN_REF"),
  "litert-xnnpack": ("ai_edge_litert.interpreter", "BUILTIN"),
  "tflite-runtime": (
    "tflite_runtime.interpreter",
    "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
  ),
}
"""Engine -> the module with its interpreter, and the kernels that it takes."""

MOST_BYTES = 16 << 30
"""Address space that the process may take: a model may ask for any amount."""


def main() -> None:
  """Answers requests until the standard input ends."""
  answers = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)  # engines print where they like
  _limit()
  requests = sys.stdin.buffer
  while True:
    try:
      request = pickle.load(requests)
    except EOFError:
      return
    try:
      answer: dict[str, Any] = _run(**request)
    except Exception as fault:  # engines raise what they like
      answer = {"fault": f"{fault}" or type(fault).__name__}
    pickle.dump(answer, answers)
    answers.flush()


def _limit() -> None:
  """Bounds memory where the system can, and leaves no core files."""
  with contextlib.suppress(ImportError, ValueError, OSError):
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, hard))


def _run(
  engine: str, model: bytes, inputs: list[Any], outputs: int, arena: int
) -> dict[str, Any]:
  """Opens a model and runs samples one by one, each from a fresh state.

  Args:
    engine: one of `LITERT_LIKE`, or "tflm".
    model: a .tflite.
    inputs: an array [N, *shape] for each input of the model; none to open it
      and run nothing.
    outputs: how many the model has.
    arena: bytes that TFLM may use for activations.

  Returns:
    "outputs": for each sample, an array for each output of the model; and from
    TFLM "arena": its bytes in all, for activations, and for the rest.
  """
  model = bytes(bytearray(model))  # engines write into the bytes
  if engine == "tflm":
    return _run_tflm(model, inputs, outputs, arena)
  module_name, resolver = LITERT_LIKE[engine]
  module: Any = importlib.import_module(module_name)
  interpreter = module.Interpreter(
    model_content=model,
    experimental_op_resolver_type=getattr(module.OpResolverType, resolver),
    num_threads=1,
  )
  interpreter.allocate_tensors()
  indices = [d["index"] for d in interpreter.get_input_details()]
  made = [d["index"] for d in interpreter.get_output_details()]
  found = []
  for sample in zip(*inputs):
    interpreter.reset_all_variables()
    for index, value in zip(indices, sample):
      interpreter.set_tensor(index, value)
    interpreter.invoke()
    found.append([interpreter.get_tensor(i) for i in made])
  return {"outputs": found}


def _run_tflm(
  model: bytes, inputs: list[Any], outputs: int, arena: int
) -> dict[str, Any]:
  runtime: Any = importlib.import_module(
    "tflite_micro.python.tflite_micro.runtime"
  )
  interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
  found = []
  for sample in zip(*inputs):
    interpreter.reset()
    for number, value in enumerate(sample):
      interpreter.set_input(value, number)
    interpreter.invoke()
    found.append([interpreter.get_output(i) for i in range(outputs)])
  return {"outputs": found, "arena": _reported(interpreter)}


def _reported(interpreter: Any) -> tuple[int, ...] | None:
  """What TFLM says of its arena; it says so on C's stderr and nowhere else."""
  with tempfile.TemporaryFile() as said:
    own = os.dup(2)
    os.dup2(said.fileno(), 2)
    try:
      interpreter.print_allocations()
    finally:
      os.dup2(own, 2)
      os.close(own)
    said.seek(0)
    text = said.read().decode("utf-8", "replace")
  parts = ("total", "head", "tail")
  found = [re.search(rf"allocation {part} (\d+) bytes", text) for part in parts]
  return tuple(int(f[1]) for f in found if f) if all(found) else None


if __name__ == "__main__":
  main()
