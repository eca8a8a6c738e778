"""Hand a command line to the module of its subcommand."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence

from apps import cli, streams


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
  """A program of several commands, each a module with a function `run`.

  Attributes:
    name: of the program, as `tflm-fg-kws`.
    about: what --help says of all commands.
    package: the dotted name of the package that holds the modules.
    commands: their names, in the order of the help.
    extra: what a user installs where a module's imports are missing.
    also_spelt: other spellings of some commands.
  """

  name: str
  about: str
  package: str
  commands: Sequence[str]
  extra: str
  also_spelt: Mapping[str, str] = dataclasses.field(default_factory=dict)


def run(program: Program) -> int:
  """The console script: the exit status of the command that is asked for."""
  return streams.told(program.name, lambda: _run(program))


def _run(program: Program) -> int:
  """Hands the rest of the command line to a subcommand's module."""
  command, *rest = sys.argv[1:] or [""]
  if command == "help" and rest:
    command, rest = rest[0], ["--help"]
  if command in ("", "--help", "-h", "help"):
    print(program.about.strip())
    return cli.DONE if command else cli.WRONG_FLAG
  if command in ("--version", "version"):
    print(cli.version(program.name))
    return cli.DONE
  command = program.also_spelt.get(command, command)
  if command not in program.commands:
    print(f"{program.name}: {_unknown(program, command)}", file=sys.stderr)
    return cli.WRONG_FLAG
  sys.argv = [f"{program.name} {command}", *rest]
  try:
    module = importlib.import_module(f"{program.package}.{command}")
  except ModuleNotFoundError as fault:
    print(
      f"{program.name} {command}: {fault}; pip install "
      f"'tflm-fg[{program.extra}]'",
      file=sys.stderr,
    )
    return cli.FAILED
  return int(module.run())


def _unknown(program: Program, command: str) -> str:
  """What to say of a command that is none: the nearest one, or all."""
  known = [*program.commands, *program.also_spelt, "help", "version"]
  near = difflib.get_close_matches(command, known, 1, 0.5)
  choices = f"choose of {', '.join(program.commands)}"
  advice = f"did you mean {near[0]!r}? Or {choices}" if near else choices
  return f"no command {command!r}; {advice}"
