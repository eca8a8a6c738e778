"""The architecture, held: who may import whom, what is public, how long."""

from __future__ import annotations

import ast
import functools
import importlib
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("tflm_fg", "converters", "apps")

# From the top down: a package imports only packages that stand further down.
PACKAGES = """
  dry_run federated
  detection
  adaptation inspection evaluation loading report outcome
  replaying journal plots methods callbacks requirements micro
  signatures
  streaming
  marking memory placement forgetting training gradients runtimes optimizers
  losses tflite samples fixed_point checkpoint slots delta files limits types
""".split()

MOST_FILES, MOST_FLOORS, MOST_LINES, MOST_LINES_A_FUNCTION = 16, 11, 350, 85


def sources(folder):
  return sorted((ROOT / folder).rglob("*.py"))


@functools.cache
def modules():
  """Dotted name -> file, of all but the tests."""
  found = {}
  for folder in FOLDERS:
    for path in sources(folder):
      parts = path.relative_to(ROOT).with_suffix("").parts
      parts = parts[:-1] if parts[-1] == "__init__" else parts
      found[".".join(parts)] = path
  return found


@functools.cache
def imported(path):
  """Dotted names that a file imports, at any depth of it."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      inner = {f"{node.module}.{alias.name}" for alias in node.names}
      found |= (inner & set(modules())) or {node.module}
  return found


@functools.cache
def graph():
  return {
    name: imported(path) & set(modules()) - {name}
    for name, path in modules().items()
  }


def package_of(name):
  """The name below tflm_fg, or None for tflm_fg itself and what is outside."""
  first, *rest = name.split(".")
  return rest[0] if first == "tflm_fg" and rest else None


def test_every_part_of_the_library_has_its_place_in_the_order():
  assert {package_of(name) for name in modules()} - {None} == set(PACKAGES)


def test_imports_between_packages_point_down():
  for name, used in graph().items():
    here = package_of(name)
    for other in used:
      there = package_of(other)
      if here and there:
        assert PACKAGES.index(here) <= PACKAGES.index(there), (name, other)


def test_no_file_imports_itself_in_a_circle():
  left = dict(graph())
  while ends := {name for name, used in left.items() if not used}:
    left = {n: used - ends for n, used in left.items() if n not in ends}
  assert not left


def test_imports_of_the_library_are_not_deeper_than_eleven_floors():
  @functools.cache
  def floor(name):
    below = [n for n in graph()[name] if n.startswith("tflm_fg")]
    return 1 + max(map(floor, below), default=0)

  floors = {n: floor(n) for n in graph() if n.startswith("tflm_fg")}
  assert max(floors.values()) <= MOST_FLOORS


def test_imports_between_folders_point_one_way():
  for number, folder in enumerate(FOLDERS):
    later = FOLDERS[number + 1 :]
    for path in sources(folder):
      tops = {name.split(".")[0] for name in imported(path)}
      assert not tops & set(later), path


def test_programs_and_converters_use_what_is_public_alone():
  """Packages of the library, or its single modules, and names in `__all__`."""
  for folder in ("converters", "apps"):
    for path in sources(folder):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
          for alias in node.names:
            parts = alias.name.split(".")
            assert parts[0] != "tflm_fg" or len(parts) < 3, (path, alias.name)
        if not isinstance(node, ast.ImportFrom) or not node.module:
          continue
        top, *rest = node.module.split(".")
        if top != "tflm_fg":
          continue
        assert len(rest) < 2, (path, node.module)
        public = importlib.import_module(node.module)
        for alias in node.names:
          known = getattr(public, "__all__", dir(public))
          inner = f"{node.module}.{alias.name}" in modules()
          assert alias.name in known or (not rest and inner), (path, alias.name)
          assert not alias.name.startswith("_"), (path, alias.name)


def test_the_library_needs_no_tensorflow_to_import():
  for path in sources("tflm_fg"):
    tree = ast.parse(path.read_text())
    for node in tree.body:
      if isinstance(node, ast.Import | ast.ImportFrom):
        text = ast.unparse(node)
        for package in ("tensorflow", "tflite_micro", "matplotlib", "keras"):
          assert package not in text, path


def test_only_the_tflite_package_knows_the_schema():
  for path in sources("tflm_fg"):
    knows = any("schema_py_generated" in name for name in imported(path))
    assert not knows or "tflite" in path.parts, path


def test_no_folder_of_the_library_has_more_than_sixteen_files():
  for folder in {path.parent for path in sources("tflm_fg")}:
    own = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
    assert len(own) <= MOST_FILES, folder


def test_no_source_file_is_longer_than_350_lines():
  for folder in FOLDERS:
    for path in sources(folder):
      assert len(path.read_text().splitlines()) <= MOST_LINES, path


def test_no_function_is_longer_than_85_lines_with_its_docstring():
  for folder in FOLDERS:
    for path in sources(folder):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
          length = node.end_lineno - node.lineno + 1
          assert length <= MOST_LINES_A_FUNCTION, (path, node.name, length)
