"""What the docs tell people to type exists: programs, flags, files, links."""

from __future__ import annotations

import ast
import pathlib
import re
import shlex
import shutil

import numpy as np
import pytest

from apps.compare.presets import PRESETS
from apps.fleet import __main__ as fleet
from apps.kws import __main__ as kws
from apps.wake import __main__ as wake
from tests import models

ROOT = pathlib.Path(__file__).parent.parent
TEXTS = sorted(
  path.relative_to(ROOT).as_posix()
  for path in (
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs").glob("*.sh"),
  )
)
PAGES = [name for name in TEXTS if name.endswith(".md")]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r'^(tflm-fg-\w+) = "([\w.]+):run"$', PROJECT, re.M))
WITH_COMMANDS = {
  "tflm-fg-fleet": fleet.COMMANDS,
  "tflm-fg-kws": kws.COMMANDS,
  "tflm-fg-wake": wake.COMMANDS,
}
"""Programs of several commands, each with flags of its own."""
KNOWN_BY_PRESETS = {"what", "data", "out_dir"}
EXTRAS = re.findall(
  r"^([\w-]+) = ", PROJECT.split("optional-dependencies]")[1], re.M
)

# What a shell, a Python or a system has. `pip`, `python` and `pytest` are
# looked at more closely below.
SYSTEM = {
  ".", "adb", "bash", "bazel", "cd", "cmp", "flower-superlink",
  "flower-supernode", "mkdir", "mypy", "openssl", "pip", "pytest", "python",
  "python3", "ruff", "sed", "xxd",
}  # fmt: skip

SHARED_FLAGS = {p.stem for p in (ROOT / "apps/flags").glob("*_flags.py")}
"""Modules of flags that several programs may take."""


def read(name: str) -> str:
  return (ROOT / name).read_text(encoding="utf-8")


def shell_blocks(text: str) -> list[str]:
  """Fenced blocks of shell commands, and indented blocks of lines."""
  fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
  fenced = [b for kind, b in fences if kind in ("sh", "bash")]
  fenced += [b for kind, b in fences if not kind and has_a_command(b)]
  without = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
  indented = re.findall(r"(?:^    \S.*\n(?:^     +.*\n)*)+", without, re.M)
  blocks = [re.sub(r"^    ", "", block, flags=re.M) for block in indented]
  return fenced + [b for b in blocks if has_a_command(b)]


def has_a_command(block: str) -> bool:
  firsts = [line.split()[0] for line in block.splitlines() if line.strip()]
  return any(f in SYSTEM or f.startswith("tflm-fg-") for f in firsts)


def commands_of(name: str) -> list[list[str]]:
  """Every command of a page or script, as a shell parts it."""
  text = read(name)
  blocks = [text] if name.endswith(".sh") else shell_blocks(text)
  found = []
  for block in blocks:
    joined = re.sub(r"\\\n\s*", " ", block)
    for line in whole_lines(joined):
      lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
      lexer.whitespace_split, words = True, []
      for word in [*lexer, ";"]:
        if word and set(word) <= set("|&;<>"):
          if words and "=" not in words[0]:
            found.append(words)
          words = [] if word not in ("<", ">") else ["cmp"]  # then a file
        else:
          words.append(word)
  if name.endswith(".sh"):  # also has keywords and variables of the shell
    found = [words for words in found if words[0].startswith("tflm-fg-")]
  return found


def whole_lines(text: str) -> list[str]:
  """Lines, joined where a quote goes on in the next."""
  lines, held = [], ""
  for line in text.splitlines():
    held = f"{held}\n{line}" if held else line
    if held.lstrip().startswith("#"):
      held = ""
    elif held.count("'") % 2 == 0 and held.count('"') % 2 == 0:
      lines.append(held)
      held = ""
  assert not held, held
  return lines


def source_of(program: str, subcommand: str) -> pathlib.Path:
  """The file that defines a program's flags."""
  main = ROOT / (PROGRAMS[program].replace(".", "/") + ".py")
  if program in WITH_COMMANDS:
    return main.parent / "commands" / f"{subcommand}.py"
  return main


def flags_of(source: pathlib.Path) -> set[str]:
  text = source.read_text(encoding="utf-8")
  lines = re.findall(
    r"^from apps(?:.flags)? import (\([^)]*\)|.*$)", text, re.MULTILINE
  )
  for name in SHARED_FLAGS & set(re.findall(r"\w+", " ".join(lines))):
    text += (ROOT / "apps/flags" / f"{name}.py").read_text(encoding="utf-8")
  made = r'(?:DEFINE_\w+|_choice|_real|_whole|add_argument)\(\s*"(?:--)?(\w+)"'
  return {*re.findall(made, text), "help", "max_memory", "version"}


def flags_in(words: list[str]) -> list[str]:
  return [m[1] for w in words if (m := re.match(r"--(\w[\w-]*)", w))]


def all_commands():
  return [
    pytest.param(words, id=f"{name}-{number}-{words[0]}")
    for name in TEXTS
    for number, words in enumerate(commands_of(name))
  ]


def test_commands_are_found_in_every_page_that_has_some():
  for name in ("README.md", "CONTRIBUTING.md", "docs/tutorial.md"):
    assert len(commands_of(name)) > 5, name
  assert len(commands_of("docs/keyword_spotting.md")) > 12
  assert len(commands_of("docs/from_nothing.sh")) > 8
  assert len(commands_of("docs/results.md")) > 10


@pytest.mark.parametrize("words", all_commands())
def test_every_program_and_flag_exists(words):
  program, *rest = words
  if not program.startswith("tflm-fg-"):
    assert program in SYSTEM, words
    return
  assert program in PROGRAMS, words
  if program in WITH_COMMANDS:
    assert rest[0] in WITH_COMMANDS[program], words
  known = flags_of(source_of(program, rest[0] if rest else ""))
  assert set(flags_in(rest)) <= known, (words, set(flags_in(rest)) - known)
  for word in rest:
    if word.startswith("--preset="):
      assert word.partition("=")[2] in PRESETS, words


@pytest.mark.parametrize("words", all_commands())
def test_every_file_and_extra_that_a_command_names_exists(words):
  program, *rest = words
  if program in ("python", "pytest", "bash"):
    for word in rest:
      if "/" in word and not word.startswith("-"):
        assert (ROOT / word).exists(), words
    if program == "python" and rest[0].startswith("tools/"):
      known = read(rest[0])
      assert all(f"--{flag}" in known for flag in flags_in(rest)), words
  if program == "pip":
    assert not any("tflm-fg" in word for word in rest), "nothing is published"
    for extras in re.findall(r"\.\[([\w,-]+)\]", " ".join(rest)):
      assert set(extras.split(",")) <= set(EXTRAS)


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_installed_by_a_name_that_is_not_published(name):
  assert not re.search(r"pip install ['\"]?tflm[-_]fg", read(name))


@pytest.mark.parametrize("name", TEXTS)
def test_every_flag_in_running_text_is_a_flag_of_some_program(name):
  sources = [*ROOT.glob("apps/*.py"), *ROOT.glob("apps/*/__main__.py")]
  sources += ROOT.glob("apps/*/commands/*.py")
  sources += ROOT.glob("tools/*.py")
  known = set().union(*map(flags_of, sources))
  # Flags of one tool, of pip and of bazel, and some that CHANGELOG.md says
  # went.
  known |= {"write", "test_tag_filters", "fix", "out", "plot"}
  found = re.findall(r"`(?:[\w-]+ )?--(\w+)", read(name))
  assert set(found) <= known | {"data", "train_clips", "test_clips"}


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_in_a_page_exists(name):
  folders = "tflm_fg|apps|converters|tests|tools|docs"
  for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", read(name)):
    if path == "docs/method.md":  # CHANGELOG.md says that it is gone
      continue
    assert (ROOT / path).exists(), path


def heads_of(path: pathlib.Path) -> set[str]:
  """Anchors of a page, as GitHub makes them."""
  text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
  heads = re.findall(r"^#+ (.*)$", text, re.M)
  return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_leads_somewhere(name):
  for link in re.findall(r"\]\(([^)\s]+)\)", read(name)):
    if "://" in link:
      continue
    target, _, anchor = link.partition("#")
    path = (ROOT / name).parent / target if target else ROOT / name
    assert path.exists(), link
    assert not anchor or anchor in heads_of(path), link


def test_every_page_can_be_reached_from_the_readme():
  for name in TEXTS:
    if name.startswith("docs/") and name.endswith(".md"):
      assert f"({name})" in read("README.md"), name


def test_every_subcommand_is_in_a_guide_or_the_readme():
  guides = (
    "fleet.md",
    "keyword_spotting.md",
    "wake_words.md",
    "from_nothing.sh",
  )
  text = "".join(map(read, ["README.md", *(f"docs/{n}" for n in guides)]))
  for program, commands in WITH_COMMANDS.items():
    for command in commands:
      assert f"{program} {command}" in text or f"`{command}`" in text


def help_sources() -> list[tuple[str, pathlib.Path]]:
  """Every program and subcommand, with the file whose docstring is --help."""
  found = [
    (program, source_of(program, ""))
    for program in PROGRAMS
    if program not in WITH_COMMANDS
  ]
  return found + [
    (f"{program} {name}", source_of(program, name))
    for program, commands in WITH_COMMANDS.items()
    for name in commands
  ]


@pytest.mark.parametrize(
  ("program", "source"), help_sources(), ids=[n for n, _ in help_sources()]
)
def test_every_help_has_three_examples_whose_flags_exist(program, source):
  text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
  joined = re.sub(r"\n    (?=--)", " ", text)
  examples = re.findall(r"^  (tflm-fg-.*)$", joined, re.MULTILINE)
  assert len(examples) >= 3, examples
  known = KNOWN_BY_PRESETS if program == "tflm-fg-benchmark" else set()
  known = known | flags_of(source)
  for example in examples:
    assert example.startswith(program), example
    assert set(flags_in(example.split())) <= known, example


def python_blocks(name: str) -> list[str]:
  return re.findall(r"^```python\n(.*?)^```", read(name), re.M | re.S)


@pytest.fixture
def names(tmp_path, monkeypatch):
  """A folder beside a clone's model, as the tutorial has it, with samples."""
  model = "apps/kws/ds_cnn.tflite"
  (tmp_path / model).parent.mkdir(parents=True)
  shutil.copy(ROOT / model, tmp_path / model)
  folder = tmp_path / "tutorial"
  folder.mkdir()
  monkeypatch.chdir(folder)
  random = np.random.default_rng(0)
  sounds = random.normal(12, 5, (12, 49, 40, 1))
  for part, count in (("mine", 96), ("others", 48)):
    y = np.arange(count) % 12
    x = sounds[y] + random.normal(0, 5, (count, 49, 40, 1))
    np.savez(f"{part}.npz", x=x.astype(np.float32), y=y)
  return {}


def test_the_python_of_the_tutorial_runs(names, capsys):
  for block in python_blocks("docs/tutorial.md"):
    exec(compile(block, "docs/tutorial.md", "exec"), names)
  assert "bytes beyond inference" in capsys.readouterr().out
  assert pathlib.Path("adapted.tflite").read_bytes()[4:8] == b"TFL3"


def test_the_python_of_the_page_on_running_runs(names):
  first, *_ = python_blocks("docs/tutorial.md")
  exec(first, names)
  names["model"] = "../apps/kws/ds_cnn.tflite"
  for block in python_blocks("docs/running.md"):
    exec(compile(block, "docs/running.md", "exec"), names)
  assert pathlib.Path("adapted.tflite").read_bytes()[4:8] == b"TFL3"


def test_the_python_of_the_page_on_updates_runs(names, monkeypatch, capsys):
  pytest.importorskip("cbor2", reason="needs the extra delta")
  monkeypatch.chdir("..")
  for block in python_blocks("docs/updates.md"):
    exec(compile(block, "docs/updates.md", "exec"), names)
  sizes, booted = capsys.readouterr().out.splitlines()
  assert re.fullmatch(r"48032 bytes, [78]\d\d to send", sizes)
  assert booted == "models/slot0.tflite True"


def test_the_python_of_the_page_on_fleets_runs(names, monkeypatch, capsys):
  monkeypatch.chdir("..")
  for block in python_blocks("docs/fleet.md"):
    exec(compile(block, "docs/fleet.md", "exec"), names)
  assert capsys.readouterr().out == "True\n"


def test_the_python_of_the_data_page_runs(names, capsys):
  for block in python_blocks("docs/data.md"):
    exec(compile(block, "docs/data.md", "exec"), names)
  assert capsys.readouterr().out == "None () []\n"


def test_the_python_of_the_page_on_black_boxes_runs(names, capsys):
  names["model"] = models.regression_model()
  for block in python_blocks("docs/black_box.md"):
    exec(compile(block, "docs/black_box.md", "exec"), names)
  assert "passes, sign-m-spsa" in capsys.readouterr().out


def test_the_python_of_the_reference_runs(names):
  first, *_ = python_blocks("docs/tutorial.md")
  exec(first + "\nimport tflm_fg\n", names)
  names["model"] = "../apps/kws/ds_cnn.tflite"
  for block in python_blocks("docs/reference.md"):
    exec(compile(block, "docs/reference.md", "exec"), names)
  assert names["result"].report.loss == "missed"
