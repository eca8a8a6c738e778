"""How much memory a program may take, and what needs more of it, refused first.

The limit is one number for the whole process. It is what a user has said, in
`--max_memory` or by `at_most`; else what the environment says in
`TFLM_FG_MAX_MEMORY`, which programs that are started inherit; else three
quarters of what the machine has left, as its control group and the system say.

What needs much memory asks `require` before it takes any, so that it is refused
in one line: reading a file, unpacking one, training. Whatever else takes too
much meets `MemoryError`, since a program that was given a limit lets the system
hold it (`enforced`).
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pathlib
import re
from collections.abc import Iterator

from tflm_fg.types import Array, TflmFgError

VARIABLE = "TFLM_FG_MAX_MEMORY"
"""The environment variable that says the limit, as `--max_memory` does."""

LEAST = 64 << 20
"""Nobody who gives less can mean it: Python with NumPy takes as much."""

SHARE = 0.75
"""How much of what the machine has left is taken where no limit is given."""

UNKNOWN = 1 << 62
"""What a machine has that does not say it."""

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}

_given: list[int] = []
"""What was said to be the limit, the last one holds."""


def parse(text: str, name: str = "max_memory") -> int:
  """A size as people write it, in bytes.

  Args:
    text: as "512MB", "2GiB", "1.5g" or a count of bytes. A thousand is 1,024
      here in all spellings.
    name: what to call it in errors.

  Raises:
    TflmFgError: if it is no size, or less than `LEAST`.
  """
  found = re.fullmatch(
    r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?)(?:i?b)?", text.strip().lower()
  )
  if found is None:
    raise TflmFgError(f"{name}={text}: need a size, as 512MB or 2GB")
  size = int(float(found[1]) * (1 << _UNITS[found[2]]))
  if not LEAST <= size <= UNKNOWN:
    raise TflmFgError(
      f"{name}={text}: need at least {shown(LEAST)}, which Python with NumPy "
      "takes alone"
    )
  return size


def shown(size: float) -> str:
  """A count of bytes for people: "980 bytes", "3.0 GB"; 1 MB is 2**20 bytes."""
  for unit, bits in (("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10)):
    if size >= 1 << bits:
      value = size / (1 << bits)
      return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
  return f"{size:.0f} bytes"


def memory() -> int:
  """Bytes of memory that this process may take in all."""
  if _given:
    return _given[-1]
  if said := os.environ.get(VARIABLE):
    return parse(said, VARIABLE)
  return _of_the_machine(os.getpid())


@functools.lru_cache(maxsize=1)
def _of_the_machine(process: int) -> int:
  """The limit where none is given; what a process found first stays."""
  del process  # a forked one looks anew
  return resident() + int(SHARE * left())


@contextlib.contextmanager
def at_most(size: int | str | None) -> Iterator[int]:
  """Sets the limit for what runs inside, in this process and its children.

  Args:
    size: bytes, or text as "512MB"; None leaves it as it is.

  Yields:
    The limit that holds, in bytes.

  Raises:
    TflmFgError: if it is no size.

  Example:
    >>> with tflm_fg.limits.at_most("512MB"):
    ...   result = tflm_fg.adapt("model.tflite", x, y)
  """
  if size is None:
    yield memory()
    return
  limit = parse(str(size))
  before = os.environ.get(VARIABLE)
  _given.append(limit)
  os.environ[VARIABLE] = str(limit)
  try:
    yield limit
  finally:
    _given.remove(limit)
    if before is None:
      os.environ.pop(VARIABLE, None)
    else:
      os.environ[VARIABLE] = before


@contextlib.contextmanager
def enforced(limit: int | None = None) -> Iterator[None]:
  """Lets the system refuse memory beyond a limit, where it can.

  On Linux that bounds what a process allocates (RLIMIT_DATA). What it has
  mapped, as the code of its libraries, is not counted. A child inherits it.

  Args:
    limit: bytes; None for `memory()`.
  """
  try:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = memory() if limit is None else limit
    bounds = [b for b in (wanted, soft, hard) if b != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
  except (ImportError, ValueError, OSError):  # another system
    yield
    return
  try:
    yield
  finally:
    with contextlib.suppress(ValueError, OSError):
      resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def room() -> int:
  """Bytes that may still be taken; 0 where nothing is left."""
  return max(0, memory() - resident())


def require(need: float, what: str, cure: str) -> None:
  """Refuses what needs more memory than may be taken, before it takes any.

  Args:
    need: about how many bytes it would take.
    what: which thing and what is done to it, for the error: "x.npz: reading
      3.0 GB".
    cure: what to do beside raising the limit: "give fewer samples".

  Raises:
    TflmFgError: in one line.
  """
  limit, held = memory(), resident()
  if need <= limit - held:
    return
  raise TflmFgError(
    f"{what}, which takes about {shown(need)} of memory, and {shown(room())} "
    f"of {shown(limit)} are left; {cure}, or raise --max_memory"
  )


def parts(x: Array, numbers: int = 1 << 18) -> Iterator[slice]:
  """Some rows at a time, for what is computed in wider numbers than x has.

  Args:
    x: [N, ...].
    numbers: of x at a time, about; one row where it holds more.
  """
  each = max(1, numbers // max(1, math.prod(x.shape[1:])))
  for start in range(0, len(x), each):
    yield slice(start, start + each)


def resident() -> int:
  """Bytes of memory that this process holds now; 0 where nothing says it."""
  try:
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
  except (OSError, ValueError, IndexError):
    return 0


def left() -> int:
  """Bytes that the machine has left for this process."""
  return min([_available(), *_left_in_groups()])


def _available() -> int:
  """What the system could give; all of the memory where it does not say."""
  try:
    text = pathlib.Path("/proc/meminfo").read_text()
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if found:
      return int(found[1]) << 10
  except OSError:
    pass
  try:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  except (AttributeError, OSError, ValueError):
    return UNKNOWN


_GROUPS = pathlib.Path("/sys/fs/cgroup")


def _left_in_groups() -> list[int]:
  """What the control groups of this process leave, of both versions."""
  try:
    lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
  except OSError:
    return []
  found = []
  for line in lines:
    _, kinds, path = line.split(":", 2)
    if not kinds:
      names = "memory.max", "memory.current", "inactive_file"
      found += _group(_GROUPS, path, names)
    elif "memory" in kinds.split(","):
      names = (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
      )
      found += _group(_GROUPS / "memory", path, names)
  return found


def _group(
  root: pathlib.Path, path: str, names: tuple[str, str, str]
) -> list[int]:
  """What a group and those around it leave.

  A container sees its own group at the root, under another path.

  Args:
    root: where the groups are.
    path: of this process's.
    names: the files that say the limit and what is taken, and the word for
      what files alone take, which the system gives back.
  """
  own = root / path.lstrip("/")
  found = []
  for folder in [own, *own.parents]:
    if not folder.is_relative_to(root):
      break
    try:
      limit, taken = ((folder / name).read_text() for name in names[:2])
      stat = (folder / "memory.stat").read_text()
      files = re.search(rf"^{names[2]} (\d+)", stat, re.MULTILINE)
      back = int(files[1]) if files else 0
      found.append(max(0, int(limit) - max(0, int(taken) - back)))
    except (OSError, ValueError):  # no such folder, or "max"
      continue
  return found
