"""Build the C functions that Python may use, where a compiler is at hand.

All else is in pyproject.toml. The extension is optional: without a compiler the
package installs without it and NumPy does the same work
(`tflm_fg.fixed_point.native`).
"""

import hashlib
import pathlib
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MICRO = pathlib.Path("tflm_fg/micro")
SOURCES = [MICRO / name for name in ("python.c", "fg_losses.c", "fg_measure.c")]
HEADERS = [MICRO / "fg.h", MICRO / "fg_core.h"]

# A buffer is in the limited API from 3.11 on; free threads have none.
LIMITED = sys.version_info >= (3, 11) and not sysconfig.get_config_var(
  "Py_GIL_DISABLED"
)


def fingerprint():
  """Of the files that the library is made of, as native.py makes it."""
  found = hashlib.sha256()
  for path in sorted([*SOURCES, *HEADERS]):
    found.update(path.read_bytes())
  return found.hexdigest()[:16]


class Fresh(build_ext):
  """Leaves no library of an earlier build where this one fails."""

  def build_extension(self, ext):  # noqa: D102
    for path in (
      self.get_ext_fullpath(ext.name),
      pathlib.Path(self.build_lib) / self.get_ext_filename(ext.name),
    ):
      pathlib.Path(path).unlink(missing_ok=True)
    self.force = True
    super().build_extension(ext)


macros = [("FG_SOURCES", f'"{fingerprint()}"')]
if LIMITED:
  macros.append(("Py_LIMITED_API", "0x030B0000"))

setup(
  cmdclass={"build_ext": Fresh},
  ext_modules=[
    Extension(
      "tflm_fg.fixed_point._native",
      [str(path) for path in SOURCES],
      depends=[str(path) for path in HEADERS],
      include_dirs=[str(MICRO)],
      define_macros=macros,
      extra_compile_args=["-O3"] if sys.platform != "win32" else [],
      py_limited_api=LIMITED,
      optional=True,
    )
  ],
  options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
