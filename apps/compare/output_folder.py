"""Keep the results of a command in a folder, as they are found.

runs.csv      a row a run, which is also where a stopped command goes on
tables.md     means, intervals, verdicts
*.png, *.csv  curves, surfaces, cosines, memory, adaptations, timings
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence

from apps.compare import forward_only
from apps.compare.analyses import cosines
from apps.compare.analyses.accuracy import Accuracy
from apps.compare.analyses.speed import Growth, Speed
from apps.compare.data.registry import UserData, fingerprint
from apps.compare.forward_only import FromScratch
from apps.compare.grid import Cell
from apps.compare.jobs import Analysis, Files, Job
from apps.compare.methods import learning_rates
from apps.compare.results import (
  accuracy_tables,
  analysis_rows,
  bars,
  curves,
  speed_tables,
  tables,
)
from apps.compare.results.analysis_rows import (
  Adaptation,
  AnalysisRow,
  Timing,
)
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
    analyses: Sequence[Analysis],
    user_data: UserData,
  ) -> None:
    """Takes up what an earlier command left.

    Raises:
      TflmFgError: if that was another grid, or of other data or version.
    """
    self._path, self._cells, self._analyses = path, cells, analyses
    self._csv = os.path.join(path, "runs.csv")
    self._data = functools.cache(
      functools.partial(fingerprint, user_data=user_data)
    )
    self.rows = read_csv(self._csv, cells, self._data)
    self.count = len(cells) + len(analyses)
    for analysis in analyses:
      if isinstance(analysis, Accuracy | FromScratch) and self._has(
        analysis.files[0]
      ):
        made_with = analysis.made_with(user_data)
        analysis_rows.require_same(self._in(analysis.files[0]), made_with)

  def unfinished(self) -> list[Job]:
    """What is still to be done."""
    return [
      *(cell for cell in self._cells if cell not in self.rows),
      *(a for a in self._analyses if not all(map(self._has, a.files))),
    ]

  def _in(self, name: str) -> str:
    return os.path.join(self._path, name)

  def _has(self, name: str) -> bool:
    return os.path.exists(self._in(name))

  def take(self, job: Job, found: Measured | Files) -> None:
    """Keeps a result, on disk."""
    if isinstance(job, Cell):
      assert isinstance(found, Measured)
      self.rows[job] = found
      content = to_csv(self.rows, self._cells, self._data)
      files.write_atomically(self._csv, content)
    else:
      assert isinstance(found, dict)
      self._write(found)

  def _write(self, contents: Mapping[str, bytes]) -> None:
    files.write_set({self._in(n): content for n, content in contents.items()})

  def finish(self, command: str, seconds: float) -> str:
    """Writes tables and curves, and returns the tables."""
    done = (cell for cell in self._cells if cell in self.rows)
    rows = [Row(cell, self.rows[cell]) for cell in done]
    drawn = {name: draw(rows) for name, draw in _CURVES.items()}
    contents = {n: picture for n, picture in drawn.items() if picture}
    found = self._analysis_rows()
    if found:
      contents["rows.csv"] = analysis_rows.to_csv(found)
      contents["rows.png"] = bars.draw(found)
    scratch = self._from_scratch()
    if scratch:
      contents["scratch.csv"] = forward_only.to_csv(scratch)
    text = "\n\n".join(
      part
      for part in (
        self._head(command, seconds),
        tables.markdown(rows),
        analysis_tables(found),
        forward_only.markdown(scratch),
        self._cosines(),
        self._memory(),
      )
      if part
    )
    self._write({**contents, "tables.md": f"{text}\n".encode()})
    return text

  def _head(self, command: str, seconds: float) -> str:
    seeds = sorted({cell.seed for cell in self._cells})
    if not self._cells:
      return (
        f"# Forward gradients compared\n\n    {command}\n\n"
        f"{versions_text()}. This command took {seconds / 60:.1f} minutes."
      )
    seeds_text = ", ".join(map(str, seeds))
    work = sum(found.seconds for found in self.rows.values())
    return (
      f"# Forward gradients compared\n\n    {command}\n\n"
      f"{versions_text()}. Seeds {seeds_text}. {len(self.rows)} of "
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

  def _analysis_rows(self) -> list[AnalysisRow]:
    """Adaptations and timings of this command, in its order."""
    names = [
      name
      for analysis in self._analyses
      if isinstance(analysis, Accuracy | Speed | Growth)
      for name in analysis.files
      if self._has(name)
    ]
    return [r for n in names for r in analysis_rows.read_csv(self._in(n))]

  def _from_scratch(self) -> list[forward_only.Result]:
    """What this command trained from scratch, in its order."""
    names = [
      name
      for analysis in self._analyses
      if isinstance(analysis, FromScratch)
      for name in analysis.files
      if self._has(name)
    ]
    return [r for n in names for r in forward_only.read_csv(self._in(n))]

  def _cosines(self) -> str:
    if not self._has("cosines.csv"):
      return ""
    content = files.read_bytes(self._in("cosines.csv"))
    title = "## Cosine with the true gradient\n\n"
    return title + cosines.markdown(content)

  def _memory(self) -> str:
    if not self._has("memory.md"):
      return ""
    content = files.read_bytes(self._in("memory.md"))
    return f"## Memory\n\n{content.decode().strip()}"


def joined(paths: Sequence[str], folder: str) -> str:
  """Writes rows of several CSVs as one, and returns their tables.

  Args:
    paths: CSVs of adaptations and timings.
    folder: where rows.csv, rows.png and tables.md are written.

  Raises:
    TflmFgError: if one of them is not such a CSV.
  """
  rows = [row for path in paths for row in analysis_rows.read_csv(path)]
  text = analysis_tables(rows)
  contents = {
    "rows.csv": analysis_rows.to_csv(rows),
    "rows.png": bars.draw(rows),
    "tables.md": f"{text}\n".encode(),
  }
  files.write_set({os.path.join(folder, n): c for n, c in contents.items()})
  return text


def analysis_tables(rows: Sequence[AnalysisRow]) -> str:
  """Adaptations and timings as tables."""
  adaptations = [r for r in rows if isinstance(r, Adaptation)]
  timings = [r for r in rows if isinstance(r, Timing)]
  parts = [
    accuracy_tables.markdown(adaptations),
    speed_tables.markdown(timings),
  ]
  return "\n\n".join(part for part in parts if part)


_CURVES = {
  "accuracy.png": curves.by_method,
  "precision.png": curves.by_precision,
  "enhancements.png": curves.by_variant,
}
