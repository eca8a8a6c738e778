"""BUILD is the graph of packages: both are read and compared."""

from __future__ import annotations

import pathlib

from tools import build_file

ROOT = pathlib.Path(__file__).parent.parent


def test_build_is_what_the_imports_say():
  text = (ROOT / "BUILD").read_text(encoding="utf-8")
  assert text == build_file.build_text(), (
    "run: python tools/build_file.py --write"
  )


def test_every_python_file_is_in_one_package_or_a_test():
  known = [path for paths in build_file.packages().values() for path in paths]
  assert len(known) == len(set(known))
  folders = ("tflm_fg", "converters", "apps", "tools")
  files = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
  assert {p.relative_to(ROOT).as_posix() for p in files} == set(known)


def test_patterns_of_files_stand_in_globs():
  """Bazel takes a star outside a glob for a file of that name."""
  for name, patterns in build_file.PACKAGES.items():
    has_star = any("*" in pattern for pattern in patterns)
    assert has_star == ("srcs = glob(" in build_file.target(name)), name


def test_packages_need_each_other_in_no_circle():
  """Bazel refuses circles, and not everyone has Bazel."""
  needs = {name: set(build_file.deps(name)) for name in build_file.PACKAGES}
  while ends := {name for name, used in needs.items() if not used}:
    needs = {n: used - ends for n, used in needs.items() if n not in ends}
  assert not needs


def test_a_test_that_imports_tensorflow_is_tagged():
  asking = [path for path in build_file.tests() if "test_quantize" in path]
  assert asking and all(map(build_file.needs_tensorflow, asking))
