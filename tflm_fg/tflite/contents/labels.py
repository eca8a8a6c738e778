"""Read the lists of names that other tools pack behind a file.

The TensorFlow Lite metadata library appends a zip archive with text files, of
which one has a line for each output, `labels.txt` mostly. They are carried
over as they are; where outputs were added, a user is told that they fit no
more.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from tflm_fg.tflite import outside
from tflm_fg.tflite.model_file import ModelFile

DESCRIPTION = b"TFLITE_METADATA"
"""The metadata entry that describes inputs, outputs and packed files."""

MOST_BYTES = 1 << 20
"""No list of names is longer; what an archive unpacks to may have any size."""


def packed_lists(file: ModelFile) -> dict[str, tuple[str, ...]]:
  """The text files in the archive behind a file, by name, as their lines.

  Args:
    file: a .tflite, marked or not.

  Returns:
    Lines without spaces around them, empty ones left out; no files where there
    is no archive, or none that can be read.
  """
  found = {}
  try:
    with zipfile.ZipFile(io.BytesIO(file.tail)) as archive:
      for entry in archive.infolist():
        named = entry.filename.lower().endswith(".txt")
        if named and entry.file_size <= MOST_BYTES:
          text = archive.read(entry).decode("utf-8-sig", "replace")
          lines = (line.strip() for line in text.splitlines())
          found[entry.filename] = tuple(line for line in lines if line)
  except Exception:  # mostly there is none; a damaged one names nothing
    return {}
  return found


def unnamed_note(
  file: ModelFile, outputs: int, classes: Sequence[str]
) -> list[str]:
  """Says which new classes a packed list of names does not have.

  Args:
    file: the file, with the archive that it came with.
    outputs: how many outputs it had when it came.
    classes: names of the outputs that it has now.

  Returns:
    A note for each list of one line an output; none where there is nothing to
    say.
  """
  notes = []
  for name, lines in packed_lists(file).items():
    known = {line.lower() for line in lines}
    missing = [c for c in classes if c.lower() not in known]
    if len(lines) == outputs and missing:
      notes.append(
        f"{name}, packed behind the model, has {len(lines)} names and none for "
        f"{', '.join(missing)}; it is carried over as it was, so a program "
        "that reads it must be told of them"
      )
  return notes


def carried_note(file: ModelFile) -> str:
  """Says what a converted file has of a float one; empty if it has nothing.

  Args:
    file: the integer file.
  """
  carried = sorted(packed_lists(file))
  if DESCRIPTION in {name for name, _ in file.metadata}:
    carried.append("the TFLite metadata")
  if not carried:
    return ""
  return (
    f"{', '.join(carried)} came over from the float file as written for "
    "it: what they say of floats in and out is not true of integers"
  )


def with_tail_of(data: bytes, came: ModelFile) -> bytes:
  """A file that was made of another one, with what stood behind that one.

  Args:
    data: the file, with nothing behind it.
    came: the file that it was made of.
  """
  return outside.with_tail(data, came.tail)
