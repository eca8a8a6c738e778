"""What the programs do with a file, done with a damaged one.

Each step may refuse it in one line. What else may happen is what is searched
for: another exception, a signal, or no end.
"""

from __future__ import annotations

import math
import traceback
import warnings
from typing import Any, NamedTuple

import numpy as np

import tflm_fg
from converters.to_float import to_float
from tests.options import options
from tflm_fg.fixed_point.random_bits import probe_input
from tflm_fg.inspection import describe_file, describe_training
from tflm_fg.requirements import requirements
from tflm_fg.runtimes import trial
from tflm_fg.streaming import StreamModel
from tflm_fg.streaming.runner import STATES
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import input_spec
from tflm_fg.types import TflmFgError

ENGINES = ("litert", "litert-reference", "litert-xnnpack", "tflm")

PLACEMENTS = ("head", "prompt", "wide-head", "bias", "all", "inner-bias")

REFUSED, ENDED, LATE, STOPPED, RAN, FAILED = (
  "refused by the verifier",
  "ended the engine's process",
  "took too long in an engine",
  "refused by an engine or later",
  "ran to the end",
  "failed",
)
OUTCOMES = (REFUSED, STOPPED, ENDED, LATE, RAN, FAILED)
"""How a mutant may end; the last one is what must not be."""


class Ending(NamedTuple):
  """How a mutant ended.

  Attributes:
    outcome: one of `OUTCOMES`.
    words: the refusal, or what failed.
  """

  outcome: str
  words: str = ""


def tried(data: bytes, number: int, engines: tuple[str, ...]) -> Ending:
  """Does with a file what the programs do.

  Args:
    data: the file.
    number: says which placement, and what else is done; files take turns.
    engines: each is tried.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      return _tried(data, number, engines)
  except MemoryError as fault:  # programs make one line of it
    return Ending(STOPPED, f"out of memory: {fault}")
  except Exception as fault:
    frames = traceback.extract_tb(fault.__traceback__)
    own = [f for f in frames if "/tflm_fg/" in f.filename] or list(frames)
    place = f"{own[-1].filename.split('/tflm_fg/')[-1]}:{own[-1].lineno}"
    return Ending(FAILED, f"{type(fault).__name__} {place} {fault}"[:300])


def _tried(data: bytes, number: int, engines: tuple[str, ...]) -> Ending:
  try:
    file = ModelFile.open(data, "m")
  except TflmFgError as fault:
    return Ending(REFUSED, str(fault))
  worst = Ending(RAN)
  for engine in engines:
    ended = _in_engine(file, number, engine)
    if ended.outcome != RAN and worst.outcome in (RAN, STOPPED):
      worst = ended
  for work in (_converted, _scored, _adapted, _streamed):
    if (number // 7) % 5 == 0 or work is _converted:
      try:
        work(file, number, engines[0])
      except TflmFgError as fault:
        if worst.outcome == RAN:
          worst = Ending(STOPPED, str(fault))
  return worst


def _in_engine(file: ModelFile, number: int, engine: str) -> Ending:
  """The first run; then what shall train is marked, cut, opened and written."""
  placement = PLACEMENTS[number % len(PLACEMENTS)]
  try:
    fault = trial.misread(file, engine)
    ran = trial.verdict(file, engine)
    if fault or ran.fault:
      outcome = LATE if ran.is_late else ENDED if ran.crashed else STOPPED
      return Ending(outcome, fault or f"{engine}: {ran.fault}")
    marked = tflm_fg.mark_trainable(file, placement)
    describe_training(marked, engine, "auto")
  except TflmFgError as fault:
    return Ending(STOPPED, f"{engine}: {fault}")
  return Ending(RAN)


def _converted(file: ModelFile, number: int, engine: str) -> None:
  """As `tflm-fg-convert` and `tflm-fg-inspect` do it."""
  del engine
  describe_file(file)
  marked = tflm_fg.mark_trainable(file, PLACEMENTS[number % 3])
  if number % 8 == 0:
    requirements(file, marked.file)
  if number % 8 == 1:
    to_float(marked.data)


MOST_NUMBERS = 1 << 16
"""Larger samples would cost seconds, and are tried by the first run alone."""

_KNOWN = ("int8", "uint8", "int16", "int32", "float32")


def _samples(file: ModelFile) -> tuple[Any, Any]:
  spec = input_spec(file)
  if math.prod(spec.shape) > MOST_NUMBERS or spec.dtype not in _KNOWN:
    raise TflmFgError("nobody has such samples")
  x = probe_input(spec.shape[1:], spec.dtype, 0, 12)
  return x, np.arange(len(x)) % 3


def _scored(file: ModelFile, number: int, engine: str) -> None:
  """As `tflm-fg-evaluate` does it."""
  del number
  x, y = _samples(file)
  tflm_fg.evaluate(file, x, y, runtime=engine)


def _adapted(file: ModelFile, number: int, engine: str) -> None:
  """As `tflm-fg-adapt` does it, in a few steps."""
  if number % 3:
    return
  x, y = _samples(file)
  placement = PLACEMENTS[number % len(PLACEMENTS)]
  short = options(method="sign-m-spsa", steps=3)
  tflm_fg.adapt(file, x, y, trainable=placement, runtime=engine, **short)


def _streamed(file: ModelFile, number: int, engine: str) -> None:
  """As `tflm-fg-wake` does it: whole, cut, and with another last layer."""
  held = STATES[number % len(STATES)]
  model = StreamModel.open(file, engine, state=held)
  if math.prod(model.step_shape) > MOST_NUMBERS:
    raise TflmFgError("nobody has such steps")
  x = probe_input(model.step_shape, model.input_dtype, 0, 6)
  model.run(x)
  model.head_outputs(model.head_inputs(x), -model.head.weights)
  model.with_head(-model.head.weights)
