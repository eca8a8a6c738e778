"""Open the checkpoint of a program, and say what it holds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping

from tflm_fg.callbacks import Callback, Logs
from tflm_fg.checkpoint import NOTHING_KEPT, Checkpoint, Memo


class CheckpointNote(Callback):
  """Says on stderr what a checkpoint holds that is gone on with."""

  def on_checkpoint(self, logs: Logs) -> None:
    """Says it before any work."""
    folder, torn = logs["folder"], logs["cut_bytes"]
    if torn:
      self._say(
        f"{folder}: the last {torn} bytes are no whole record, as a kill "
        "leaves them; they were cut off, and what they held is done again"
      )
    if logs["state"] == "continued":
      self._say(f"{folder}: goes on behind {logs['pieces']} finished pieces")
    if logs["state"] == "finished":
      self._say(
        f"{folder}: all was done before; the result is made from there, and "
        "only scored anew"
      )

  @staticmethod
  def _say(text: str) -> None:
    print(f"checkpoint {text}", file=sys.stderr)


@contextlib.contextmanager
def opened(
  folder: str | None, belongs_to: Callable[[], Mapping[str, str]]
) -> Iterator[Memo]:
  """A checkpoint while it is worked with; one that keeps nothing without.

  Args:
    folder: its path; None for none.
    belongs_to: says what the work depends on, by a name that a user knows.

  Raises:
    TflmFgError: if it belongs to other work, or cannot be used.
  """
  if folder is None:
    yield NOTHING_KEPT
    return
  with Checkpoint(folder, belongs_to()) as checkpoint:
    CheckpointNote().on_checkpoint(checkpoint.told())
    yield checkpoint
