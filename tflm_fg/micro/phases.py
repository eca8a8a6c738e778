"""The one phase that a device runs, from what a user asks for."""

from __future__ import annotations

import numpy as np

from tflm_fg.gradients.method import Method
from tflm_fg.micro.blob import make_blob
from tflm_fg.placement.run_plan import phases_of
from tflm_fg.tflite.select_trainable import MarkedModel
from tflm_fg.training.objective import (
  NATURAL,
  Objective,
  bend_of,
  output_spec,
  task_of,
  width,
)
from tflm_fg.types import TflmFgError


def phase_blob(
  marked: MarkedModel,
  method: Method,
  *,
  loss: str = "cross-entropy",
  labelled: bool = True,
) -> bytes:
  """The blob of the phase that trains a marked model on a device.

  Args:
    marked: the model and what trains in it.
    method: how; `methods.Auto()` for what suits what is marked.
    loss: "cross-entropy", which is binary in front of a LOGISTIC, or
      "binary-cross-entropy".
    labelled: whether the samples have labels.

  Raises:
    TflmFgError: if that takes several phases, or the trainer in C does not
      know a setting.
  """
  objective = Objective.of(loss, labels="given" if labelled else "none")
  phases = phases_of(marked, method, objective)
  if len(phases) != 1:
    raise TflmFgError(
      f"{marked.file.name}: what is marked trains in {len(phases)} phases, and "
      "a device runs one; choose --trainable=head or --trainable=prompt, or a "
      "--method"
    )
  spec = output_spec(marked.file, marked.mark)
  behind = bend_of(marked.file, marked.mark)
  alone = behind == "LOGISTIC" or loss == NATURAL[1]
  like = np.zeros((1, width(spec)) if alone else 1, np.int64)
  task = task_of(objective, like if labelled else None, spec, behind)
  return make_blob(marked.file, marked.mark, phases[0].method, task)
