"""Convert a model on disk to an integer .tflite, in a process of its own.

TensorFlow's converter is native code: a graph that it does not expect ends the
whole process. So a child converts, and tells of each stage. What it wrote and
how it ended come back here, where every end is a result or one clear line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.comparison import Comparison
from tflm_fg.types import TflmFgError, one_line

Tell = Callable[[str], None]
"""Takes one line that says what is being done."""

MOST_STEPS = 256
"""A recurrent layer is unrolled up to so many steps: each is a copy of it."""

STAGE = "stage: "
"""Begins a line by which the child tells what it does."""


CHILD = "from converters.conversion_child import main; main()"
"""What the child runs; its argument is the folder."""


@dataclasses.dataclass(frozen=True)
class Converted:
  """What a conversion gave.

  Attributes:
    data: the integer .tflite, unmarked.
    comparison: with the float model on the calibration samples; None where
      there are none.
  """

  data: bytes
  comparison: Comparison | None


def convert(
  path: str,
  samples: NDArray[np.floating] | None,
  activations: str,
  tell: Tell,
) -> Converted:
  """Converts a Keras file, a SavedModel or a float .tflite.

  A recurrent Keras layer on which the converter crashes is tried again with its
  steps unrolled, which computes the same numbers.

  Args:
    path: a .keras or .h5 file, a SavedModel folder, or a float .tflite.
    samples: float [N, ...] in the model's units; None only for a model that
      was trained with quantization.
    activations: "int8" or "int16".
    tell: called with a line for each stage.

  Raises:
    TflmFgError: in one line, also where TensorFlow crashed.
  """
  first = _Attempt(path, samples, activations, unroll=False)
  if first.run(tell):
    return first.result()
  if not first.can_unroll:
    raise TflmFgError(first.crash())
  tell(
    f"TensorFlow's converter crashed ({first.ending}); trying again with the "
    f"steps of {', '.join(first.recurrent)} unrolled"
  )
  second = _Attempt(path, samples, activations, unroll=True)
  if second.run(tell):
    return second.result()
  raise TflmFgError(second.crash())


class _Attempt:
  """One child that converts, with what it was asked and how it ended."""

  def __init__(
    self,
    path: str,
    samples: NDArray[np.floating] | None,
    activations: str,
    unroll: bool,
  ) -> None:
    self._path, self._samples = path, samples
    self._request = {
      "path": path,
      "activations": activations,
      "unroll": unroll,
    }
    self._stage = "starting TensorFlow"
    self._status = 0
    self._answer: Mapping[str, Any] = {}
    self._data = b""

  def run(self, tell: Tell) -> bool:
    """Runs the child to its end; False if it crashed.

    Raises:
      TflmFgError: what the child said in place of a result.
    """
    with tempfile.TemporaryDirectory() as name:
      folder = pathlib.Path(name)
      (folder / "request.json").write_text(json.dumps(self._request))
      if self._samples is not None:
        np.save(folder / "samples.npy", self._samples)
      self._status = self._wait(folder, tell)
      self._read(folder)
    if "error" in self._answer:
      raise TflmFgError(self._answer["error"])
    return self._status == 0 and bool(self._data)

  def _wait(self, folder: pathlib.Path, tell: Tell) -> int:
    """Starts the child and passes its stages on until it ends."""
    path = [p or os.getcwd() for p in sys.path]
    with (
      open(folder / "stderr", "wb") as errors,
      subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        text=True,
        errors="replace",
      ) as child,
    ):
      try:
        assert child.stdout is not None
        for line in child.stdout:
          if line.startswith(STAGE):
            self._stage = line.removeprefix(STAGE).strip()
            tell(self._stage)
        return child.wait()
      except BaseException:
        child.kill()
        raise

  def _read(self, folder: pathlib.Path) -> None:
    answer, model = folder / "answer.json", folder / "model.tflite"
    if answer.exists():
      self._answer = json.loads(answer.read_text())
    if model.exists():
      self._data = model.read_bytes()
    said = (folder / "stderr").read_text(errors="replace").splitlines()
    self._last_words = said[-1] if said else ""

  @property
  def recurrent(self) -> Mapping[str, int]:
    """Recurrent layers that are not unrolled, with the steps of each."""
    return self._answer.get("recurrent", {})

  @property
  def can_unroll(self) -> bool:
    """Whether unrolling is left to try, and gives no enormous graph."""
    steps = self.recurrent.values()
    return bool(steps) and max(steps) <= MOST_STEPS

  @property
  def ending(self) -> str:
    """How the child ended, by name."""
    if self._status < 0:
      return signal.Signals(-self._status).name
    return f"exit status {self._status}"

  def crash(self) -> str:
    """One line for an end without a result."""
    line = (
      f"{self._path}: TensorFlow's converter crashed ({self.ending}) while "
      f"{self._stage}"
    )
    if self._status == -signal.SIGKILL:
      return line + "; the system killed it: is there enough memory?"
    if self._status > 0 and self._last_words:
      return f"{line}: {one_line(self._last_words, 200)}"
    if self.recurrent:
      return (
        f"{line}; {', '.join(self.recurrent)} has more than {MOST_STEPS} "
        "steps: build it with unroll=True and fewer of them"
      )
    if self._request["unroll"]:
      return line + ", also with its recurrent layers unrolled"
    return (
      f"{line}; if the model has LSTM or GRU layers, build them with "
      "unroll=True and save it again"
    )

  def result(self) -> Converted:
    """What the child made."""
    given = self._answer.get("comparison")
    return Converted(self._data, Comparison(**given) if given else None)
