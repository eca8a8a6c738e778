"""Ends the world at one call of the system, as `kill -9` does."""

import contextlib
import os

from tflm_fg.files import temporaries, writing

CALLS = (
  "chmod",
  "chown",
  "fsync",
  "mkdir",
  "open",
  "rename",
  "replace",
  "rmdir",
  "unlink",
  "write",
)


class Killed(BaseException):
  """No code catches it, and what tidies up behind it finds no system."""


class Count:
  """How many calls there were."""

  calls = 0


@contextlib.contextmanager
def killed_at(monkeypatch, number, end=None):
  """Lets `number` calls that change the disk pass; the next ends the process.

  Args:
    monkeypatch: of pytest.
    number: how many pass; of a write that does not, half is written.
    end: called in place of raising, as for a real signal.
  """
  count = Count()

  def watched(name, call):
    def watch(*args, **kwargs):
      count.calls += 1
      if count.calls <= number:
        return call(*args, **kwargs)
      if name == "write" and count.calls == number + 1:
        call(args[0], bytes(args[1])[: len(args[1]) // 2])
      if end:
        end()
      raise Killed

    return watch

  with monkeypatch.context() as patch:
    for name in CALLS:
      patch.setattr(os, name, watched(name, getattr(os, name)))
    with contextlib.suppress(Killed):
      yield count


@contextlib.contextmanager
def failing_at(monkeypatch, number, fault):
  """One call that changes the disk fails, and those behind it work again."""
  count = Count()

  def watched(call):
    def watch(*args, **kwargs):
      count.calls += 1
      if count.calls == number + 1:
        raise fault
      return call(*args, **kwargs)

    return watch

  with monkeypatch.context() as patch:
    for name in CALLS:
      patch.setattr(os, name, watched(getattr(os, name)))
    yield count


@contextlib.contextmanager
def another_process(monkeypatch):
  """Names that were given so far are of a process that is gone."""
  with monkeypatch.context() as patch:
    patch.setattr(temporaries, "_began", lambda pid: "1" * 8)
    patch.setattr(writing, "_settled", set())
    yield
