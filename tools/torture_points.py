"""Where a command, a set of files or a device's slots are disturbed."""

from __future__ import annotations

import pathlib
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator

from tests import models
from tflm_fg import files
from tflm_fg.slots import Slots
from tools.faults import Faults
from tools.tortured import Adapting, Contents, Ended, forked, mixed

Point = Callable[[], str]
"""Disturbs once, and says what was wrong."""


def killed_at_moments(
  command: Adapting, draw: random.Random, points: int
) -> Iterator[Point]:
  """SIGKILL after some time; the command that goes on is killed too."""

  def point() -> str:
    command.begin()
    left = [draw.uniform(0, 1.05) * command.seconds]
    while draw.random() < 0.3:
      left.append(draw.uniform(0, 0.7) * command.seconds)

    def disturb() -> Ended | None:
      if not left:
        return None
      ended = command.run(["--checkpoint=c"], after=left.pop(0))
      return command.looked_at(ended)

    return command.end(disturb)

  yield from [point] * points


def killed_at_calls(
  command: Adapting, draw: random.Random, points: int
) -> Iterator[Point]:
  """SIGKILL before, within or behind a call that changes the disk."""

  def point() -> str:
    command.begin()
    left = [draw.randint(1, command.calls)]
    while draw.random() < 0.3:
      left.append(draw.randint(1, command.calls))

    def disturb() -> Ended | None:
      if not left:
        return None
      faults = Faults(kill_at=left.pop(0))
      return command.looked_at(command.run(["--checkpoint=c"], faults))

    return command.end(disturb)

  yield from [point] * points


def ended_by_sigterm(
  command: Adapting, draw: random.Random, points: int
) -> Iterator[Point]:
  """SIGTERM after some time: the best so far or nothing, and then the end."""

  def point() -> str:
    command.begin()
    after = draw.uniform(0, 1.05) * command.seconds
    ended = command.run(["--checkpoint=c"], after=after, number=signal.SIGTERM)
    if ended.status not in (0, 143):
      return f"status {ended.status}: {ended.said[-200:]}"
    if command.whole_now() and not command.is_best_so_far():
      return "what was written is no whole set"
    return command.end(lambda: None)

  yield from [point] * points


def full_disks(
  command: Adapting, draw: random.Random, points: int
) -> Iterator[Point]:
  """No space from one call on, for every call; then there is space again."""
  del draw, points

  def point(number: int) -> str:
    command.begin()
    ended = command.run(["--checkpoint=c"], Faults(full_at=number))
    lines = [x for x in ended.said.splitlines() if "tflm-fg-adapt:" in x]
    if ended.status != 0 and (ended.status != 1 or len(lines) != 1):
      return f"status {ended.status}: {ended.said[-300:]}"
    return command.whole_now() or command.end(lambda: None)

  for number in range(1, command.calls + 1):
    yield lambda number=number: point(number)  # type: ignore[misc]


def small_disks(
  command: Adapting, draw: random.Random, points: int
) -> Iterator[Point]:
  """A real disk of a few kilobytes, which grows until the work fits."""
  del draw, points

  def point(kilobytes: int) -> str:
    command.begin()
    (command.folder / "c").mkdir()
    disk = str(command.folder / "c")
    size = f"size={kilobytes}k"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
      return "no tmpfs here"
    try:
      for larger in range(1, 12):
        ended = command.run(["--checkpoint=c"])
        if ended.status == 0 or "No space left" not in ended.said:
          break
        more = f"remount,size={kilobytes << larger}k"
        subprocess.run(["mount", "-o", more, disk], check=True)
      return command.end(lambda: None)
    finally:
      subprocess.run(["umount", disk], check=True)

  for kilobytes in (4, 8, 16, 20, 28, 36, 44, 60):
    yield lambda kilobytes=kilobytes: point(kilobytes)  # type: ignore[misc]


def sets_of_files(folder: pathlib.Path) -> Iterator[Point]:
  """SIGKILL at every call of a write of three files over three older ones."""
  names = ("a", "b", "model")
  old = {n: f"old {n}".encode() * 99 for n in names}
  new = {n: f"new {n}".encode() * 99 for n in names}

  def write(faults: Faults | None = None) -> Ended:
    contents = {str(folder / "set" / n): new[n] for n in names}
    return forked(folder, lambda: files.write_set(contents), faults)

  def begin() -> None:
    shutil.rmtree(folder / "set", ignore_errors=True)
    (folder / "set").mkdir()
    for name, content in old.items():
      (folder / "set" / name).write_bytes(content)

  def point(number: int) -> str:
    begin()
    write(Faults(kill_at=number))
    if wrong := mixed(_there(folder / "set"), old, new, "model"):
      return wrong
    # Whoever writes next finds all of one set.
    other = {str(folder / "set" / "other"): b"other"}
    forked(folder, lambda: files.write_set(other))
    there = _there(folder / "set")
    there.pop("other")
    return "" if there in (old, new) else f"mixed: {sorted(there)}"

  begin()
  for number in range(1, write().calls + 1):
    yield lambda number=number: point(number)  # type: ignore[misc]


def _there(folder: pathlib.Path) -> Contents:
  """Files in place, without those that are unfinished."""
  paths = [p for p in folder.iterdir() if not p.name.startswith(".")]
  return {path.name: path.read_bytes() for path in paths}


def slots_of_a_device(folder: pathlib.Path) -> Iterator[Point]:
  """SIGKILL at every call of a commit; the device boots a whole model."""
  old, new = (models.dense_model(seed=seed) for seed in (1, 2))
  place = folder / "slots"

  def begin() -> None:
    shutil.rmtree(place, ignore_errors=True)
    for model in (old, old):
      Slots(place).commit(model)
      Slots(place).confirm()

  def commit(faults: Faults | None = None) -> Ended:
    return forked(folder, lambda: Slots(place).commit(new), faults)

  def point(number: int) -> str:
    begin()
    commit(Faults(kill_at=number))
    booted = Slots(place).boot()
    if booted.model not in (old, new):
      return "a broken model booted"
    commit()
    return "" if Slots(place).boot().model == new else "not the new model"

  begin()
  for number in range(1, commit().calls + 1):
    yield lambda number=number: point(number)  # type: ignore[misc]
