"""Run the project's programs as a shell would, from any folder.

A program gets a process of its own, so that a traceback, a line that an engine
prints and a file left behind are seen from outside. Most of a short program's
time goes into imports. So a server imports what programs need once and forks a
process for each run (`run`); `run_anew` starts Python from nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import re
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

TIMEOUT_SECONDS = 120

Done = subprocess.CompletedProcess[str]

_PRELOADED = (
  "ai_edge_litert.interpreter",
  "apps.cli",
  "matplotlib.pyplot",
  "scipy.signal",
  "soundfile",
  "tflm_fg.adaptation",
)
_PRELOADED_FOR_KERAS = ("keras", "tensorflow", "tf_keras", *_PRELOADED)


def environment(*first: pathlib.Path) -> dict[str, str]:
  """This process's imports, for a child in another folder."""
  path = [str(p) for p in first] + [p or os.getcwd() for p in sys.path]
  return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def run(
  folder: pathlib.Path, program: str, *arguments: str, before: str = ""
) -> Done:
  """Runs `python -m PROGRAM` in a folder; BUILD reads the name from here.

  Args:
    folder: the working directory.
    program: a module's dotted name.
    *arguments: of the command line.
    before: Python source that is run first, in the same process.
  """
  return _server(_PRELOADED).run(folder, program, arguments, before)


def run_keras(folder: pathlib.Path, program: str, *arguments: str) -> Done:
  """The same for a program that imports TensorFlow."""
  return _server(_PRELOADED_FOR_KERAS).run(folder, program, arguments, "")


def run_anew(
  folder: pathlib.Path,
  program: str,
  *arguments: str,
  env: dict[str, str] | None = None,
) -> Done:
  """The same in a new Python, perhaps in an environment of its own."""
  return subprocess.run(
    [sys.executable, "-m", program, *arguments],
    cwd=folder,
    env=env or environment(),
    capture_output=True,
    text=True,
    timeout=TIMEOUT_SECONDS,
    check=False,
  )


_OF_ENGINES = re.compile(
  r"INFO: Created TensorFlow Lite XNNPACK delegate for CPU\.$"
  r"|WARNING: All log messages before absl::InitializeLog\(\) is called"
  r"|[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ |[IWE]0000 00:00:\d+\.\d+ "
)


def own_lines(stderr: str) -> list[str]:
  """What a program said itself, without what LiteRT and TensorFlow log.

  LiteRT notes its first XNNPACK interpreter and TensorFlow its import; neither
  has a switch for that.
  """
  lines = stderr.splitlines()
  own = [line for line in lines if not _OF_ENGINES.match(line)]
  return "\n".join(own).strip().splitlines()


class Server:
  """A process that has imported some modules and forks one for each run."""

  def __init__(self, modules: tuple[str, ...]) -> None:
    self._process = subprocess.Popen(
      [sys.executable, "-m", "tests.programs", *modules],
      env=environment(),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      start_new_session=True,  # Ctrl-C is for pytest
      text=True,
    )

  def run(
    self,
    folder: pathlib.Path,
    program: str,
    arguments: tuple[str, ...],
    before: str,
  ) -> Done:
    """Runs one program to its end and gives its status and what it printed."""
    assert self._process.stdin and self._process.stdout
    with tempfile.TemporaryDirectory() as streams:
      job = {
        "folder": str(folder),
        "program": program,
        "arguments": arguments,
        "before": before,
        "streams": streams,
        "environment": dict(os.environ),
      }
      print(json.dumps(job), file=self._process.stdin, flush=True)
      status = int(self._process.stdout.readline())
      out, err = (
        pathlib.Path(streams, name).read_text("utf-8", "surrogateescape")
        for name in ("out", "err")
      )
    return subprocess.CompletedProcess([program, *arguments], status, out, err)


@functools.cache
def _server(modules: tuple[str, ...]) -> Server:
  """The one server of a test process; it ends with its standard input."""
  return Server(modules)


def _serve(modules: list[str]) -> None:
  """Reads jobs, one a line, and answers each with its exit status."""
  for module in modules:
    with contextlib.suppress(ImportError):  # an extra that is not installed
      __import__(module)
  for line in sys.stdin:
    child = os.fork()
    if not child:
      os._exit(_status_of(functools.partial(_work, json.loads(line))))
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)


def _work(job: dict[str, Any]) -> None:
  """Becomes the program: its folder, environment, streams and arguments."""
  os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
  for name, stream in (("out", 1), ("err", 2)):
    file = os.open(os.path.join(job["streams"], name), os.O_WRONLY | os.O_CREAT)
    os.dup2(file, stream)
  os.chdir(job["folder"])
  os.environ.clear()
  os.environ.update(job["environment"])
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)  # pytest may run under nohup
  signal.alarm(TIMEOUT_SECONDS)
  sys.argv = [job["program"], *job["arguments"]]
  exec(job["before"], {})
  runpy.run_module(job["program"], run_name="__main__", alter_sys=True)


def _status_of(work: Callable[[], None]) -> int:
  """Runs to the end; the exit status that Python would have given."""
  status = 0
  try:
    work()
  except SystemExit as stop:
    status = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
  except BaseException:
    sys.excepthook(*sys.exc_info())
    status = 1
  for stream in (sys.stdout, sys.stderr):
    if stream is not None:  # a test may have closed it
      stream.flush()
  return status


if __name__ == "__main__":
  _serve(sys.argv[1:])
