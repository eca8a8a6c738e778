"""A disk that loses power: what may be there afterwards, in every way it can.

What was done is recorded as it happens on a real folder. A loss of power then
keeps what was waited for, and of what was not, any part: names that were made,
renamed or removed since the folder was last synced each may or may not be, and
a file that was being written may be missing, empty, half there or full of
zeros.
"""

import contextlib
import itertools
import os

from tflm_fg.files import primitives

TORN = (lambda b: b"", lambda b: b[: len(b) // 2], lambda b: bytes(len(b)))


class Disk:
  """A folder, and what was done to it since it was as it is told."""

  def __init__(self, folder):
    self.folder = folder
    self.start = contents(folder)
    self.done = []

  def states(self):
    """All that may be there if power is lost at some moment, without copies."""
    seen = set()
    for number in range(len(self.done) + 1):
      for state in self._at(number):
        key = tuple(sorted(state.items()))
        if key not in seen:
          seen.add(key)
          yield state

  def _at(self, number):
    durable, pending = dict(self.start), []
    for step in self.done[:number]:
      pending.append(step)
      if step[0] == "sync":
        durable, pending = applied(durable, pending), []
    ways = [
      applied(durable, some)
      for count in range(len(pending) + 1)
      for some in itertools.combinations(pending, count)
    ]
    yield from ways
    if number < len(self.done) and self.done[number][0] == "create":
      _, name, content = self.done[number]
      for way, tear in itertools.product(ways, TORN):
        yield {**way, name: tear(content)}


def contents(folder):
  """Names and bytes of a folder's files."""
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def applied(state, steps):
  """What a folder holds after some steps."""
  state = dict(state)
  for kind, *names in steps:
    if kind == "create":
      state[names[0]] = names[1]
    elif kind == "remove":
      state.pop(names[0], None)
    elif kind == "replace" and names[0] in state:
      state[names[1]] = state.pop(names[0])
  return state


@contextlib.contextmanager
def recorded(monkeypatch, folder):
  """Yields a `Disk` that learns what is done to a folder inside."""
  disk = Disk(folder)

  def told(kind):
    call = getattr(primitives, kind)

    def tell(*args, **kwargs):
      call(*args, **kwargs)
      names = [os.path.basename(a) for a in args if isinstance(a, str)]
      disk.done.append((kind, *names, *args[len(names) :]))

    return tell

  with monkeypatch.context() as patch:
    for kind in ("create", "replace", "remove"):
      patch.setattr(primitives, kind, told(kind))
    sync = primitives.sync_folder

    def synced(path):
      sync(path)
      disk.done.append(("sync",))

    patch.setattr(primitives, "sync_folder", synced)
    yield disk
