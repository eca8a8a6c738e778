"""What the guide tells people to type exists: commands, flags and files."""

import pathlib
import re

import pytest

from apps.kws import __main__

ROOT = pathlib.Path(__file__).parents[3]
TEXTS = ("docs/keyword_spotting.md", "docs/from_nothing.sh")
LINKED = ("docs/results_keyword_spotting.md",)  # by name, for BUILD


def _commands(text: str) -> list[tuple[str, list[str]]]:
  """(subcommand, flags) of every command line, joined over backslashes."""
  joined = re.sub(r"\\\n\s*", " ", text)
  lines = re.findall(r"tflm-fg-kws ([a-z]+)([^\n`]*)", joined)
  return [(name, re.findall(r"--(\w+)", rest)) for name, rest in lines]


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_and_flag_of_the_guide_exists(name):
  found = _commands((ROOT / name).read_text())
  assert len(found) > 5
  for command, flags in found:
    assert command in __main__.COMMANDS, command
    source = (ROOT / "apps" / "kws" / "commands" / f"{command}.py").read_text()
    known = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source))
    assert set(flags) <= known | {"help"}, (command, set(flags) - known)


def test_every_subcommand_is_in_the_guide_or_the_readme():
  text = "".join((ROOT / n).read_text() for n in (*TEXTS, "README.md"))
  for command in __main__.COMMANDS:
    assert command in text


def test_links_of_the_guide_lead_somewhere():
  for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / TEXTS[0]).read_text()):
    assert (ROOT / "docs" / target).exists(), target
    assert f"docs/{target}" in (*TEXTS, *LINKED)
