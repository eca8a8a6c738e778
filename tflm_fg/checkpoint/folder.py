"""A folder with the finished work of one adaptation, for one process at a time.

It holds one file of records. The first record says what the work belongs to,
the last one that it is done.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tflm_fg.checkpoint.memo import Kept, Memo, address
from tflm_fg.checkpoint.record_file import RecordFile
from tflm_fg.files import make_folder
from tflm_fg.files.names import TEMPORARY
from tflm_fg.files.temporaries import abandoned, discard
from tflm_fg.types import TflmFgError

FORM = 1
"""Version of the records."""

FILE = "work.log"
"""The name of the file of records."""

_HEAD, _DONE = address("head"), address("done")

_MOST_TOLD = 3
"""Differences that an error names."""

_DIGITS = 16
"""Of a SHA-256: enough to tell files apart, and short enough to read."""


class Checkpoint(Memo):
  """Keeps finished work in a folder, and finds it again after a kill.

  Attributes:
    folder: its path.
    state: "new", "continued", or "finished" where all was done before.
    pieces: records of finished work that were there.
    cut_bytes: of a record that was torn by a kill, and was cut off.
  """

  keeps = True

  def __init__(self, folder: str, belongs_to: Mapping[str, str]) -> None:
    """Opens a checkpoint, or begins one in a new or empty folder.

    Args:
      folder: its path.
      belongs_to: what the work depends on, by a name that a user knows.

    Raises:
      TflmFgError: if it belongs to something else, holds something else, is
        in use, or cannot be written.
    """
    self.folder = folder
    make_folder(folder)
    path = os.path.join(folder, FILE)
    for left in abandoned(folder):  # a kill while the folder was tried
      discard(left)
    names = [n for n in os.listdir(folder) if not n.startswith(TEMPORARY)]
    others = [name for name in names if name != FILE]
    if others and not os.path.exists(path):
      raise TflmFgError(
        f"{folder}: holds {min(others)!r} and no checkpoint; name a new or an "
        "empty folder"
      )
    self._file = RecordFile(path, folder)
    self.cut_bytes = self._file.cut_bytes
    try:
      self._begin(belongs_to)
    except BaseException:  # whatever ends it, the folder is free again
      self.close()
      raise

  def __enter__(self) -> Checkpoint:
    return self

  def __exit__(self, *unused: object) -> None:
    self.close()

  def find(self, address: str) -> Kept | None:
    """The result at an address; None where there is none."""
    if address not in self._file:
      return None
    return Kept.from_text(self._file.read(address))

  def keep(self, address: str, kept: Kept, firmly: bool = False) -> None:
    """Writes a result behind the others, unless it is there.

    Raises:
      TflmFgError: if it cannot be written.
    """
    if address not in self._file:
      self._file.append(address, kept.to_text(), firmly)

  def finish(self) -> None:
    """Notes that all is done; the folder stays."""
    self.keep(_DONE, Kept(), firmly=True)

  def told(self) -> dict[str, Any]:
    """What it is, for callbacks; see `Callback.on_checkpoint`."""
    return {
      "folder": self.folder,
      "state": self.state,
      "pieces": self.pieces,
      "cut_bytes": self.cut_bytes,
    }

  def close(self) -> None:
    """Lets other processes have it."""
    self._file.close()

  def _begin(self, belongs_to: Mapping[str, str]) -> None:
    """Writes the first record, or compares with the one that is there."""
    head = self.find(_HEAD)
    if head is None:
      self.state, self.pieces = "new", 0
      values = {"form": FORM, "belongs_to": dict(belongs_to)}
      self.keep(_HEAD, Kept(values=values), firmly=True)
      return
    if head.values["form"] != FORM:
      raise TflmFgError(
        f"{self.folder}: a checkpoint of form {head.values['form']}, and this "
        f"release has form {FORM}; name another folder, or remove this one"
      )
    faults = _differences(head.values["belongs_to"], belongs_to)
    if faults:
      more = len(faults) - _MOST_TOLD
      told = "; ".join(faults[:_MOST_TOLD])
      told += f"; and {more} more" * (more > 0)
      raise TflmFgError(
        f"{self.folder}: a checkpoint of other work: {told}; give what was "
        "given then, name another folder, or remove this one"
      )
    done = _DONE in self._file
    self.state = "finished" if done else "continued"
    self.pieces = len(self._file) - 1 - done


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
  """Says what differs, each in a few words."""
  names = [*now, *(name for name in then if name not in now)]
  return [
    f"{name} was {then.get(name, 'not given')} and is "
    f"{now.get(name, 'not given')}"
    for name in names
    if then.get(name) != now.get(name)
  ]


def described(value: Any) -> str:
  """An array's type, shape and hash, to say what work belongs to."""
  if value is None:
    return "not given"
  array = np.asarray(value)
  if array.dtype.hasobject:
    return digest(repr(array.tolist()).encode())
  data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  return f"{array.dtype} {list(array.shape)} {digest(data.data)}"


def digest(data: bytes | memoryview) -> str:
  """The beginning of a SHA-256."""
  return hashlib.sha256(data).hexdigest()[:_DIGITS]
