"""The target signatures: a .tflite that trains itself."""

from __future__ import annotations

from apps.flags import export_flags, graph_flags, output_flags, setting_flags
from converters.to_signatures import chosen, to_signatures
from tflm_fg import MarkedModel, files
from tflm_fg.marking import opened
from tflm_fg.signatures import head_spec
from tflm_fg.tflite import read_mark

BATCH_SIZE = 8
"""Samples of a call of `adapt_input`, where no flag says it."""


def marked_for(path: str, trainable: str = "auto") -> MarkedModel:
  """The model, marked with what a file that trains itself trains.

  Args:
    path: of the model.
    trainable: what trains where neither a flag nor the file's mark says it.

  Raises:
    TflmFgError: if the file is not sound or cannot train this.
  """
  file = opened(path, None, output_flags.OUTPUT.value, output_flags.INPUT.value)
  own, asked = read_mark(file), export_flags.TRAINABLE.value
  if own is not None and asked is None:
    return MarkedModel(file, own, ())
  return chosen(
    file,
    asked or trainable,
    graph_flags.graph_options(),
    setting_flags.batch_size(BATCH_SIZE),
  )


def export(path: str, out: str) -> list[str]:
  """Writes a .tflite with signatures that train it.

  Args:
    path: of the model.
    out: of the new file.

  Returns:
    Lines for the user: sizes, signatures, notes.
  """
  files.require_outputs({"out": out}, {"model": path})
  marked = marked_for(path)
  made = to_signatures(
    marked,
    export_flags.CAPACITY.value,
    float_ends=export_flags.IO.value == "float32",
    batch_size=setting_flags.batch_size(BATCH_SIZE),
    trains_head=export_flags.TRAINABLE.value != "prompt",
  )
  files.write_atomically(out, made.data)
  size = len(made.data)
  more = size - len(files.read_bytes(path))
  sign = "more" if more >= 0 else "fewer"
  return [
    *(f"mended: {note}" for note in marked.notes),
    f"{out}: {size:,} bytes, {abs(more):,} {sign} than {path}",
    *_memory(marked),
    *made.table,
  ]


def _memory(marked: MarkedModel) -> list[str]:
  """A line on what `train` takes, where the file has it."""
  if export_flags.TRAINABLE.value == "prompt":
    return []
  spec = head_spec(marked, export_flags.CAPACITY.value)
  megabytes = max(1, round(spec.training_bytes / 1e6))
  return [
    f"training takes about {megabytes} MB of memory; a lower --capacity takes "
    "less"
  ]
