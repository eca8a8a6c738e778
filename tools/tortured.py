"""A command that is tortured, in processes of its own, and what it gives."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable

import numpy as np

import tflm_fg
from tests import models
from tools.faults import Faults

OUTPUTS = {
  "journal": "j.jsonl",
  "report": "r.json",
  "log": "l.csv",
  "out": "m.tflite",
}
"""Flag -> file, the model last."""

OF_THE_MACHINE = ("seconds", "invoke_seconds", "strategy_seconds", "workers")
"""Of a report, what is of the machine and not of the work."""

MOST_RUNS = 40
"""Runs after which a command that was killed again and again has failed."""

Contents = dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class Ended:
  """How a process ended.

  Attributes:
    status: as a shell has it: 137 for SIGKILL.
    said: on stderr.
    calls: that changed the disk, where they were counted.
    seconds: that it took.
    wrong: what is wrong with the outputs behind it.
  """

  status: int
  said: str
  calls: int
  seconds: float
  wrong: str = ""


def forked(
  folder: pathlib.Path,
  work: Callable[[], int | None],
  faults: Faults | None = None,
  after: float | None = None,
  number: int = signal.SIGKILL,
) -> Ended:
  """Does some work in a process of its own.

  Args:
    folder: its working folder.
    work: gives the status.
    faults: what it meets; by default nothing.
    after: seconds after which it gets a signal; None for never.
    number: that signal.
  """
  said, counted = folder / "said.txt", folder / "calls.txt"
  counted.unlink(missing_ok=True)
  began = time.perf_counter()
  child = os.fork()
  if not child:
    _in_the_child(folder, said, counted, work, faults)
  if after is not None:
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):
      os.kill(child, number)
  _, status = os.waitpid(child, 0)
  seconds = time.perf_counter() - began
  code = os.waitstatus_to_exitcode(status)
  calls = int(counted.read_text()) if counted.exists() else 0
  text = said.read_text(errors="replace")
  return Ended(code if code >= 0 else 128 - code, text, calls, seconds)


def _in_the_child(
  folder: pathlib.Path,
  said: pathlib.Path,
  counted: pathlib.Path,
  work: Callable[[], int | None],
  faults: Faults | None,
) -> None:
  """Never comes back."""
  status: int | None = 70
  try:
    os.chdir(folder)
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    faults = faults or Faults()
    with faults:
      status = work()
    counted.write_text(str(faults.calls))
  except BaseException:
    traceback.print_exc()
  finally:
    sys.stderr.flush()
    os._exit(status or 0)


class Adapting:
  """A command that is tortured, and what it gives where it is left alone.

  Attributes:
    folder: where it runs.
    want: its files.
    calls: calls that change the disk, of a run with a checkpoint.
    seconds: that such a run takes.
  """

  def __init__(self, folder: pathlib.Path, flags: list[str]) -> None:
    """Runs it twice undisturbed: with a checkpoint and without."""
    # A program's flags can be known once in a process, and tests share one.
    from apps import adapt

    self._program = adapt.run
    self.folder = folder
    x, y = models.separable(samples=48)
    (folder / "given").mkdir()
    np.savez(folder / "given/t.npz", x=x, y=y)
    (folder / "given/m.tflite").write_bytes(models.dense_model())
    self._flags = ["--model=given/m.tflite", "--train=given/t.npz", *flags]
    self._old = self._made("--seed=5")
    self.want = self._made()
    whole = self.run(["--checkpoint=whole"])
    assert whole.status == 0, whole.said
    assert self._files() == self.want, "a checkpoint changes what comes of it"
    self.calls, self.seconds = whole.calls, whole.seconds

  def _made(self, *flags: str) -> Contents:
    ended = self.run(list(flags))
    assert ended.status == 0, ended.said
    return self._files()

  def run(
    self,
    flags: list[str],
    faults: Faults | None = None,
    after: float | None = None,
    number: int = signal.SIGKILL,
  ) -> Ended:
    """Runs the command."""
    outputs = [f"--{flag}={name}" for flag, name in OUTPUTS.items()]

    def work() -> int:
      sys.argv = ["tflm-fg-adapt", *self._flags, *outputs, *flags]
      return self._program()

    return forked(self.folder, work, faults, after, number)

  def _files(self) -> Contents:
    found = {}
    for name in OUTPUTS.values():
      path = self.folder / name
      if path.exists():
        found[name] = path.read_bytes()
    if "r.json" in found:
      found["r.json"] = _without_the_machine(found["r.json"])
    return found

  def begin(self) -> None:
    """Puts the outputs of before there, and no checkpoint."""
    shutil.rmtree(self.folder / "c", ignore_errors=True)
    for path in self.folder.glob(".tflm_fg-*"):
      path.unlink()
    for name in OUTPUTS.values():
      (self.folder / name).write_bytes(self._old[name])

  def whole_now(self) -> str:
    """What is wrong with the outputs while nobody writes; empty for nothing."""
    return mixed(self._files(), self._old, self.want, "m.tflite")

  def looked_at(self, ended: Ended) -> Ended:
    """How it ended, with what is wrong with the outputs then."""
    return dataclasses.replace(ended, wrong=self.whole_now())

  def end(self, disturb: Callable[[], Ended | None]) -> str:
    """Gives the command again until it is done; what is wrong then.

    Args:
      disturb: perhaps runs the command and disturbs it; None for no more.
    """
    for _ in range(MOST_RUNS):
      ended = disturb() or self.run(["--checkpoint=c"])
      if ended.status == 0 and not ended.wrong:
        break
      if ended.wrong or "Traceback" in ended.said:
        return ended.wrong or ended.said
    else:
      return f"not done in {MOST_RUNS} runs: {ended.said[-200:]}"
    wrong = [n for n in self.want if self._files().get(n) != self.want[n]]
    left = [path.name for path in self.folder.glob(".tflm_fg-*")]
    return f"other bytes: {wrong}; left: {left}" if wrong or left else ""

  def is_best_so_far(self) -> bool:
    """Whether the outputs are whole and of one interrupted run."""
    found = self._files()
    model = (self.folder / "given/m.tflite").read_bytes()
    again = tflm_fg.replay(found["j.jsonl"], model)
    told = json.loads(found["r.json"])["interrupted"]
    return told and tflm_fg.strip(again) == found["m.tflite"]


def mixed(found: Contents, old: Contents, new: Contents, model: str) -> str:
  """What a kill may not leave; empty where all is well.

  Args:
    found: files by name.
    old: of before.
    new: of the run that was killed.
    model: the name of the file that the others tell of.
  """
  others = {name: content for name, content in found.items() if name != model}
  are_new = all(content == new[n] for n, content in others.items())
  if found.get(model) == new[model]:
    return "" if found == new else "a new model beside files of before"
  if found.get(model) != old[model]:
    return "the model is gone or broken"
  are_old = all(content == old[n] for n, content in others.items())
  return "" if are_old or are_new else "companions of two runs, or broken ones"


def _without_the_machine(report: bytes) -> bytes:
  told = json.loads(report)
  for entry in (told, *told["phases"]):
    for name in OF_THE_MACHINE:
      entry.pop(name, None)
  return json.dumps(told).encode()
