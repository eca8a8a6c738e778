"""Write what belongs together, and say of which file a report tells."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tflm_fg import files
from tflm_fg.callbacks import StopOnInterrupt


def save(
  stop: StopOnInterrupt,
  contents: Mapping[str | None, bytes],
  folders: Sequence[str | None] = (),
) -> None:
  """Writes files that belong together: all of them, or none.

  No signal comes between them.

  Args:
    stop: what waits for signals.
    contents: path -> bytes, what they tell of last; nothing is written for
      None.
    folders: that are made if they are not there; None for none.
  """
  with stop.deferred(firmly=True):
    files.write_set(
      {path: content for path, content in contents.items() if path is not None},
      [folder for folder in folders if folder is not None],
    )


def telling_of(report: Mapping[str, Any], written: bytes) -> dict[str, Any]:
  """A report with the SHA-256 of the file that it tells of, as `out_sha256`.

  Where a report and a model lie side by side, it says whether they belong
  together.
  """
  return {**report, "out_sha256": hashlib.sha256(written).hexdigest()}


def note_unfinished(path: str) -> None:
  """Says where a killed program has not put its new file in the place of one.

  Args:
    path: of the file.
  """
  real = os.path.realpath(path)
  if real in files.unfinished(os.path.dirname(real)):
    print(
      f"note: {path} is the old file: a program that was killed had written a "
      "new one, which the next that writes to its folder puts here"
    )


def in_folder(holder: Any, *names: str) -> dict[str, str]:
  """Files of a flag's folder, as `values` has files of flags."""
  if not holder.value:
    return {}
  return {
    f"{holder.name} ({name})": os.path.join(holder.value, name)
    for name in names
  }
