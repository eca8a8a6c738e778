"""Find the loss of a task on the outputs of a file, and check its targets.

Real targets come onto the fine grid of `losses.squared_error` where a loss
looks at them: a file and its marked copy with finer weights have outputs of
different grids.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from tflm_fg.losses.base import Loss
from tflm_fg.losses.binary_cross_entropy import (
  BernoulliInformation,
  BinaryCrossEntropy,
)
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.losses.custom import BlackBox
from tflm_fg.losses.information_maximization import InformationMaximisation
from tflm_fg.losses.squared_error import Grid, SquaredError, huber
from tflm_fg.samples import targets
from tflm_fg.samples.arrays import Dataset
from tflm_fg.samples.inputs import model_input
from tflm_fg.tflite.choice.outputs import operators_between
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.surgery.signed_output import signed
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.task import (
  BINARY,
  CLASSES,
  CLASSIFY,
  LABELS,
  LOSSES,
  NATURAL,
  NOTHING,
  REALS,
  Objective,
  Task,
  task_of,
  width,
)
from tflm_fg.types import Array, Mark, TensorSpec, TflmFgError

__all__ = [
  "BINARY",
  "CLASSES",
  "CLASSIFY",
  "LABELS",
  "LOSSES",
  "NATURAL",
  "NOTHING",
  "REALS",
  "Objective",
  "Task",
  "task_of",
  "width",
]


MOST_OUTPUTS = 1 << 20
"""Classes or numbers of one output. A million take seconds and a megabyte a
sample; the largest vocabularies have a quarter of that."""


def output_spec(marked: Source, mark: Mark, name: str = "model") -> TensorSpec:
  """The tensor that a loss looks at: logits, or a regression's output.

  Args:
    marked: the file.
    mark: says which tensor it is.
    name: what to call the file in errors.

  Raises:
    TflmFgError: if it is not quantized, or not [1] or [1, C].
  """
  spec = signed(tensor_spec(marked, mark.logits))
  if spec.dtype not in ("int8", "int16") or spec.scale <= 0:
    raise TflmFgError(
      f"{name}: the logits are {spec.dtype}; need a model quantized to int8 or "
      "int16x8: convert with a representative dataset"
    )
  # [1], or [1, ..., C] with nothing but ones between.
  if spec.shape != (1,) and (
    len(spec.shape) < 2 or not 0 < width(spec) == spec.shape[-1]
  ):
    raise TflmFgError(
      f"{name}: the output has shape {list(spec.shape)}"
      + ", numbers at each of several positions" * (len(spec.shape) > 2)
      + "; need a classifier with [1, classes], or [1] or [1, numbers] for "
      "real targets: pool the positions, or choose another output"
    )
  if width(spec) > MOST_OUTPUTS:
    raise TflmFgError(
      f"{name}: the output has {width(spec)} numbers, need at most "
      f"{MOST_OUTPUTS}; choose another output"
    )
  return spec


def logits_spec(marked: Source, mark: Mark, name: str = "model") -> TensorSpec:
  """A classifier's logits.

  Raises:
    TflmFgError: if they are not quantized, or not [1, classes].
  """
  spec = output_spec(marked, mark, name)
  if width(spec) < 2:
    raise TflmFgError(
      f"{name}: the output has shape {list(spec.shape)}; for real y use "
      "--loss=mse or huber, for y 0 and 1 --loss=binary-cross-entropy"
    )
  return spec


def spec_for(task: Task, model: Source, mark: Mark, name: str) -> TensorSpec:
  """The tensor that a task's loss looks at, checked for the task.

  Raises:
    TflmFgError: if the model's output is not what the task is about.
  """
  behind = bend_of(model, mark)
  spec = output_spec(model, mark, name)
  if width(spec) < 2 and behind in ("SOFTMAX", "LOG_SOFTMAX"):
    raise TflmFgError(
      f"{name}: one number, shape {list(spec.shape)}, in front of a {behind}, "
      "which gives the same whatever that is; need [1, classes], or end the "
      "model in a sigmoid"
    )
  if task.targets != REALS and _is_embedding(model, mark):
    raise TflmFgError(
      f"{name}: ends in L2_NORMALIZATION, so its outputs are an embedding and "
      f"say no classes; give embeddings [N, {width(spec)}] as y with "
      "--loss=mse, or from Python a loss of your own"
    )
  if task.is_binary:
    return spec
  if task.targets != REALS:
    return logits_spec(model, mark, name)
  if behind and task.function is None:
    use = "y 0 and 1" if behind == "LOGISTIC" else "classes"
    raise TflmFgError(
      f"{name}: ends in {behind}, whose input training looks at; real targets "
      f"need a linear output: leave the loss out and give {use}"
    )
  return spec


def bend_of(model: Source, mark: Mark) -> str:
  """The operator behind the logits that bends them; empty for none."""
  graph = ModelFile.of(model).subgraph
  output = graph.outputs[mark.output or 0]
  behind = operators_between(graph, mark.logits, output)
  return next((name for name in reversed(behind) if name in _BENDING), "")


_BENDING = ("SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "ARG_MAX")


def _is_embedding(model: Source, mark: Mark) -> bool:
  """Whether what a loss looks at is a vector of length 1."""
  return any(
    op.name == "L2_NORMALIZATION" and mark.logits in op.outputs
    for op in ModelFile.of(model).subgraph.operators
  )


def grid_of(spec: TensorSpec) -> Grid:
  """The grid of a quantized output."""
  bits = 8 if spec.dtype == "int8" else 16
  return Grid(scale=spec.scale, zero_point=spec.zero_point, bits=bits)


def loss_of(spec: TensorSpec, task: Task = CLASSIFY) -> Loss:
  """A task's loss on outputs of this grid."""
  grid = grid_of(spec)
  if task.function is not None:
    return BlackBox(function=task.function, grid=grid)
  if task.is_binary:
    binary = BinaryCrossEntropy if task.labelled else BernoulliInformation
    return binary(grid=grid)
  if not task.labelled:
    return InformationMaximisation(spec.scale, grid.bits)
  if task.loss == "mse":
    return SquaredError(grid=grid)
  if task.loss == "huber":
    return huber(grid, task.huber_delta)
  return CrossEntropy(spec.scale, grid.bits)


def checked(
  part: Dataset,
  inputs: TensorSpec,
  output: TensorSpec,
  name: str,
  task: Task = CLASSIFY,
) -> tuple[Array, Array]:
  """Samples on the model's input grid, and targets that suit the task.

  Returns:
    [N, ...], and int64 [N] for classes, int64 [N, C] of 0 and 1, or float64
    [N, ...]; see `seen_by`.

  Raises:
    TflmFgError: naming the array that does not fit.
  """
  if part.y is None:
    raise TflmFgError(f"{name}: holds no array 'y'")
  x = model_input(part.x, inputs, f"{name} x")
  return x, _targets(part.y, len(x), output, f"{name} y", task)


def _targets(
  y: Array, samples: int, output: TensorSpec, name: str, task: Task
) -> Array:
  if task.targets == BINARY:
    return targets.binary_labels(y, samples, width(output), name)
  if task.targets != REALS:
    return targets.class_labels(y, samples, width(output), name)
  if task.function is not None:
    return targets.real_targets(y, samples, width(output), name, any_shape=True)
  real = targets.real_targets(y, samples, width(output), name)
  _require_near(real, grid_of(output), name)
  return real


def seen_by(spec: TensorSpec, targets: Array, task: Task) -> Array:
  """Checked targets as the loss on outputs of this grid has them."""
  if task.targets != REALS or task.function is not None:
    return targets
  return grid_of(spec).put(targets.astype(np.float64, copy=False))


def _require_near(y: NDArray[np.float64], grid: Grid, name: str) -> None:
  """Refuses targets in other units; says where some cannot be reached."""
  low, high = grid.ends
  reach = f"what the output can give ({low:.3g} to {high:.3g})"
  far = np.count_nonzero((y < low - grid.range) | (y > high + grid.range))
  if 2 * far > y.size:
    raise TflmFgError(
      f"{name}: {far / y.size:.0%} of the targets lie far beyond {reach}; give "
      "them in the units that the model was trained on"
    )
  if far:
    warnings.warn(
      f"{name}: {far} targets lie more than a whole range beyond {reach}; they "
      "count as lying there",
      stacklevel=4,
    )
  beyond = np.count_nonzero((y < low) | (y > high)) / y.size
  if beyond > _BEYOND_SHARE:
    warnings.warn(
      f"{name}: {beyond:.0%} of the targets lie beyond {reach}; are they in "
      "the units it was trained on?",
      stacklevel=4,
    )


_BEYOND_SHARE = 0.1
