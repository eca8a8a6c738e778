"""Score whole files on labelled clips."""

from __future__ import annotations

import time
from typing import Any

from tflm_fg import runtimes
from tflm_fg.base import Array, Int64
from tflm_fg.data import Dataset
from tflm_fg.flatbuffer_cut import whole
from tflm_fg.flatbuffer_mark import unmarked
from tflm_fg.flatbuffer_tensors import tensor_spec
from tflm_fg.graph import checked, logits_spec, loss_of
from tflm_fg.metrics import Score, logits_of, score
from tflm_fg.reports import versions


def evaluate_model(
  model: bytes,
  x: Array,
  y: Array,
  *,
  runtime: str = "litert",
  name: str = "model",
) -> dict[str, Any]:
  """Scores a .tflite on labelled clips.

  Args:
    model: an int8 or int16x8 .tflite, marked or not.
    x: clips [N, ...], as for `adapt`.
    y: classes, integers [N].
    runtime: one of `runtimes.NAMES`.
    name: what to call the model in errors.

  Returns:
    Accuracy, loss and cost; JSON-ready.

  Raises:
    TflmFgError: in one line, if anything does not fit.
  """
  mark = unmarked(model, name)
  part = whole(model, mark)
  logits = logits_spec(model, mark, name)
  inputs = tensor_spec(model, part.inputs[0])
  x, y = checked(Dataset(x, y), inputs, logits, "data")
  session = runtimes.open_session(runtime, part)
  began = time.perf_counter()
  result = score(logits_of(session, (x,)), y, loss_of(logits))
  return {
    "accuracy": result.accuracy,
    "loss": result.loss,
    "clips": len(y),
    "seconds": time.perf_counter() - began,
    "invoke_seconds": session.invoke_seconds,
    "forward_passes": session.forward_passes,
    "samples_run": session.samples_run,
    "model_bytes": len(model),
    "runtime": runtime,
    "versions": versions(),
  }


def score_file(model: bytes, runtime: str, clips: tuple[Array, Int64]) -> Score:
  """Scores a whole file on clips on its input's grid, in a new session.

  Args:
    model: a sound .tflite.
    runtime: one of `runtimes.NAMES`.
    clips: x [N, ...] and classes [N], both checked.
  """
  mark = unmarked(model)
  session = runtimes.open_session(runtime, whole(model, mark))
  logits = logits_of(session, (clips[0],))
  return score(logits, clips[1], loss_of(logits_spec(model, mark)))
