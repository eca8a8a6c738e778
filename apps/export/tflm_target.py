"""The target tflm: writes the folder that `tflm` makes."""

from __future__ import annotations

from apps.export import tflm
from apps.export.marked_model import marked_model
from apps.flags import export_flags, setting_flags
from tflm_fg import files


def export(path: str, out: str) -> list[str]:
  """Writes a folder for a board with TensorFlow Lite Micro.

  Args:
    path: of the model.
    out: a new folder.

  Returns:
    Lines for the user.
  """
  files.require_new_folder(out)
  marked = marked_model(path)
  contents, told = tflm.folder(
    marked,
    setting_flags.method(),
    setting_flags.objective(),
    export_flags.SAMPLES.value,
    path,
  )
  files.write_folder(out, contents)
  return [
    *(f"mended: {note}" for note in marked.notes),
    f"{out}: {len(contents)} files; begin with its README.md",
    *told,
  ]
