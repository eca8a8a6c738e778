"""What every program does around its main: flags, errors, exit status.

Status 0: done. 1: refused or failed, with one line on stderr. 2: a flag is
wrong. 129, 130 and 143: SIGHUP, Ctrl-C or SIGTERM ended it, with one line on
stderr that says whether anything was written. A traceback is a bug of ours.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from apps import streams
from apps.flags import memory_flags
from tflm_fg import limits
from tflm_fg.callbacks import (
  SIGNALS,
  Interrupted,
  StopOnInterrupt,
  on_signals,
)
from tflm_fg.types import TflmFgError, one_line

DONE, FAILED, WRONG_FLAG = 0, 1, 2


def launch(
  main: Callable[[], None],
  module: str,
  argv: list[str] | None = None,
  also: Sequence[str] = (),
) -> int:
  """Parses flags, runs main, and turns faults into one line and a status.

  Args:
    main: the program.
    module: its module; the docstring and the flags defined there are --help.
    argv: program name and arguments; the process's own by default.
    also: other modules whose flags are --help's too.

  Returns:
    The exit status.
  """
  argv = sys.argv if argv is None else argv
  program = _program(argv[0], module)
  return streams.told(
    program, lambda: _launched(main, program, module, argv, also)
  )


def _launched(
  main: Callable[[], None],
  program: str,
  module: str,
  argv: Sequence[str],
  also: Sequence[str],
) -> int:
  """What `launch` does where streams may fail."""
  warnings.showwarning = _one_line_warning
  ending = [number for number in SIGNALS if number != signal.SIGINT]
  old = on_signals(_interrupted, ending)
  try:
    if _HELP & set(argv[1:]):
      print(help_text(module, also), flush=True)
      return DONE
    if _VERSION & set(argv[1:]):
      print(version(program), flush=True)
      return DONE
    rest = flags.FLAGS(argv)
    if rest[1:]:
      raise flags.Error(f"unexpected argument {rest[1]!r}")
    _run_bounded(main)
  except flags.Error as fault:
    print(f"{program}: {_flag_fault(fault)}; see --help", file=sys.stderr)
    return WRONG_FLAG
  except TflmFgError as fault:
    print(f"{program}: {one_line(fault)}", file=sys.stderr)
    return FAILED
  except OSError as fault:
    print(f"{program}: {_of_the_system(fault)}", file=sys.stderr)
    return FAILED
  except KeyboardInterrupt as stop:
    print(f"\n{program}: {str(stop) or 'interrupted'}", file=sys.stderr)
    return 128 + getattr(stop, "signal", signal.SIGINT)
  finally:
    for number, handler in old.items():
      signal.signal(number, handler)
  return DONE


def _run_bounded(main: Callable[[], None]) -> None:
  """Runs a program in the memory that it may take.

  Raises:
    TflmFgError: where it takes more, or as the program does.
  """
  try:
    with limits.at_most(memory_flags.MAX_MEMORY.value), limits.enforced():
      main()
  except MemoryError as fault:
    said = one_line(fault, 120)
    limit = memory_flags.MAX_MEMORY.value or limits.shown(limits.memory())
    raise TflmFgError(
      f"out of memory{': ' * bool(said)}{said}; the limit is {limit}: give "
      "fewer or smaller samples, or raise --max_memory"
    ) from None


def _of_the_system(fault: OSError) -> str:
  """One line for what the system refused, with the cure where one is known."""
  try:
    os.getcwd()
  except OSError:
    return "the working folder is gone; change to one that is there"
  said = " ".join((fault.strerror or str(fault)).split())
  if "temporary directory" in said:  # of tempfile and of Matplotlib
    return f"{said}; set TMPDIR to a folder that can be written"
  return said if fault.filename is None else f"{fault.filename}: {said}"


def _interrupted(number: int, *unused: object) -> None:
  del unused
  raise Interrupted(number)


def end(
  stop: StopOnInterrupt, path: str, checkpoint: str | None = None
) -> None:
  """Ends a program that has written its files, as a signal wants it to.

  Args:
    stop: what waited for signals.
    path: the file that it was about.
    checkpoint: the folder from which the same command goes on, if there is one.

  Raises:
    Interrupted: if a signal came.
  """
  more = f"; the same command goes on from {checkpoint}" if checkpoint else ""
  stop.check(f"interrupted; {path} holds what was best by then{more}")


_HELP = {"--help", "-h", "-help", "--helpfull"}
_VERSION = {"--version", "-version"}
_MISSING = re.compile(
  r"flag --(\w+)=None: Flag --\w+ must have a value other than None\. ?"
)


_WANTED = (
  (r"\('Non-boolean argument to boolean flag', .*\)", "need true or false"),
  (r"invalid literal for int\(\) with base 10: .*", "need a whole number"),
  (r"could not convert string to float: .*", "need a number"),
)
"""What Python says of a flag's value, and what a user can do with."""


def _flag_fault(fault: flags.Error) -> str:
  """What is wrong with a flag, in one line."""
  line = one_line(fault)
  for said, wanted in _WANTED:
    line = re.sub(said, wanted, line)
  missing = _MISSING.findall(line)
  return ", ".join(f"--{name} is missing" for name in missing) or line


def _program(path: str, module: str) -> str:
  """The command's name, also where Python was given the module."""
  name = os.path.basename(path)
  if name.startswith("tflm-fg"):
    return name
  file = getattr(sys.modules[module], "__file__", None) or path
  folder, name = os.path.split(os.path.splitext(file)[0])
  name = name.removesuffix("_model")  # inspect would hide Python's own
  return "tflm-fg-" + (os.path.basename(folder) if name == "__main__" else name)


def version(program: str) -> str:
  """A program's name with the version of the package that it came with."""
  try:
    return f"{program} {importlib.metadata.version('tflm-fg')}"
  except importlib.metadata.PackageNotFoundError:  # run from a clone
    return f"{program} of a clone that is not installed"


def values(*holders: Any) -> dict[str, Any]:
  """Flag names with their values, None where a flag is not given."""
  return {holder.name: holder.value for holder in holders}


def command_line(
  program: str | None = None, given: Mapping[str, str] | None = None
) -> str:
  """A command as a shell takes it; by default the one that runs now."""
  if program is not None:
    flagged = [f"--{name}={value}" for name, value in (given or {}).items()]
    return shlex.join([*program.split(), *flagged])
  name = os.path.basename(sys.argv[0])
  return " ".join([name, shlex.join(sys.argv[1:])])


def two_numbers(holder: Any) -> tuple[float, float]:
  """The value of a flag that is a list of two numbers.

  Raises:
    TflmFgError: naming the flag.
  """
  try:
    first, second = map(float, holder.value)
  except ValueError:
    raise TflmFgError(
      f"--{holder.name}={','.join(holder.value)}: need two numbers, as in "
      f"--{holder.name}={','.join(holder.default)}"
    ) from None
  return first, second


NEEDED, OFTEN, SOMETIMES, SELDOM = (
  "Needed",
  "Often used",
  "Sometimes used",
  "Seldom used",
)
"""How often a flag is needed: the titles of --help, in its order."""

_sections: list[tuple[str, frozenset[str]]] = []


def section(title: str) -> None:
  """Puts the flags that are defined from here on under a title of --help.

  Every module that defines flags begins with it. Flags of a module that calls
  it nowhere stand under `OFTEN`.

  Args:
    title: one of `NEEDED`, `OFTEN`, `SOMETIMES` and `SELDOM`.
  """
  _sections.append((title, frozenset(flags.FLAGS)))


def _section_of(flag: Any) -> str:
  """The title that was set last before a flag was defined."""
  before = [title for title, known in _sections if flag.name not in known]
  return before[-1] if before else OFTEN


def help_text(module: str, also: Sequence[str] = ()) -> str:
  """The program's docstring and each of its flags with its default.

  The flags stand in groups, those that are needed most often first.
  """
  names = [module, sys.argv[0]] if module == "__main__" else [module]
  by_module = flags.FLAGS.flags_by_module_dict()
  found = [flag for name in (*names, *also) for flag in by_module.get(name, [])]
  lines = [(sys.modules[module].__doc__ or "").strip()]
  for title in (NEEDED, OFTEN, SOMETIMES, SELDOM):
    own = [flag for flag in found if _section_of(flag) == title]
    if own:
      lines += ["", f"{title}:"]
    for flag in own:
      lines += _flag_lines(flag)
  everywhere = _flag_lines(flags.FLAGS[memory_flags.MAX_MEMORY.name])
  return "\n".join([*lines, "", _EVERYWHERE, *everywhere])


_EVERYWHERE = "Also: --help, --version, and"


def _flag_lines(flag: Any) -> list[str]:
  """A flag with its default, and what it does."""
  default = flag.default
  if isinstance(default, list):
    default = ",".join(default)
  shown = "" if default is None else f" [{default}]"
  return [
    f"  --{flag.name}{shown}",
    *textwrap.wrap(
      flag.help, 76, initial_indent=" " * 6, subsequent_indent=" " * 6
    ),
  ]


def _one_line_warning(message: Any, *unused: Any, **also_unused: Any) -> None:
  del unused, also_unused
  print(f"warning: {message}", file=sys.stderr)


def to_json(report: Mapping[str, Any]) -> bytes:
  """A report for programs."""
  return (json.dumps(dict(report), indent=2, ensure_ascii=False) + "\n").encode(
    "utf-8", "backslashreplace"
  )  # bytes of no alphabet, in a path
