"""Measure the library's files, functions and imports.

  python tools/figures.py [FOLDER]

Prints one row of the table in docs/design.md. FOLDER is a package's folder, by
default this project's tflm_fg. Lines of a function are those without its
docstring.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import statistics
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent

HEADER = (
  "| package | modules | file, lines: median, longest "
  "| function, lines: median, 90 %, longest | import depth | imports a file "
  "| public docstrings |"
)

Tree = ast.Module
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Dotted name -> file, `__init__.py` of a package under its own name."""
  found = {}
  for path in sorted(folder.rglob("*.py")):
    parts = path.relative_to(folder.parent).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    found[".".join(parts)] = path
  return found


def imported(tree: Tree, known: dict[str, pathlib.Path]) -> set[str]:
  """The package's own modules that a file names in an import."""
  found: set[str] = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      inner = {f"{node.module}.{alias.name}" for alias in node.names}
      found |= (inner & set(known)) or {node.module}
  return found & set(known)


def depth(graph: dict[str, set[str]]) -> int:
  """Modules on the longest way of imports.

  Raises:
    RecursionError: if files import each other in a circle.
  """

  @functools.cache
  def floor(name: str) -> int:
    return 1 + max(map(floor, graph[name]), default=0)

  return max(map(floor, graph))


def functions(tree: Tree) -> Iterator[Function]:
  """All functions and methods of a file."""
  for node in ast.walk(tree):
    if isinstance(node, Function):
      yield node


def length(function: Function) -> int:
  """Lines of a function without its docstring."""
  lines = (function.end_lineno or function.lineno) - function.lineno + 1
  if ast.get_docstring(function) is None:
    return lines
  text = function.body[0]
  return lines - ((text.end_lineno or text.lineno) - text.lineno + 1)


def public(tree: Tree) -> Iterator[ast.ClassDef | Function]:
  """Classes, functions and methods that no underscore hides."""
  for node in tree.body:
    if isinstance(node, ast.ClassDef | Function) and node.name[0] != "_":
      yield node
      if isinstance(node, ast.ClassDef):
        for inner in node.body:
          if isinstance(inner, Function) and inner.name[0] != "_":
            yield inner


def row(folder: pathlib.Path) -> str:
  """A package's figures as a row of the table."""
  known = modules(folder)
  trees = {name: ast.parse(p.read_text("utf-8")) for name, p in known.items()}
  lines = [len(p.read_text("utf-8").splitlines()) for p in known.values()]
  graph = {name: imported(t, known) - {name} for name, t in trees.items()}
  # A package's __init__ only hands on what it imports.
  files = [n for n, p in known.items() if p.name != "__init__.py"]
  sizes = sorted(length(f) for tree in trees.values() for f in functions(tree))
  documented = [
    ast.get_docstring(node) is not None
    for tree in trees.values()
    for node in public(tree)
  ]
  imports = statistics.mean(len(graph[name]) for name in files)
  share = statistics.mean(documented)
  return (
    f"| {folder.name} | {len(known)} | {statistics.median(lines):.0f}, "
    f"{max(lines)} | {statistics.median(sizes):.0f}, "
    f"{sizes[9 * len(sizes) // 10]}, {sizes[-1]} | {depth(graph)} | "
    f"{imports:.1f} | {share:.2f} |"
  )


def main() -> None:
  """Prints the table's head and a row."""
  folder = pathlib.Path(sys.argv[1]) if sys.argv[1:] else ROOT / "tflm_fg"
  print(HEADER)
  print("|---" * (HEADER.count("|") - 1) + "|")
  print(row(folder.resolve()))


if __name__ == "__main__":
  main()
