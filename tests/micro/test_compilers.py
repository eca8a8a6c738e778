"""The C files compile without a warning, wherever a compiler is found."""

import pathlib
import shutil
import subprocess
import sysconfig

import pytest

from tests.micro.trainers import FOLDER, STRICT

COMPILERS = {
  "gcc": (),
  "clang": (),
  "arm-none-eabi-gcc": ("-mcpu=cortex-m0", "-mthumb"),
}
MORE = "-Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes".split()
OWN = sorted(FOLDER.glob("fg_*.c"))
HEADER = pathlib.Path(sysconfig.get_path("include")) / "Python.h"


def compile_all(compiler, files, *flags):
  if shutil.which(compiler) is None:
    pytest.skip(f"{compiler} is not on PATH")
  command = [compiler, *STRICT, *COMPILERS[compiler], *flags]
  done = subprocess.run(
    [*command, "-fsyntax-only", *map(str, files)],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_trainer_is_plain_c99(compiler):
  assert len(OWN) > 8
  more = MORE if compiler != "clang" else ()
  compile_all(compiler, OWN, *more)


@pytest.mark.skipif(not HEADER.exists(), reason="no headers of Python")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("limited", [(), ("-DPy_LIMITED_API=0x030B0000",)])
def test_the_extension_compiles_with_and_without_the_limited_api(
  compiler, limited
):
  # Python's own headers are not C99 to the letter, so they are the system's.
  flags = ("-isystem", str(HEADER.parent), *limited)
  compile_all(compiler, [FOLDER / "python.c"], *flags)


def test_a_compiler_that_drops_the_sign_would_fail(tmp_path):
  """The check in fg_core.h is a negative array size where it does not hold."""
  if shutil.which("gcc") is None:
    pytest.skip("gcc is not on PATH")
  broken = (FOLDER / "fg_core.h").read_text()
  broken = broken.replace("((int32_t)-5 >> 1) == -3", "5 == 6", 1)
  for name in ("fg.h", "fg_random.c"):
    (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
  (tmp_path / "fg_core.h").write_text(broken)
  done = subprocess.run(
    ["gcc", *STRICT, "-fsyntax-only", str(tmp_path / "fg_random.c")],
    capture_output=True,
    text=True,
    check=False,
  )
  assert "fg_shifts_keep_the_sign" in done.stderr


def test_no_file_of_the_trainer_allocates_or_uses_floats():
  for path in [*OWN, FOLDER / "fg_core.h", FOLDER / "fg.h"]:
    text = path.read_text()
    for word in ("malloc", "double ", "float ", "<math.h>", "<stdio.h>"):
      assert word not in text, (path, word)
