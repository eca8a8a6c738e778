"""The target web: a .tflite with ends that a page can pass."""

from __future__ import annotations

import tflm_fg
from converters.float_ends import described, with_float_ends
from tflm_fg import files
from tflm_fg.tflite import ModelFile


def export(path: str, out: str) -> list[str]:
  """Writes the model with float32 where it had integers at its ends.

  Args:
    path: of any .tflite: plain, adapted, or with signatures. A mark is taken
      off, for what it says of inputs and outputs holds no longer.
    out: of the new file.

  Returns:
    Lines for the user: sizes, signatures, and what LiteRT.js does not have.
  """
  files.require_outputs({"out": out}, {"model": path})
  plain = tflm_fg.strip(path)
  data = with_float_ends(plain, path)
  files.write_atomically(out, data)
  return [
    f"{out}: {len(data):,} bytes, {len(data) - len(plain):,} more than {path}",
    *described(data),
    *_not_there(ModelFile.of(plain, path)),
  ]


def _not_there(file: ModelFile) -> list[str]:
  """A line on each custom operator, since LiteRT.js has no way to add one."""
  custom = {op.name for op in file.subgraph.operators if op.is_custom}
  return [
    f"the operator {name} is no builtin one, so LiteRT.js will refuse the file"
    for name in sorted(custom)
  ]
