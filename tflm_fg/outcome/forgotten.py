"""Say how samples of before are answered, now that a file has been adapted."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import dequantize, quantize
from tflm_fg.forgetting.coverage import thin_classes
from tflm_fg.forgetting.imagined import imagine
from tflm_fg.forgetting.mixture import real_head
from tflm_fg.gradients.dense_passes import DenseLayer, dense_layer
from tflm_fg.placement.checked_samples import CheckedSamples
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples.arrays import Dataset, array_of
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel, mark_file
from tflm_fg.tflite.split_graph import cut
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
from tflm_fg.training.metrics import Score, logits_of, score
from tflm_fg.training.objective import CLASSES, Task, checked
from tflm_fg.types import Array, Int64, NotApplicable, TensorSpec, TflmFgError

IMAGINED, MOST_RUN = 100, 1000
"""Inputs that are imagined of a class, and samples that are run for them."""


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
  counts = samples.class_counts()
  names = names_of(came, len(counts))
  rows = class_rows(old.y, before, after, names, counts)
  return {
    "measured_on": told,
    **both(before.score, after.score, True),
    "classes": rows,
  }


def estimate(
  start: ModelFile,
  adapted: ModelFile,
  samples: CheckedSamples,
  options: RuntimeOptions,
  seed: int,
) -> dict[str, Any] | None:
  """How classes without samples fare, as far as a head itself can say.

  Inputs of the head are imagined that it took for such a class when training
  began, others than those that it trained beside. What was put in front of it
  changes them all alike, and is not judged.

  Args:
    start: the file that training began with, with all that was added to it.
    adapted: what was made of it.
    samples: the user's samples.
    options: the engine.
    seed: of the run.

  Returns:
    A report's `forgetting`; None where every class has samples, and where a
    head cannot be read or has learned nothing.
  """
  if samples.y is None or samples.scored.targets != CLASSES:
    return None
  counts = samples.class_counts()
  thin = thin_classes(np.array([(mine or 0) + again for mine, again in counts]))
  if not thin:
    return None
  with contextlib.suppress(NotApplicable):
    heads = [_Head.of(file) for file in (start, adapted)]
    if not heads[0].layer.kernel.any():
      return None
    spec = heads[0].layer.inputs
    count = min(MOST_RUN, len(samples.x))
    graph = SplitModel(*heads[1].marked[:2], options)
    read = graph.features(samples.x[:count])[0].reshape(count, -1)
    made, labels = imagine(
      real_head(heads[0].layer),
      dequantize(read, spec.scale, spec.zero_point),
      samples.y[:count].astype(np.int64),
      thin,
      IMAGINED,
      seed + 1,
    )
    steps = quantize(made, spec.scale, spec.zero_point, spec.dtype)
    return _of_imagined(
      [head.right(steps, labels) for head in heads], labels, samples, start
    )
  return None


class _Head(NamedTuple):
  """The last layer of a file."""

  marked: MarkedModel
  layer: DenseLayer

  @classmethod
  def of(cls, file: ModelFile) -> _Head:
    """Reads it.

    Raises:
      NotApplicable: if it is no dense layer on one vector.
    """
    marked = mark_file(stripped(file), "head")
    part = cut(marked.file, marked.mark).suffix
    return cls(marked, dense_layer(part, marked.mark.trainable))

  def right(self, x: Array, labels: Int64) -> NDArray[np.bool_]:
    """Which inputs [N, D] are taken for their classes."""
    steps = x.astype(np.float64) - self.layer.inputs.zero_point
    return np.asarray(self.layer.logits(steps, ()).argmax(axis=1) == labels)


def _of_imagined(
  right: Sequence[NDArray[np.bool_]],
  labels: Int64,
  samples: CheckedSamples,
  start: ModelFile,
) -> dict[str, Any] | None:
  """The fields of an estimate; None where nothing could be imagined."""
  if not len(labels):
    return None
  nothing = Score(0.0, None, 0, 0, 0, len(labels))
  before, after = (Scored(nothing, own) for own in right)
  counts = samples.class_counts()
  return {
    "measured_on": "estimate",
    "how": "imagined inputs of the last layer",
    "scored_samples": len(labels),
    "accuracy_before": float(right[0].mean()),
    "accuracy_after": float(right[1].mean()),
    "mae_before": None,
    "mae_after": None,
    "loss_before": None,
    "loss_after": None,
    "classes": class_rows(
      labels, before, after, names_of(start, len(counts)), counts
    ),
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
