"""BUILD is the import graph: both are read and compared.

After adding a file or an import, write BUILD anew:

  python tests/test_build_file.py --write

Bazel runs tests with the host's Python, so installed packages are no targets.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import sys
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("tflm_fg", "converters", "apps", "tests")
MAIN = "tests/bazel_main.py"  # every test's main: a source, not a target
TENSORFLOW = {
  "keras",
  "tensorflow",
  "tensorflow_model_optimization",
  "tf_keras",
}

HEADER = '''\
"""One target a file; deps are the file's imports.

Written by: python tests/test_build_file.py --write
"""

package(default_visibility = ["//visibility:public"])

licenses(["notice"])

exports_files(["LICENSE"])

# For tests that read the sources instead of importing them.
filegroup(
    name = "sources",
    srcs = glob([
{patterns}
    ]),
)
'''


def python_files() -> list[str]:
  """Every Python file that has a target, relative to the root."""
  found = (p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))
  paths = (path.relative_to(ROOT).as_posix() for path in found)
  return sorted(path for path in paths if path != MAIN)


@functools.cache
def tree_of(path: str) -> ast.Module:
  """The file's syntax tree."""
  return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


@functools.cache
def file_of(module: str) -> str | None:
  """The first-party file that a dotted name stands for, if any."""
  parts = module.split(".")
  if parts[0] not in FOLDERS or "" in parts:
    return None
  for path in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
    if (ROOT / path).is_file():
      return path
  return None


@functools.cache
def imported_names(path: str) -> set[str]:
  """Dotted names in import statements, at any depth of the file."""
  names = set()
  for node in ast.walk(tree_of(path)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      folders = list(pathlib.PurePosixPath(path).parts)
      package = folders[: len(folders) - node.level] if node.level else []
      module = ".".join(package + ([node.module] if node.module else []))
      # "from package import x" means the file x where there is one.
      for alias in node.names:
        inner = f"{module}.{alias.name}"
        names.add(inner if file_of(inner) else module)
  return names


@functools.cache
def strings(path: str) -> set[str]:
  """Every string constant of the file, those inside f-strings too."""
  return {
    node.value
    for node in ast.walk(tree_of(path))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
  }


@functools.cache
def modules_named_in_strings(path: str) -> set[str]:
  """What import_module or `python -m` is given: "apps.adapt", f"apps.{x}"."""
  texts = strings(path)
  names = {text for text in texts if "." in text}
  packages = {text for text in texts if text.endswith(".")}
  words = {text for text in texts if text.isidentifier()}
  return names | {package + word for package in packages for word in words}


@functools.cache
def deps_of(path: str) -> set[str]:
  """The first-party files that a file imports."""
  names = imported_names(path) | modules_named_in_strings(path)
  if is_test(path):  # pytest imports these by itself
    for folder in list(pathlib.PurePosixPath(path).parents)[:-1]:
      package = ".".join(folder.parts)
      names |= {package, f"{package}.conftest"}
  return {dep for name in names if (dep := file_of(name))} - {path}


def data_of(path: str) -> set[str]:
  """Labels of the files that a file reads: those it names in a string."""
  named = {pathlib.PurePosixPath(text).name for text in strings(path)}
  data = {"sources"} if "*.py" in named else set()
  if is_test(path):
    named.add("pyproject.toml")  # pytest's settings
  return data | {path for path in other_files() if name_of(path) in named}


def name_of(path: str) -> str:
  """The last part of a path."""
  return path.rsplit("/", 1)[-1]


@functools.cache
def other_files() -> list[str]:
  """What is not Python and may be read by a file, relative to the root."""
  places = (
    "BUILD",
    "*.md",
    "*.toml",
    "docs/*.*",
    "tests/**/*.*",
    "apps/**/*.*",
  )
  return [
    file.relative_to(ROOT).as_posix()
    for pattern in places
    for file in ROOT.glob(pattern)
    if file.suffix not in (".py", ".pyc")
  ]


def is_test(path: str) -> bool:
  """Whether pytest collects the file."""
  return pathlib.PurePosixPath(path).name.startswith("test_")


def needs_tensorflow(path: str) -> bool:
  """Whether a test asks for TensorFlow, itself or by what it imports."""
  calls = (n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call))
  arguments = {  # as in pytest.importorskip("tensorflow")
    str(arg.value)
    for call in calls
    for arg in call.args
    if isinstance(arg, ast.Constant)
  }
  names = arguments.union(*map(imported_names, closure(path)))
  if "pytest.mark.tensorflow" in (ROOT / path).read_text(encoding="utf-8"):
    return True
  return any(name.split(".")[0] in TENSORFLOW for name in names)


def closure(path: str) -> set[str]:
  """The file and all that it imports, however far away."""
  queue, seen = [path], set()
  while queue:
    here = queue.pop()
    seen.add(here)
    queue += deps_of(here) - seen
  return seen


def labels(paths: set[str]) -> list[str]:
  """Bazel's names: a Python file's target is its path without .py."""
  return sorted(f":{path.removesuffix('.py')}" for path in paths)


def target(path: str) -> dict[str, Any]:
  """The attributes of the file's rule, as BUILD should have them."""
  test = is_test(path)
  attributes = {
    "name": path.removesuffix(".py"),
    "srcs": [MAIN, path] if test else [path],
    "args": [path] if test else None,
    "data": labels(data_of(path)),
    "legacy_create_init": False if test else None,  # no __init__.py but ours
    "main": MAIN if test else None,
    "tags": ["tf"] if test and needs_tensorflow(path) else None,
    "deps": labels(deps_of(path)),
  }
  return {k: v for k, v in attributes.items() if v not in (None, [])}


def render(path: str) -> str:
  """The file's rule as text, laid out as buildifier does."""
  step_rule = "py_test" if is_test(path) else "py_library"
  lines = [f"{step_rule}("]
  for key, value in target(path).items():
    if isinstance(value, list) and len(value) > 1:
      lines += [f"    {key} = [", *(f'        "{x}",' for x in value), "    ],"]
    else:
      text = repr(value).replace("'", '"')
      lines.append(f"    {key} = {text},")
  return "\n".join([*lines, ")\n"])


def build_text() -> str:
  """All of BUILD."""
  patterns = "\n".join(f'        "{folder}/**/*.py",' for folder in FOLDERS)
  rules = [render(path) for path in python_files()]
  return "\n".join([HEADER.format(patterns=patterns), *rules])


def targets_in_build() -> list[dict[str, Any]]:
  """The attributes of every Python rule in BUILD, read as Python."""
  tree = ast.parse((ROOT / "BUILD").read_text(encoding="utf-8"), "BUILD")
  calls = (node.value for node in tree.body if isinstance(node, ast.Expr))
  return [
    {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    for call in calls
    if isinstance(call, ast.Call)
    and isinstance(call.func, ast.Name)
    and call.func.id in ("py_library", "py_test")
  ]


def test_every_python_file_has_exactly_one_target():
  """Nothing is missing from BUILD, doubled or left over."""
  sources = [x for target in targets_in_build() for x in target["srcs"]]
  assert sorted(x for x in sources if x != MAIN) == python_files()


def test_each_target_depends_on_exactly_what_its_file_imports():
  """A missing or a stale dep fails here, with the cure."""
  cure = "run: python tests/test_build_file.py --write"
  for found in targets_in_build():
    path = found["srcs"][-1]
    assert found["name"] == path.removesuffix(".py"), cure
    deps = labels(deps_of(path))
    assert found.get("deps", []) == deps, f"{path}: {cure}"


def test_build_is_what_the_generator_writes():
  """Data, tags and order too."""
  assert (ROOT / "BUILD").read_text(encoding="utf-8") == build_text()


@pytest.mark.parametrize(
  ("path", "dep"),
  [
    ("tflm_fg/quant.py", "tflm_fg/base.py"),  # from tflm_fg.base import x
    ("tflm_fg/trainer.py", "tflm_fg/quant.py"),  # from tflm_fg import quant
    ("apps/adapt.py", "tflm_fg/__init__.py"),  # import tflm_fg
    ("apps/kws/__main__.py", "apps/kws/demo.py"),  # import_module(f"...{x}")
  ],
)
def test_every_form_of_import_is_found(path, dep):
  """The reader of imports does not pass a graph with holes."""
  assert dep in deps_of(path)


if __name__ == "__main__":
  if sys.argv[1:] == ["--write"]:
    (ROOT / "BUILD").write_text(build_text(), encoding="utf-8")
  else:
    print(build_text(), end="")
