"""Measure what a step of a stream costs, beside the engine's bare invoke.

  python tools/measure_streams.py hey_jarvis.tflite okay_nabu.tflite

Prints a Markdown table of microseconds a step, with state in the file's
variables and outside, and of the milliseconds that starting a stream takes.
"""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import app, flags

from tflm_fg.runtimes import installed
from tflm_fg.streaming import StreamModel

_STEPS = flags.DEFINE_integer("steps", 2000, "steps of a stream", lower_bound=2)
_REPEATS = flags.DEFINE_integer(
  "repeats", 5, "the least of so many times counts", lower_bound=1
)

RESOLVERS = {
  "litert": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
  "litert-reference": "BUILTIN_REF",
  "litert-xnnpack": "BUILTIN",
}


def main(arguments: list[str]) -> None:
  """Measures each model in each engine of LiteRT and in TFLM."""
  names = [name for name in (*RESOLVERS, "tflm") if name in installed()]
  print(
    "| model | runtime | bare invoke, us | step, variables | step, external | "
    "start, variables, ms | start, external |"
  )
  print("|---|---|---|---|---|---|---|")
  for path in map(pathlib.Path, arguments[1:]):
    for name in names:
      row = measured(path, name)
      print(f"| {path.stem} | {name} | " + " | ".join(row) + " |", flush=True)


def measured(path: pathlib.Path, runtime: str) -> list[str]:
  """A row of the table."""
  own, outside = (
    StreamModel.open(path, runtime, state=state)
    for state in ("variables", "external")
  )
  random = np.random.default_rng(0)
  shape = (_STEPS.value, *own.step_shape)
  steps = random.integers(-128, 128, shape).astype(own.input_dtype)
  if not np.array_equal(own.run(steps), outside.run(steps)):
    raise SystemExit(f"{path} in {runtime}: variables and external differ")
  invoke = bare(path.read_bytes(), runtime)
  alone = least(lambda: [invoke() for _ in steps]) / len(steps)
  found = [f"{alone * 1e6:.1f}"]
  starts = []
  for model in (own, outside):
    one = least(lambda m=model: m.run(steps[:1]))
    whole = least(lambda m=model: m.run(steps))
    found.append(f"{(whole - one) / (len(steps) - 1) * 1e6:.1f}")
    starts.append(f"{one * 1e3:.2f}")
  return found + starts


def bare(data: bytes, runtime: str) -> Callable[[], Any]:
  """The engine's own invoke, without inputs and outputs."""
  if runtime == "tflm":
    from tflite_micro.python.tflite_micro import runtime as tflm

    return tflm.Interpreter.from_bytes(data).invoke  # type: ignore[no-any-return]
  from ai_edge_litert import interpreter as litert

  kinds = litert.OpResolverType
  engine = litert.Interpreter(
    model_content=data,
    experimental_op_resolver_type=getattr(kinds, RESOLVERS[runtime]),
    num_threads=1,
  )
  engine.allocate_tensors()
  return engine.invoke  # type: ignore[no-any-return]


def least(run: Callable[[], object]) -> float:
  """Seconds of the shortest of several runs."""
  times = []
  for _ in range(_REPEATS.value):
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
  return min(times)


if __name__ == "__main__":
  flags.FLAGS.set_default("logtostderr", True)
  sys.exit(app.run(main))
