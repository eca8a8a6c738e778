"""Compare an adapted file over engines, bit by bit."""

from __future__ import annotations

import argparse
import ctypes
import pathlib
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.detection import train_head
from tflm_fg.streaming import StreamModel
from tools.wake import groups, runs
from tools.wake.settings import Setting, settings

RUNTIMES = ("litert-reference", "litert", "tflm")
STREAMS = 12

Outputs = NDArray[Any]


def table(given: argparse.Namespace) -> str:
  """A row a model: how many outputs differ, of the first voice's file."""
  rows = [
    "| model | steps | tflm beside litert-reference | litert beside "
    "litert-reference | pymicro-wakeword beside litert |",
    "|---|---|---|---|---|",
  ]
  for stem in given.only.split(","):
    bench = runs.Bench(stem, given.models, given.cache)
    rows.append(row(bench, settings(stem)[0]))
  return "\n".join(rows)


def row(bench: runs.Bench, setting: Setting) -> str:
  """Trains to a voice, and runs test recordings and negatives everywhere.

  It is trained against the bench's own ordinary speech: which engines agree
  does not depend on how good the head is.
  """
  parts = bench.parts(setting)
  weights, bias = train_head(
    bench.model.head,
    [np.asarray(parts["train"][i]) for i in runs.Job(setting=setting).chosen()],
    [np.asarray(stream) for stream in parts["ordinary"][:STREAMS]],
    [],
    bench.rule,
  )
  file = bench.model.with_head(weights, bias)
  streams = [
    *bench.steps(f"own/{setting.name}")[groups.TRAIN :][:STREAMS],
    *bench.steps("negatives")[:1],
  ]
  reference, optimized, micro = (
    [StreamModel.open(file, runtime).run(s) for s in streams]
    for runtime in RUNTIMES
  )
  pairs = (
    (micro, reference),
    (optimized, reference),
    ([packaged(file, s) for s in streams], optimized),
  )
  counts = [_differ(one, other) for one, other in pairs]
  total = sum(map(len, streams))
  return f"| {bench.stem} | {total} | {' | '.join(map(str, counts))} |"


def _differ(one: list[Outputs], other: list[Outputs]) -> str:
  """How many outputs differ, and by how many 256ths at most."""
  gaps = np.concatenate(
    [
      np.abs(a.ravel().astype(int) - b.ravel().astype(int))
      for a, b in zip(one, other)
    ]
  )
  count = int((gaps > 0).sum())
  return f"{count}, by {gaps.max()}" if count else "0"


def packaged(file: bytes, steps: NDArray[np.int8]) -> NDArray[Any]:
  """Runs quantized steps in the C library that pymicro-wakeword ships.

  Args:
    file: the model.
    steps: int8 [T, 3, 40].

  Returns:
    uint8 [T], from a fresh state.
  """
  from pymicro_wakeword import MicroWakeWord, microwakeword

  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "model.tflite"
    path.write_bytes(file)
    word = MicroWakeWord(
      id="bench",
      wake_word="bench",
      tflite_model=path,
      probability_cutoff=0.5,
      sliding_window_size=1,
      trained_languages=[],
      libtensorflowlite_c_path=next(
        iter(pathlib.Path(microwakeword.__file__).parent.glob("lib/*_c.*"))
      ),
    )
    found = np.zeros(len(steps), np.uint8)
    for number, step in enumerate(steps):
      data = np.ascontiguousarray(step).tobytes()
      word.lib.TfLiteTensorCopyFromBuffer(word.input_tensor, data, len(data))
      word.lib.TfLiteInterpreterInvoke(word.interpreter)
      given = ctypes.create_string_buffer(1)
      word.lib.TfLiteTensorCopyToBuffer(word.output_tensor, given, 1)
      found[number] = given.raw[0]
    word.close()
  return found
