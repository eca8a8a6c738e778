"""Results come in one by one; an output folder holds all of them, always whole.

runs.csv      a row a run, which is also where a stopped command goes on
tables.md     means, intervals, verdicts
*.png, *.csv  curves, surfaces, cosines, memory
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from apps.compare.analyses import cosines
from apps.compare.data.registry import Own, fingerprint
from apps.compare.grid import Cell
from apps.compare.jobs import Files, Job, Picture
from apps.compare.methods import learning_rates
from apps.compare.results import curves, tables
from apps.compare.results.rows import (
  Measured,
  Row,
  read_csv,
  to_csv,
  versions_text,
)
from tflm_fg import files


class Folder:
  """What a command has found so far.

  Attributes:
    rows: finished runs.
    count: of all jobs.
  """

  def __init__(
    self,
    path: str,
    cells: Sequence[Cell],
    pictures: Sequence[Picture],
    own: Own,
  ) -> None:
    """Takes up what an earlier command left.

    Raises:
      TflmFgError: if that was another grid, or of other data or version.
    """
    self._path, self._cells, self._pictures = path, cells, pictures
    self._csv = os.path.join(path, "runs.csv")
    self._data = functools.cache(functools.partial(fingerprint, own=own))
    self.rows = read_csv(self._csv, cells, self._data)
    self.count = len(cells) + len(pictures)

  def unfinished(self) -> list[Job]:
    """What is still to be done."""
    return [
      *(cell for cell in self._cells if cell not in self.rows),
      *(p for p in self._pictures if not all(map(self._has, p.files))),
    ]

  def _has(self, name: str) -> bool:
    return os.path.exists(os.path.join(self._path, name))

  def take(self, job: Job, found: Measured | Files) -> None:
    """Keeps a result, on disk."""
    if isinstance(job, Cell):
      assert isinstance(found, Measured)
      self.rows[job] = found
      content = to_csv(self.rows, self._cells, self._data)
      files.write_atomically(self._csv, content)
    else:
      assert isinstance(found, dict)
      for name, content in found.items():
        self._write(name, content)

  def _write(self, name: str, content: bytes) -> None:
    files.write_atomically(os.path.join(self._path, name), content)

  def run_candidate(self, command: str, seconds: float) -> str:
    """Writes tables and curves; gives the tables."""
    done = (cell for cell in self._cells if cell in self.rows)
    rows = [Row(cell, self.rows[cell]) for cell in done]
    for name, draw in _CURVES.items():
      if (drawn := draw(rows)) is not None:
        self._write(name, drawn)
    text = "\n\n".join(
      part
      for part in (
        self._head(command, seconds),
        tables.markdown(rows),
        self._cosines(),
        self._memory(),
      )
      if part
    )
    self._write("tables.md", f"{text}\n".encode())
    return text

  def _head(self, command: str, seconds: float) -> str:
    seeds = sorted({cell.seed for cell in self._cells})
    told = ", ".join(map(str, seeds)) or "0"
    work = sum(found.seconds for found in self.rows.values())
    return (
      f"# Forward gradients compared\n\n    {command}\n\n"
      f"{versions_text()}. Seeds {told}. {len(self.rows)} of "
      f"{len(self._cells)} runs; this "
      f"command took {seconds / 60:.1f} minutes, training alone "
      f"{work / 60:.1f} minutes of a core in all.\n\nAccuracy in percent of "
      "the test samples, mean ± half of the 95 % interval (Student's t over "
      "seeds, or over domains where a row has several); differences in "
      "points. A pass is a run of one batch; "
      "backpropagation takes a step for each. Learning rates of both are "
      "chosen on a quarter of the training samples, and what that takes is in "
      f"no budget: {learning_rates.cost()}. Float forward gradients take the "
      "rate that 16w8a chose."
    )

  def _cosines(self) -> str:
    if not self._has("cosines.csv"):
      return ""
    content = files.read_bytes(os.path.join(self._path, "cosines.csv"))
    title = "## Cosine with the true gradient\n\n"
    return title + cosines.markdown(content)

  def _memory(self) -> str:
    if not self._has("memory.md"):
      return ""
    content = files.read_bytes(os.path.join(self._path, "memory.md"))
    return f"## Memory\n\n{content.decode().strip()}"


_CURVES = {
  "accuracy.png": curves.by_method,
  "precision.png": curves.by_precision,
  "enhancements.png": curves.by_variant,
}
