"""The target signatures: a .tflite that trains itself."""

from __future__ import annotations

from apps.export.marked_model import marked_model
from apps.flags import export_flags
from converters.to_signatures import to_signatures
from tflm_fg import files


def export(path: str, out: str) -> list[str]:
  """Writes a .tflite with signatures that train it.

  Args:
    path: of the model.
    out: of the new file.

  Returns:
    Lines for the user: sizes, signatures, notes.
  """
  files.require_outputs({"out": out}, {"model": path})
  marked = marked_model(path)
  made = to_signatures(
    marked,
    export_flags.CAPACITY.value,
    float_ends=export_flags.IO.value == "float32",
  )
  files.write_atomically(out, made.data)
  size = len(made.data)
  more = size - len(files.read_bytes(path))
  return [
    *(f"mended: {note}" for note in marked.notes),
    f"{out}: {size:,} bytes, {more:,} more than {path}",
    *made.table,
  ]
