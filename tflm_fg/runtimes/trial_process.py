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
import threading
from typing import Any, NamedTuple

from tflm_fg import limits
from tflm_fg.runtimes.trial_child import scratch
from tflm_fg.types import Array, one_line

LIMIT_SECONDS = 60.0
"""A run of a sample that takes longer counts as one that never ends."""

START_SECONDS = 30.0
"""A new process may take so much longer: it imports an engine."""

ORPHAN_SECONDS = 5.0
"""So much later it ends itself, as it must where this process was killed."""

MOST_BYTES = 16 << 30
"""Memory that a model may take in it at most, and no more than this program may
take in all (`limits.memory`): a model may ask for any amount."""

_ENVIRONMENT = {
  # Small blocks are filled too when they are given out; see `trial_child`.
  "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
  "TF_CPP_MIN_LOG_LEVEL": "3",
}

_CHILD = pathlib.Path(__file__).with_name("trial_child.py")


class Ran(NamedTuple):
  """How a trial ended.

  Attributes:
    outputs: for each sample, an array for each output; None if it failed.
    fault: why it failed, in the engine's words; empty if it did not.
    crashed: whether it ended the process, or the process was ended for it.
    is_late: whether that was because it took too long.
    arena: bytes of TFLM's arena as it reports them: all, what is planned anew
      for every pass, and what stays; None from other engines.
    shapes: of tensors by their index, as kernels computed them; None from
      TFLM, which believes the file.
  """

  outputs: list[list[Array]] | None
  fault: str = ""
  crashed: bool = False
  is_late: bool = False
  arena: tuple[int, int, int] | None = None
  shapes: dict[int, tuple[int, ...]] | None = None


class Child:
  """The process that runs trials; it is started when it is needed."""

  def __init__(self) -> None:
    self._process: subprocess.Popen[bytes] | None = None
    self._words: Any = None
    self._lock = threading.Lock()

  def ask(self, request: dict[str, Any]) -> Ran:
    """Sends a request and waits for the answer or for the process's end.

    Args:
      request: the arguments of `trial_child`, with samples as "inputs".
    """
    samples = max(map(len, request["inputs"]), default=1)
    with self._lock:
      before_it = self._process
      process = self._started()
      seconds = LIMIT_SECONDS * max(1, samples)
      seconds += START_SECONDS * (process is not before_it)
      assert process.stdin and process.stdout
      self._words.seek(0, os.SEEK_END)
      before = self._words.tell()
      late = threading.Event()
      timer = threading.Timer(seconds, _end_late, (process, late))
      timer.daemon = True
      timer.start()
      try:
        most_bytes = min(MOST_BYTES, limits.memory())
        bounds = {"most_bytes": most_bytes, "seconds": seconds + ORPHAN_SECONDS}
        pickle.dump({**request, **bounds}, process.stdin)
        process.stdin.flush()
        answer = pickle.load(process.stdout)
      except (EOFError, OSError, pickle.UnpicklingError):
        self._process = None
        ending = _ending(process.wait(), seconds if late.is_set() else 0.0)
        return Ran(None, ending, crashed=True, is_late=late.is_set())
      except BaseException:  # its answer would be taken for the next one's
        self.end()
        raise
      finally:
        timer.cancel()
      if "fault" not in answer:
        return Ran(answer.pop("outputs"), **answer)
      self._words.seek(before)
      return Ran(None, _reason(answer["fault"], self._words.read()))

  def _started(self) -> subprocess.Popen[bytes]:
    """The running process, or a new one."""
    if self._process is not None and self._process.poll() is None:
      return self._process
    self.end()
    self._words = scratch()
    path = os.pathsep.join(p or os.getcwd() for p in sys.path)
    # The folder of a script comes first on its path: its files have the names
    # of engines.
    code = f"import runpy; runpy.run_path({str(_CHILD)!r}, run_name='__main__')"
    self._process = subprocess.Popen(
      [sys.executable, "-c", code],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._words,
      env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
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


def _end_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
  late.set()
  process.kill()


def _ending(status: int, seconds: float = 0.0) -> str:
  """How a process ended, in a few words.

  Args:
    status: of the process.
    seconds: after which it was ended here; 0 if it ended by itself.
  """
  if seconds:
    return f"it took longer than {seconds:g} s"
  if status == -signal.SIGKILL:
    return "the system ended it: is there enough memory?"
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
