"""Score whole files on samples with classes or real targets."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from tflm_fg.losses.base import LossFunction
from tflm_fg.marking import Model, opened
from tflm_fg.runtimes.agreement import agreement
from tflm_fg.runtimes.registry import open_session, versions
from tflm_fg.runtimes.trial import require_runs
from tflm_fg.samples.arrays import Dataset, array_of
from tflm_fg.samples.signal import doubts_of, levels
from tflm_fg.tflite.choice.outputs import choice_note, meant_output
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.inputs import refuse_foreign, spec_of
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.binary_scores import binary_scores
from tflm_fg.training.metrics import logits_of, score
from tflm_fg.training.objective import (
  Objective,
  Task,
  bend_of,
  checked,
  loss_of,
  seen_by,
  spec_for,
  task_of,
)
from tflm_fg.types import Array, TensorSpec, TflmFgError


def evaluate(
  model: Model,
  x: Array,
  y: Array,
  *,
  runtime: str = "litert",
  loss: str | LossFunction = "cross-entropy",
  huber_delta: float = 1.0,
  threshold: float = 0.0,
  output: str | int | None = None,
  input: str | int | None = None,
  name: str | None = None,
) -> dict[str, Any]:
  """Scores a .tflite on samples with classes or real targets.

  Args:
    model: the path or the bytes of an int8, int16x8 or legacy uint8 .tflite,
      marked or not.
    x: samples [N, ...], as for `adapt`.
    y: classes [N], [N, 1] or one-hot; 0 and 1, [N] or [N, C], for a model that
      ends in sigmoids; or real targets [N, C].
    runtime: one of `runtimes.NAMES`.
    loss: as for `adapt`.
    huber_delta: in the outputs' units.
    threshold: logits above it answer 1, where a model ends in sigmoids; 0 is a
      probability of one half.
    output: which of several outputs is scored, as for `mark_trainable`.
    input: which of several inputs takes the samples, as for `mark_trainable`.
    name: what to call the model in errors; by default its path.

  Returns:
    Accuracy or mean absolute error, loss and cost; for sigmoids also what
      `binary_scores` gives: precision, recall and AUC. JSON-ready.

  Raises:
    TflmFgError: in one line, if anything does not fit.
  """
  file = opened(model, name, output, input)
  refuse_foreign(file)
  mark = unmarked(file)
  part = whole(file, mark)
  logits = tensor_spec(file, mark.logits)
  x, y = array_of(x, "data x"), array_of(y, "data y")
  behind = bend_of(file, mark)
  task = task_of(Objective.of(loss, huber_delta), y, logits, behind)
  logits = spec_for(task, file, mark, file.name)
  given, spec = x, spec_of(file)
  x, targets = checked(Dataset(x, y), spec, logits, "data", task)
  telling = given if given.dtype.kind == "f" else x
  doubts = (*levels(telling, spec, "data"), *doubts_of(x, spec, "data"))
  for doubt in doubts:
    warnings.warn(doubt, stacklevel=2)
  require_runs(file, runtime)
  session = open_session(runtime, part)
  began = time.perf_counter()
  seen = seen_by(logits, targets, task)
  answers = logits_of(session, (x,))
  result = score(answers, seen, loss_of(logits, task))
  return {
    "accuracy": result.accuracy,
    "mae": result.mae,
    "loss": result.loss,
    "loss_name": task.title,
    **_more(task, answers, seen, logits, threshold),
    "output": meant_output(file.subgraph).position,
    "output_note": choice_note(file.subgraph),
    "data_notes": list(doubts),
    "samples": len(y),
    "clips": len(y),  # the name of before, for one version
    "seconds": time.perf_counter() - began,
    "invoke_seconds": session.invoke_seconds,
    "forward_passes": session.forward_passes,
    "samples_run": session.samples_run,
    "model_bytes": len(file.data),
    "runtime": runtime,
    "versions": versions(),
  }


def _more(
  task: Task, logits: Array, labels: Array, spec: TensorSpec, threshold: float
) -> dict[str, Any]:
  """Precision, recall and AUC where outputs each stand alone."""
  if task.is_binary:
    truth = labels.astype(np.int64)
    return binary_scores(logits, truth, spec.scale, spec.zero_point, threshold)
  if threshold:
    raise TflmFgError(
      f"threshold={threshold:g}: does nothing under loss {task.title!r}; it is "
      "for models that end in sigmoids, with y of 0 and 1"
    )
  return {}


def engine_agreement(model: Model, x: Array) -> list[dict[str, Any]]:
  """How far the installed engines are apart on a file, in output steps.

  Args:
    model: the path or the bytes of a .tflite, marked or not.
    x: samples [N, ...] on the input's grid; the first few are taken.

  Returns:
    For each engine its largest difference from LiteRT's reference kernels at
    the logits; JSON-ready, see `runtimes.agreement.Agreement`.
  """
  file = opened(model)
  return agreement(whole(file, unmarked(file)), x)
