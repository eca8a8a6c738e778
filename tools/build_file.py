"""Write BUILD: a target a package and a test, deps read from the imports.

  python tools/build_file.py           says whether BUILD is as it should be
  python tools/build_file.py --write   writes it

Bazel runs tests with the host's Python, so installed packages are no targets.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import sys
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).resolve().parent.parent

PACKAGES = {
  "tflm_fg/base": (
    "tflm_fg/types.py",
    "tflm_fg/limits.py",
    "tflm_fg/files/*.py",
  ),
  "tflm_fg/checkpoint": ("tflm_fg/checkpoint/*.py",),
  "tflm_fg/delta": ("tflm_fg/delta/*.py",),
  "tflm_fg/fixed_point": ("tflm_fg/fixed_point/*.py",),
  "tflm_fg/slots": ("tflm_fg/slots.py",),
  "tflm_fg/samples": ("tflm_fg/samples/*.py",),
  "tflm_fg/tflite": ("tflm_fg/tflite/**/*.py",),
  "tflm_fg/losses": ("tflm_fg/losses/*.py",),
  "tflm_fg/optimizers": ("tflm_fg/optimizers/*.py",),
  "tflm_fg/runtimes": ("tflm_fg/runtimes/*.py",),
  "tflm_fg/gradients": ("tflm_fg/gradients/*.py",),
  "tflm_fg/training": ("tflm_fg/training/*.py",),
  "tflm_fg/forgetting": ("tflm_fg/forgetting/*.py",),
  "tflm_fg/detection": ("tflm_fg/detection/*.py",),
  "tflm_fg/federated": ("tflm_fg/federated/**/*.py",),
  "tflm_fg/placement": ("tflm_fg/placement/*.py",),
  "tflm_fg/memory": ("tflm_fg/memory/*.py",),
  "tflm_fg/outcome": ("tflm_fg/outcome/*.py",),
  "tflm_fg/micro": ("tflm_fg/micro/*.py",),
  "tflm_fg/signatures": ("tflm_fg/signatures/*.py",),
  "tflm_fg/streaming": ("tflm_fg/streaming/*.py",),
  "tflm_fg": ("tflm_fg/*.py", "tflm_fg/callbacks/*.py"),
  "converters": ("converters/**/*.py",),
  "apps/base": (
    "apps/__init__.py",
    "apps/checkpoints.py",
    "apps/cli.py",
    "apps/outputs.py",
    "apps/printed_report.py",
    "apps/streams.py",
    "apps/subcommands.py",
    "apps/flags/*.py",
  ),
  "apps/report_page": ("apps/report_page/*.py",),
  "apps/kws": ("apps/kws/**/*.py",),
  "apps/wake": ("apps/wake/**/*.py",),
  "apps/fleet": ("apps/fleet/**/*.py",),
  "apps/compare": ("apps/compare/**/*.py",),
  "apps/export": ("apps/export/*.py",),
  "apps/samples": ("apps/samples/**/*.py",),
  "apps": ("apps/*.py",),
  "tools": ("tools/**/*.py",),
}
"""Target -> the patterns of its files; a file is in the first that fits."""

DATA = {
  "apps/fleet": ("apps/fleet/flower/*.md", "apps/fleet/flower/*.toml"),
  "apps/samples": ("apps/samples/**",),
  "apps/kws": ("apps/kws/*.json", "apps/kws/*.tflite"),
  "apps/wake": ("apps/wake/data/*.bin",),
  "apps/compare": ("apps/compare/*.json", "apps/compare/*.tflite"),
  "tflm_fg/micro": (
    "tflm_fg/micro/*.c",
    "tflm_fg/micro/*.h",
    "tflm_fg/micro/*.sh",
    "tflm_fg/micro/tflm/**",
  ),
}
"""Target -> the patterns of what it reads beside Python."""

TENSORFLOW = (
  "keras",
  "tensorflow",
  "tensorflow_model_optimization",
  "tf_keras",
)

HEADER = '''\
"""A target a package and a test; deps are the packages' imports.

Written by: python tools/build_file.py --write
"""

package(default_visibility = ["//visibility:public"])

licenses(["notice"])

exports_files(["LICENSE"])
'''

TESTS = """\
py_library(
    name = "tests/support",
    testonly = True,
    srcs = glob(
        ["tests/**/*.py"],
        exclude = ["tests/**/test_*.py"],
    ),
    data = glob([
        "*.md",
        "*.toml",
        "BUILD",
        ".ci/*",
        "docs/**",
        "tests/apps/samples/**",
        "tests/golden/*",
        "tests/micro/**",
        "**/*.py",
    ]),
    deps = [
{deps}
    ],
)

# Tests that ask for TensorFlow: bazel test --test_tag_filters=-tf leaves them
# out.
TENSORFLOW_TESTS = [
{tensorflow}
]

[
    py_test(
        name = test[:-len(".py")],
        srcs = [
            "tests/bazel_main.py",
            test,
        ],
        args = [test],
        legacy_create_init = False,  # no __init__.py but ours
        main = "tests/bazel_main.py",
        tags = ["tf"] if test in TENSORFLOW_TESTS else [],
        deps = [":tests/support"],
    )
    for test in glob(["tests/**/test_*.py"])
]
"""


@functools.cache
def packages() -> dict[str, list[str]]:
  """Each target's Python files, relative to the root."""
  found: dict[str, list[str]] = {}
  taken: set[str] = set()
  for name, patterns in PACKAGES.items():
    paths = {p for pattern in patterns for p in ROOT.glob(pattern)}
    own = {path.relative_to(ROOT).as_posix() for path in paths} - taken
    found[name] = sorted(own)
    taken |= own
  return found


@functools.cache
def tests() -> list[str]:
  """The test files, relative to the root."""
  paths = (ROOT / "tests").rglob("test_*.py")
  return sorted(path.relative_to(ROOT).as_posix() for path in paths)


@functools.cache
def imports(path: str) -> frozenset[str]:
  """Dotted names that a file imports, at any depth of it."""
  names = set()
  for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      inner = {f"{node.module}.{alias.name}" for alias in node.names}
      names |= inner
      if not all(map(_is_module, inner)):
        names.add(node.module)
  return frozenset(names)


def _is_module(name: str) -> bool:
  """Whether a dotted name is a file: `from` its package imports it alone."""
  return (ROOT / f"{name.replace('.', '/')}.py").is_file()


def deps(name: str) -> list[str]:
  """The targets whose files a target's files import."""
  modules = {
    path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): target
    for target, paths in packages().items()
    for path in paths
  }
  found = {
    modules[module]
    for path in packages()[name]
    for module in imports(path)
    if module in modules
  }
  return sorted(found - {name})


def needs_tensorflow(path: str) -> bool:
  """Whether a test asks for TensorFlow by an import or a mark."""
  text = (ROOT / path).read_text(encoding="utf-8")
  asked = any(
    f'importorskip("{package}"' in text for package in TENSORFLOW
  ) or any(name.split(".")[0] in TENSORFLOW for name in imports(path))
  return asked or "mark.tensorflow" in text


def target(name: str) -> str:
  """A package's rule."""
  patterns = PACKAGES[name]
  lines = ["py_library(", f'    name = "{name}",']
  outside = [
    path
    for other, paths in packages().items()
    for path in paths
    if other != name and any(_fits(path, pattern) for pattern in patterns)
  ]
  if not any("*" in pattern for pattern in patterns):
    lines += ["    srcs = [", *_items(patterns, 8), "    ],"]
  elif outside or len(patterns) > 1:
    lines.append("    srcs = glob(")
    if len(patterns) > 1:
      lines += ["        [", *_items(patterns, 12), "        ],"]
    else:
      lines.append(f'        ["{patterns[0]}"],')
    lines += [
      "        exclude = [",
      *_items(outside, 12),
      "        ],",
      "    ),",
    ]
  else:
    lines.append(f'    srcs = glob(["{patterns[0]}"]),')
  if name in DATA:
    lines += ["    data = glob([", *_items(DATA[name], 8), "    ]),"]
  if needed := deps(name):
    lines += ["    deps = [", *_items((f":{n}" for n in needed), 8), "    ],"]
  return "\n".join([*lines, ")\n"])


def _fits(path: str, pattern: str) -> bool:
  """Whether a file is in a pattern, whose stars are for names in one folder."""
  same = path.count("/") == pattern.count("/")
  return same and pathlib.PurePosixPath(path).match(pattern)


def _items(texts: Iterable[str], indent: int) -> list[str]:
  return [f'{" " * indent}"{text}",' for text in texts]


def build_text() -> str:
  """All of BUILD."""
  rules = [target(name) for name in PACKAGES]
  every = _items((f":{name}" for name in sorted(PACKAGES)), 8)
  asking = _items(filter(needs_tensorflow, tests()), 4)
  ends = TESTS.format(deps="\n".join(every), tensorflow="\n".join(asking))
  return "\n".join([HEADER, *rules, ends])


def main() -> int:
  """Compares, or writes with --write."""
  path, text = ROOT / "BUILD", build_text()
  if "--write" in sys.argv[1:]:
    path.write_text(text, encoding="utf-8")
    return 0
  if path.read_text(encoding="utf-8") == text:
    print("BUILD is as the imports have it")
    return 0
  print("BUILD is stale; run: python tools/build_file.py --write")
  return 1


if __name__ == "__main__":
  sys.exit(main())
