"""Say how samples of before are answered, now that a file has been adapted."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from tflm_fg.placement.checked_samples import CheckedSamples
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples.arrays import Dataset, array_of
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.tflite.training_metadata import stripped
from tflm_fg.training.file_scores import (
  Scored,
  both,
  class_rows,
  names_of,
  score_file,
  scored,
)
from tflm_fg.training.metrics import logits_of, score
from tflm_fg.training.objective import Task, checked
from tflm_fg.types import Array, NotApplicable, TensorSpec, TflmFgError


class OldSamples(NamedTuple):
  """Samples of before, checked.

  Attributes:
    x: [N, ...] on the grid of the model's input, or of what its last layer
      reads.
    y: targets.
    at_head: whether x is what the last layer reads.
  """

  x: Array
  y: Array
  at_head: bool = False


def old_samples(
  file: ModelFile,
  samples: CheckedSamples,
  given: tuple[Array, Array] | None,
  name: str,
  trainable: str | None,
) -> OldSamples | None:
  """Checks samples of before as the user's own.

  Args:
    file: the model.
    samples: the user's own.
    given: x and y as the user gave them; x [N, ...] as the model takes it or,
      which its shape tells, as the model's last layer does. None for none.
    name: what to call them in errors.
    trainable: what the user trains.

  Raises:
    TflmFgError: naming the array that does not fit.
  """
  if given is None:
    return None
  x, y = (array_of(a, f"{name} {n}") for a, n in zip(given, "xy"))
  shape = samples.input.shape[1:]
  head = None if x.shape[1:] == shape else _head_input(file)
  at_head = head is not None and x.shape[1:] == head.shape[1:]
  if at_head and trainable != "head":
    raise TflmFgError(
      f"{name} x: shape {list(x.shape[1:])} is what the last layer reads, and "
      "says nothing once the layers before it change; add trainable=head "
      f"(--trainable=head), or give samples of shape {list(shape)}"
    )
  spec = head if head is not None and at_head else samples.input
  task = samples.for_others(y)
  part = checked(Dataset(x, y), spec, samples.output, name, task)
  return OldSamples(*part, at_head)


def _head_input(file: ModelFile) -> TensorSpec | None:
  """What the last layer of a file reads; None where no such layer trains."""
  with contextlib.suppress(NotApplicable):
    marked = mark_file(stripped(file), "head")
    return tensor_spec(marked.file, marked.mark.head_input)
  return None


def forgetting(
  came: ModelFile,
  adapted: ModelFile,
  samples: CheckedSamples,
  old: OldSamples | None,
  options: RuntimeOptions,
) -> dict[str, Any] | None:
  """How samples of before are answered, by what came and what was made of it.

  Args:
    came: the user's file.
    adapted: what was made of it.
    samples: the user's samples; the last may be of before.
    old: samples of before that were not trained on; None for none.
    options: the engine.

  Returns:
    A report's `forgetting`; None where there are no samples of before.
  """
  told, count = "old_data", samples.replayed
  if old is None and count and samples.y is not None:
    told, x = "replay", samples.x[-count:]
    if samples.at_head is not None:
      x = samples.at_head
    old = OldSamples(x, samples.y[-count:], samples.at_head is not None)
  if old is None:
    return None
  task = samples.for_others(old.y)
  before, after = (
    _score_head(file, options, old, task)
    if old.at_head
    else score_file(file, options.runtime, old[:2], task)
    for file in (came, adapted)
  )
  rows = class_rows(
    old.y, before, after, names_of(came), samples.class_counts()
  )
  return {
    "measured_on": told,
    **both(before.score, after.score, True),
    "classes": rows,
  }


def _score_head(
  file: ModelFile, options: RuntimeOptions, old: OldSamples, task: Task
) -> Scored:
  """Scores the last layer alone on what it reads."""
  marked = mark_file(stripped(file), "head")
  graph = SplitModel(marked.file, marked.mark, options)
  logits = logits_of(graph.suffix, (old.x,))
  targets = graph.targets(old.y, task)
  own = score(logits, targets, graph.loss(task))
  return scored(own, logits, targets, task)
