"""Files that belong together appear together.

POSIX renames one file at a time. So a set is written beside its places first,
with a record of what is to be renamed; from the moment that the record is on
disk the set counts as written, and whoever next writes to one of its folders
finishes what a killed process could not. Without a record nothing was renamed,
and what lies there is removed.

The files that stood there are set aside before new ones take their places, and
come back where something fails. The last file of a set, a model, takes its
place last of all: at no moment does a new model stand beside an old report.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence

from tflm_fg.files import primitives
from tflm_fg.files.names import why
from tflm_fg.files.primitives import naming
from tflm_fg.files.temporaries import (
  abandoned,
  discard,
  prefix_of,
  temporary,
)
from tflm_fg.types import TflmFgError

RECORD = "set"
"""How the names of records end."""

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Member:
  """One file of a set.

  Attributes:
    written: where its content waits.
    target: its place.
    aside: where what stood there goes for the while; the last file of a set
      needs none.
    old: SHA-256 of what stood there; "" for nothing.
    new: SHA-256 of its content.
  """

  written: str
  target: str
  aside: str
  old: str
  new: str


def write(contents: Mapping[str, bytes]) -> None:
  """Writes a set of files: all, or none.

  Args:
    contents: the files' bytes by their paths; links are followed. The last
      one takes its place last.

  Raises:
    TflmFgError: if one cannot be written; all is as it was.
  """
  members: list[Member] = []
  records: list[str] = []
  done = False
  try:
    for path, content in contents.items():
      with naming(path):
        members.append(_member(path, content))
        last = members[-1]
        primitives.create(last.written, content, like=last.target)
    if len(members) > 1:
      _record(members, records)
    _place_others(members)
    _place(members[-1])
    done = True
    _sync_last(members)
  finally:
    if done:
      _clean(members, records)
    else:  # a fault, or Ctrl-C
      _back(members, records)


def settle(folder: str) -> None:
  """Finishes the sets in a folder whose process has ended, or takes them back.

  What else such processes left there is removed.
  """
  kept = set()
  for path in list(abandoned(folder)):
    if path.endswith(f".{RECORD}") and not _settle_one(path):
      kept.add(prefix_of(os.path.basename(path)))
  for path in list(abandoned(folder)):
    if prefix_of(os.path.basename(path)) not in kept:
      discard(path)


def _member(path: str, content: bytes) -> Member:
  target = os.path.realpath(path)
  folder = os.path.dirname(target)
  return Member(
    written=temporary(folder, "new"),
    target=target,
    aside=temporary(folder, "old"),
    old=_sha256(target),
    new=hashlib.sha256(content).hexdigest(),
  )


def _record(members: Sequence[Member], records: list[str]) -> None:
  """Writes down what is to be renamed, in every folder where that is."""
  told = {
    "version": _VERSION,
    "members": [dataclasses.asdict(member) for member in members],
  }
  content = json.dumps(told).encode()
  folders = _folders(members)
  for folder in folders:
    with naming(os.path.join(folder, "")):
      records.append(temporary(folder, RECORD))
      primitives.create(records[-1], content)
  for folder in folders:
    with naming(os.path.join(folder, "")):
      primitives.sync_folder(folder)


def _folders(members: Sequence[Member]) -> list[str]:
  return sorted({os.path.dirname(member.target) for member in members})


def _place_others(members: Sequence[Member]) -> None:
  """Takes all but the last to their places, from wherever it was left off."""
  others = members[:-1]
  for member in others:
    if os.path.exists(member.written) and member.old:
      with naming(member.target), contextlib.suppress(FileNotFoundError):
        primitives.replace(member.target, member.aside)
  for member in others:
    _place(member)
  for folder in _folders(others):
    with naming(os.path.join(folder, "")):
      primitives.sync_folder(folder)


def _place(member: Member) -> None:
  with naming(member.target):
    if os.path.exists(member.written):
      primitives.replace(member.written, member.target)


def _sync_last(members: Sequence[Member]) -> None:
  target = members[-1].target
  try:
    primitives.sync_folder(os.path.dirname(target))
  except OSError as fault:
    raise TflmFgError(
      f"{target}: is written, but a loss of power may lose it: {why(fault)}"
    ) from None


def _clean(members: Sequence[Member], records: Sequence[str]) -> None:
  """Removes what a finished set needs no more, the records last."""
  with contextlib.suppress(OSError):
    for path in [m.aside for m in members] + list(records):
      primitives.remove(path)


def _back(members: Sequence[Member], records: Sequence[str]) -> None:
  """Puts back what stood there. A record stays where that cannot be done."""
  with contextlib.suppress(OSError):
    for member in members:
      if os.path.exists(member.aside):
        primitives.replace(member.aside, member.target)
      elif not member.old and _sha256(member.target) == member.new:
        primitives.remove(member.target)
    for path in [m.written for m in members] + list(records):
      primitives.remove(path)


def _settle_one(path: str) -> bool:
  """Finishes what one record tells of, or takes it back; whether it could."""
  members = _read(path)
  if not members:  # it was not finished, so nothing was renamed
    return True
  records = [
    found
    for folder in _folders(members)
    for found in abandoned(folder)
    if found.endswith(f".{RECORD}")
    and os.path.basename(found) != os.path.basename(path)
    and _read(found) == members
  ]
  records.append(path)
  try:
    if all(map(_can_be_placed, members)):
      _place_others(members)
      _place(members[-1])
      _sync_last(members)
      _clean(members, records)
    else:  # somebody wrote there since
      _back(members, records)
  except TflmFgError:
    return False
  return not os.path.exists(path)


def _can_be_placed(member: Member) -> bool:
  """Whether a file is in its place, or its place is as it was left."""
  there = _sha256(member.target)
  if not os.path.exists(member.written):
    return there == member.new
  if os.path.exists(member.aside):
    return not there and _sha256(member.aside) == member.old
  return there == member.old


def _read(path: str) -> list[Member]:
  """What a record tells; empty where it tells nothing that can be trusted."""
  prefix = prefix_of(os.path.basename(path))
  try:
    with open(path, "rb") as file:
      if os.fstat(file.fileno()).st_mode & 0o077:
        return []
      told = json.loads(file.read())
    members = [Member(**found) for found in told["members"]]
    sound = told["version"] == _VERSION and all(
      prefix_of(os.path.basename(own)) == prefix
      and os.path.dirname(own) == os.path.dirname(member.target)
      for member in members
      for own in (member.written, member.aside)
    )
  except (OSError, ValueError, TypeError, KeyError, AttributeError):
    return []
  return members if sound and prefix else []


def _sha256(path: str) -> str:
  """Of a file's content; "" where there is none."""
  try:
    with open(path, "rb") as file:
      return hashlib.sha256(file.read()).hexdigest()
  except FileNotFoundError:
    return ""
  except OSError:
    return "unknown"


def unfinished(folder: str) -> Iterator[str]:
  """Files that a killed process had written, and not yet put in their places.

  Args:
    folder: where they stand.
  """
  for path in abandoned(folder):
    if path.endswith(f".{RECORD}"):
      waiting = (m for m in _read(path) if os.path.exists(m.written))
      yield from (member.target for member in waiting)
