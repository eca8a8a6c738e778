"""The curves of training as a CSV file."""

from __future__ import annotations

import csv
import io

from tflm_fg.files import write_atomically
from tflm_fg.training.callbacks import Callback, Logs, State, measure


class CSVLogger(Callback):
  """Writes a row a validation to a CSV file when training ends."""

  def __init__(self, filename: str | None) -> None:
    """Makes it.

    Args:
      filename: the file; None to write none, and to ask for `content`.
    """
    self._filename = filename
    self._text = io.StringIO()
    self._writer = csv.writer(self._text)

  def on_test_end(self, state: State, logs: Logs) -> None:
    name, measured = measure(logs)
    known = {key: logs[key] for key in ("forward_passes", "val_loss")}
    row = {"step": state.step, **known, name: measured}
    if not self._text.tell():
      self._writer.writerow(row)
    self._writer.writerow(row.values())

  def on_train_end(self, state: State, logs: Logs) -> None:
    if self._filename is not None:
      write_atomically(self._filename, self.content())

  def content(self) -> bytes:
    """All rows so far, as the file has them."""
    return (self._text.getvalue() or _NO_ROWS).encode()


_NO_ROWS = "step,forward_passes,val_loss,val_accuracy\r\n"
