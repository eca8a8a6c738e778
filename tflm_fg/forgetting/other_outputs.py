"""Watch the outputs that are not trained: how far they move on samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.choice.outputs import described, meant_output
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import up_to
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.metrics import BATCH, run_all
from tflm_fg.types import Array


def moved(
  before: ModelFile, after: ModelFile, x: Array, runtime: str
) -> list[dict[str, Any]]:
  """How far training has moved the outputs that it did not look at.

  Args:
    before: the file as it came.
    after: the adapted file, with as many outputs.
    x: samples [N, ...] on the input's grid; at most 256 of them are run, evenly
      spread.
    runtime: one of `runtimes.NAMES`.

  Returns:
    A row for each other output, JSON-ready: index, name, signature's name,
    shape and dtype; "mean" and "largest", of the distances between the numbers
    before and after, in the output's units; "range", of the numbers before;
    and "other_answers", the share of rows whose largest number is another
    (None where there is one number). Empty for a file of one output.
  """
  meant = meant_output(before.subgraph, before.name).position
  rows = [r for r in described(before.subgraph) if r["index"] != meant]
  if not rows:
    return []
  chosen = np.linspace(0, len(x) - 1, min(BATCH, len(x))).astype(np.int64)
  places = [row["index"] for row in rows]
  some, others = (
    _outputs(file, places, x[chosen], runtime) for file in (before, after)
  )
  return [{**row, **_distance(*ends)} for row, *ends in zip(rows, some, others)]


def _outputs(
  file: ModelFile, places: list[int], x: Array, runtime: str
) -> list[NDArray[np.float64]]:
  """Some outputs of the samples, in real numbers."""
  indices = [file.subgraph.outputs[place] for place in places]
  found = run_all(open_session(runtime, up_to(file, indices)), (x,))
  specs = [tensor_spec(file, index) for index in indices]
  return [
    (values.astype(np.float64) - spec.zero_point) * (spec.scale or 1.0)
    for values, spec in zip(found, specs)
  ]


def _distance(
  before: NDArray[np.float64], after: NDArray[np.float64]
) -> dict[str, Any]:
  away = np.abs(after - before)
  some, others = (a.reshape(-1, a.shape[-1]) for a in (before, after))
  other = some.argmax(axis=1) != others.argmax(axis=1)
  return {
    "mean": float(away.mean()),
    "largest": float(away.max()),
    "range": float(before.max() - before.min()),
    "other_answers": float(other.mean()) if some.shape[1] > 1 else None,
  }


def in_words(row: dict[str, Any]) -> str:
  """One line about an output that was watched, for people."""
  title = f"output {row['index']} {row['name']!r}, which was not trained,"
  if not row["largest"]:
    return f"{title} did not move"
  answers = ""
  if row["other_answers"] is not None:
    answers = f", and {row['other_answers']:.1%} of its answers changed"
  return (
    f"{title} moved by {row['mean']:.3g} on the mean and {row['largest']:.3g} "
    f"at most, of a range of {row['range']:.3g}{answers}"
  )
