"""Write files: either all of the new one or all of the old."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping

from tflm_fg.files import primitives, sets
from tflm_fg.files.names import require_replaceable
from tflm_fg.files.outputs import require_new_folder
from tflm_fg.files.primitives import naming, umask
from tflm_fg.files.temporaries import discard, temporary
from tflm_fg.types import TflmFgError


def write_atomically(path: str, content: bytes) -> None:
  """Writes a file: all of it, or nothing, and what stood there stays.

  It is written beside its place and then renamed. A link is followed: its
  target is replaced, not the link. Mode and owner of a file that is replaced
  stay, as far as the system permits.

  Raises:
    TflmFgError: if the file cannot be written, or is read-only; nothing is left
      behind.
  """
  write_set({path: content})


def write_set(
  contents: Mapping[str, bytes], folders: Collection[str] = ()
) -> None:
  """Writes files that belong together: all of them, or none.

  Name the file that the others tell of, as a model, last: it takes its place
  when all others have. Where a process is killed in between, whoever next
  writes to one of the folders finishes its set (docs/reliability.md).

  Args:
    contents: the files' bytes by their paths, each as `write_atomically` has
      it.
    folders: that are made if they are not there, with those above them.

  Raises:
    TflmFgError: if one cannot be written, is read-only, or two are the same;
      all is then as it was.
  """
  targets: dict[str, str] = {}
  for path in contents:
    require_replaceable(path)
    other = targets.setdefault(os.path.realpath(path), path)
    if other != path:
      raise TflmFgError(f"{path}: is {other} too; name another file")
  with _made(folders):
    for folder in sorted({os.path.dirname(target) for target in targets}):
      _settle(folder)
    if contents:
      sets.write(contents)


def write_folder(
  path: str, contents: Mapping[str, bytes] | Iterable[tuple[str, bytes]]
) -> None:
  """Writes a new folder: all of it, or nothing.

  It is filled beside its place and then renamed.

  Args:
    path: of the folder, which must not be there yet; its parent must.
    contents: the files' bytes by their paths in the folder, with slashes; or
      pairs of these, which are written as they come.

  Raises:
    TflmFgError: if there is something at the path, or it cannot be written;
      nothing is left behind.
  """
  require_new_folder(path)
  target = os.path.realpath(path)
  parent = os.path.dirname(target)
  _settle(parent)
  own = temporary(parent, "folder")
  try:
    with naming(path):
      os.mkdir(own, 0o700)
      folders = {own}
      pairs = contents.items() if isinstance(contents, Mapping) else contents
      for name, content in pairs:
        inner = os.path.join(own, *name.split("/"))
        os.makedirs(os.path.dirname(inner), exist_ok=True)
        folders.add(os.path.dirname(inner))
        primitives.create(inner, content, like=inner)
      for folder in folders:
        primitives.sync_folder(folder)
      os.chmod(own, 0o777 & ~umask())
      os.rename(own, target)
      primitives.sync_folder(parent)
  finally:
    if os.path.lexists(own):  # a fault, or Ctrl-C
      discard(own)


_settled: set[tuple[int, str]] = set()


def _settle(folder: str) -> None:
  """Sweeps a folder, once a process: it may be long, and written to often."""
  if (os.getpid(), folder) not in _settled:
    sets.settle(folder)
    _settled.add((os.getpid(), folder))


@contextlib.contextmanager
def _made(folders: Collection[str]) -> Iterator[None]:
  """Makes folders, which go again where nothing comes to stand in them."""
  made: list[str] = []
  try:
    for folder in folders:
      with naming(folder):
        for part in _missing(folder):
          os.mkdir(part)
          made.append(part)
          primitives.sync_folder(os.path.dirname(part))
    yield
  finally:
    for part in reversed(made):
      with contextlib.suppress(OSError):  # not empty: all went well
        os.rmdir(part)


def _missing(folder: str) -> list[str]:
  """The folders that are not there, from the outermost on."""
  missing: list[str] = []
  part = os.path.realpath(folder)
  while not os.path.isdir(part) and part != os.path.dirname(part):
    missing.append(part)
    part = os.path.dirname(part)
  return missing[::-1]
