"""Compile the C files with a test's own main, and run what comes of it."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

MICRO = pathlib.Path(__file__).parents[2] / "tflm_fg" / "micro"

STRICT = (
  "-std=c99 -pedantic -Wall -Wextra -Werror -Wconversion -Wshadow "
  "-Wstrict-prototypes -Wmissing-prototypes"
).split()

needs_gcc = pytest.mark.skipif(
  shutil.which("gcc") is None, reason="gcc is not on PATH"
)


def compiled(folder, main, sources, *flags, compiler="gcc"):
  """A program from a main's text and C files of the package."""
  source, program = folder / "main.c", folder / "program"
  source.write_text(main)
  files = [str(MICRO / name) for name in sources]
  command = [compiler, *STRICT, "-I", str(MICRO), *flags, str(source), *files]
  done = subprocess.run(
    [*command, "-o", str(program)], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  return program


def output_of(program, data=b""):
  """What a program writes for what it reads; it must end well."""
  done = subprocess.run(
    [str(program)], input=data, capture_output=True, check=False
  )
  assert done.returncode == 0, done.stderr.decode()
  return done.stdout
