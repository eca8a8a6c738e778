"""The parent's end of the process that runs models for `trial`.

It answers one request after the other, and is started again where a model has
ended it. How it ended is an answer too.
"""

from __future__ import annotations

import os
import pathlib
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any, NamedTuple

from tflm_fg.types import Array, one_line

LIMIT_SECONDS = 300.0
"""A run of a model that takes longer counts as one that never ends."""

_CHILD = pathlib.Path(__file__).with_name("trial_child.py")


class Ran(NamedTuple):
  """How a trial ended.

  Attributes:
    outputs: for each sample, an array for each output; None if it failed.
    fault: why it failed, in the engine's words; empty if it did not.
    crashed: whether it ended the process.
    arena: bytes of TFLM's arena as it reports them: all, what is planned anew
      for every pass, and what stays; None from other engines.
  """

  outputs: list[list[Array]] | None
  fault: str = ""
  crashed: bool = False
  arena: tuple[int, int, int] | None = None


class Child:
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
      except KeyboardInterrupt:  # its answer would be taken for the next one's
        self.end()
        raise
      finally:
        timer.cancel()
      if "fault" not in answer:
        return Ran(answer["outputs"], arena=answer.get("arena"))
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
