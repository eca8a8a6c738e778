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
import pathlib
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any, NamedTuple

import numpy as np

from tflm_fg.fixed_point import random_bits
from tflm_fg.runtimes.tflm import arena_bytes
from tflm_fg.tflite import known_forms
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.types import Array, NotApplicable, Tensors, TflmFgError, one_line

LIMIT_SECONDS = 300.0
"""A run of a model that takes longer counts as one that never ends."""

_KERNELS = {
  "litert": ("litert", "litert-xnnpack"),
  "tf": ("litert", "litert-xnnpack"),
}
"""Runtime -> what runs its files here; the others run their own."""

_CHILD = pathlib.Path(__file__).with_name("trial_child.py")


class Ran(NamedTuple):
  """How a trial ended.

  Attributes:
    outputs: for each sample, an array for each output; None if it failed.
    fault: why it failed, in the engine's words; empty if it did not.
    crashed: whether it ended the process.
  """

  outputs: list[list[Array]] | None
  fault: str = ""
  crashed: bool = False


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
  for engine in _KERNELS.get(runtime, (runtime,)):
    if not can_run(engine):
      continue  # opening it says what to choose or to install
    fault, crashed = _verdict(file, engine)
    if crashed or (fault and engine != "litert-xnnpack"):
      told = "crashes on it" if crashed else "refuses it"
      raise NotApplicable(f"{file.name}: {engine} {told}: {fault}")


_PACKAGES = {
  "litert": "ai_edge_litert",
  "litert-reference": "ai_edge_litert",
  "litert-xnnpack": "ai_edge_litert",
  "tflite-runtime": "tflite_runtime",
  "tflm": "tflite_micro",
}


def can_run(engine: str) -> bool:
  """Whether an engine is known here and its package installed."""
  package = _PACKAGES.get(engine)
  return package is not None and importlib.util.find_spec(package) is not None


_passed: set[tuple[bytes, str]] = set()


def _verdict(file: ModelFile, engine: str) -> tuple[str, bool]:
  """Why an engine does not run a file, and whether it crashed on it."""
  key = hashlib.sha256(file.data).digest(), engine
  if key in _passed:
    return "", False
  ran = run(file, engine, _probes(file))
  if ran.outputs is not None:
    _passed.add(key)
  return ran.fault, ran.crashed


def _probes(file: ModelFile) -> Tensors:
  """One sample for each input, an array [1, *shape]."""
  tensors = [file.subgraph.tensors[i] for i in file.subgraph.inputs]
  try:
    return tuple(
      random_bits.probe_input(tensor.shape, tensor.dtype, number, samples=1)
      for number, tensor in enumerate(tensors)
    )
  except (TypeError, ValueError):
    types = ", ".join(tensor.dtype for tensor in tensors)
    raise TflmFgError(
      f"{file.name}: inputs of {types}; need int8, int16, uint8, int32 or float"
    ) from None


def run(file: ModelFile, engine: str, inputs: Tensors) -> Ran:
  """Runs samples through a whole file in the child, each from a fresh state.

  Args:
    file: the model.
    engine: "litert", "litert-reference", "litert-xnnpack", "tflite-runtime" or
      "tflm".
    inputs: an array [N, *shape] for each input, `shape` with its batch axis.
  """
  request = {
    "engine": engine,
    "model": file.data,
    "inputs": list(inputs),
    "outputs": len(file.subgraph.outputs),
    "arena": arena_bytes(file),
  }
  ran = _child(os.getpid()).ask(request)
  if ran.crashed:  # perhaps for what an earlier model did to the process
    ran = _child(os.getpid()).ask(request)
  return ran


@functools.lru_cache(maxsize=1)
def _child(process: int) -> _Child:
  """The child of this process; a forked one must not use its parent's."""
  del process
  child = _Child()
  atexit.register(child.end)
  return child


class _Child:
  """The process that runs trials; it is started when it is needed."""

  def __init__(self) -> None:
    self._process: subprocess.Popen[bytes] | None = None
    self._words: Any = None
    self._lock = threading.Lock()

  def ask(self, request: dict[str, Any]) -> Ran:
    """Sends a request and waits for the answer or for the process's end."""
    with self._lock:
      process = self._started()
      assert process.stdin and process.stdout
      self._words.seek(0, os.SEEK_END)
      before = self._words.tell()
      timer = threading.Timer(LIMIT_SECONDS, process.kill)
      timer.daemon = True
      timer.start()
      try:
        pickle.dump(request, process.stdin)
        process.stdin.flush()
        answer = pickle.load(process.stdout)
      except (EOFError, OSError, pickle.UnpicklingError):
        self._process = None
        return Ran(None, _ending(process.wait()), crashed=True)
      finally:
        timer.cancel()
      if "fault" not in answer:
        return Ran(answer["outputs"])
      self._words.seek(before)
      return Ran(None, _reason(answer["fault"], self._words.read()))

  def _started(self) -> subprocess.Popen[bytes]:
    """The running process, or a new one."""
    if self._process is not None and self._process.poll() is None:
      return self._process
    self.end()
    self._words = tempfile.TemporaryFile()  # noqa: SIM115
    path = os.pathsep.join(p or os.getcwd() for p in sys.path)
    # The folder of a script comes first on its path: its files have the names
    # of engines.
    code = f"import runpy; runpy.run_path({str(_CHILD)!r}, run_name='__main__')"
    self._process = subprocess.Popen(
      [sys.executable, "-c", code],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._words,
      env={**os.environ, "PYTHONPATH": path},
      start_new_session=True,  # Ctrl-C is for this process
    )
    return self._process

  def end(self) -> None:
    """Ends the process, if there is one."""
    if self._process is not None:
      self._process.kill()
      self._process.communicate()
      self._process = None
    if self._words is not None:
      self._words.close()
      self._words = None


def _ending(status: int) -> str:
  """How a process ended, in a few words."""
  if status == -signal.SIGKILL:
    return "it never ended, or took all memory"
  if status < 0:
    return f"it ended in {signal.Signals(-status).name}"
  return f"it ended with status {status}"


def _reason(fault: str, words: bytes) -> str:
  """What an engine raised, with what it printed where that says more."""
  lines = words.decode("utf-8", "replace").splitlines()
  lines = [line for line in lines if not line.startswith("INFO:")]
  said = " ".join(" ".join(lines).split())
  if said and said not in fault:
    fault = f"{fault} ({said})"
  return one_line(ValueError(fault), 300)


def sample_rows(file: ModelFile, x: Array) -> Tensors:
  """Samples [N, ...] as the one input of a file has them, [N, *shape]."""
  (index,) = file.subgraph.inputs
  shape = file.subgraph.tensors[index].shape
  return (np.reshape(x, (len(x), *shape)),)
