"""The C and C++ files of this package, as an exported folder holds them."""

from __future__ import annotations

import pathlib

_HERE = pathlib.Path(__file__).parent

_SKETCH = "// Arduino wants this file; the example is main.cc beside it.\n"

_PYTHON = "Python.h"
"""Only the extension of Python includes it."""


def c_files() -> dict[str, bytes]:
  """The trainer, the adapter and the example, by their paths in the folder."""
  own = {p.name: p.read_bytes() for p in sorted(_HERE.glob("*.[ch]"))}
  found = {
    f"src/{name}": content
    for name, content in own.items()
    if not name.startswith("forward") and _PYTHON.encode() not in content
  }
  adapter = _HERE / "tflm"
  found["src/tflm_engine.h"] = (adapter / "tflm_engine.h").read_bytes()
  example = "examples/enroll"
  for path in sorted((adapter / "enroll").iterdir()):
    found[f"{example}/{path.name}"] = path.read_bytes()
  found[f"{example}/enroll.ino"] = _SKETCH.encode()
  return found
