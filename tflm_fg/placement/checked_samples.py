"""Check a user's samples against the model, and keep a share of them aside."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

from tflm_fg.gradients.method import Method
from tflm_fg.placement.phase import TrainingData
from tflm_fg.samples.arrays import Dataset, array_of
from tflm_fg.samples.inputs import model_input, saturation
from tflm_fg.samples.signal import doubts_of, examine, levels
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import (
  input_spec,
)
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.data import hold_out
from tflm_fg.training.objective import (
  Objective,
  Task,
  bend_of,
  checked,
  spec_for,
  task_of,
)
from tflm_fg.types import Array, TensorSpec, TflmFgError


@dataclasses.dataclass(frozen=True)
class CheckedSamples:
  """The user's samples, checked against the model.

  Attributes:
    x: on the input's grid.
    y: targets, real ones as they came; None where there are none.
    task: what is learned.
    scored: what reports score by; classes may be known and not looked at.
    input: the model's input.
    output: what the loss looks at.
    behind: the operator behind that, see `objective.bend_of`.
    replayed: how many of the last samples are of before.
    doubts: what the user should know of the samples; each was warned of.
    remarks: what is worth a note.
  """

  x: Array
  y: Array | None
  task: Task
  scored: Task
  input: TensorSpec
  output: TensorSpec
  behind: str
  replayed: int = 0
  doubts: tuple[str, ...] = ()
  remarks: tuple[str, ...] = ()

  @classmethod
  def of(
    cls,
    model: ModelFile,
    x: Array,
    y: Array | None,
    objective: Objective,
  ) -> CheckedSamples:
    """Checks them, and leaves out what cannot be learned from.

    Args:
      model: the file, marked or not.
      x: samples as the user gave them.
      y: targets as the user gave them; None for none.
      objective: what the user wants.

    Raises:
      TflmFgError: naming the array that does not fit, or if nothing can be
        learned from the samples.
    """
    x = array_of(x, "train x")
    y = None if y is None else array_of(y, "train y")
    plain = unmarked(model)
    inputs = input_spec(model)
    logits, behind = tensor_spec(model, plain.logits), bend_of(model, plain)
    task = task_of(objective, y, logits, behind)
    output = spec_for(task, model, plain, model.name)
    if y is None:
      if objective.labels == "given":
        raise TflmFgError(
          "train: holds no array 'y'; add it or use --labels=none"
        )
      on_grid = model_input(x, inputs, "train x")
      whole = cls(on_grid, None, task, task, inputs, output, behind)
      return whole.examined(x)
    known = Objective()
    scored = task if task.labelled else task_of(known, y, logits, behind)
    on_grid, targets = checked(Dataset(x, y), inputs, output, "train", scored)
    whole = cls(on_grid, targets, task, scored, inputs, output, behind)
    return whole.examined(x)

  def examined(self, x: Array) -> CheckedSamples:
    """The samples that can be learned from, with what is said of the others.

    Args:
      x: as the user gave them, whose numbers tell units apart.

    Raises:
      TflmFgError: if nothing can be learned from them.
    """
    told = _said_of_units(x, self.input, "train x")
    found = examine(
      _telling(x, self.x),
      self.input,
      "train",
      self.y if self.task.labelled else None,
      are_classes=self.task.answers,
    )
    for doubt in found.doubts:
      warnings.warn(doubt, stacklevel=5)
    doubts = (*told, *found.doubts)
    examined = dataclasses.replace(self, doubts=doubts, remarks=found.remarks)
    if len(found.kept) == len(self.x):
      return examined
    return dataclasses.replace(
      examined,
      x=self.x[found.kept],
      y=None if self.y is None else self.y[found.kept],
    )

  def for_others(self, y: Array) -> Task:
    """What samples with targets are scored by, whatever was learned from."""
    if self.task.labelled:
      return self.task
    return task_of(Objective(), y, self.output, self.behind)

  def others(
    self, given: tuple[Array, Array], name: str = "test"
  ) -> tuple[Array, Array]:
    """Other samples and their targets, checked likewise.

    Args:
      given: x [N, ...] and y as the user gave them.
      name: what to call them in errors.
    """
    x, y = (array_of(a, f"{name} {n}") for a, n in zip(given, "xy"))
    part = Dataset(x, y)
    return checked(part, self.input, self.output, name, self.for_others(y))

  def with_replay(self, given: tuple[Array, Array]) -> CheckedSamples:
    """These samples and behind them those of before, to be learned from too.

    Args:
      given: x [N, ...] and y as the user gave them.

    Raises:
      TflmFgError: naming the array that does not fit, or where nothing is
        learned from y.
    """
    if not self.task.labelled or self.y is None:
      raise TflmFgError(
        "replay: samples of before are learned from by their y, and here no y "
        "is learned from; give y for all samples, or old_data in its place, "
        "which is only scored"
      )
    x, y = self.others(given, "replay")
    return dataclasses.replace(
      self,
      x=np.concatenate([self.x, x]),
      y=np.concatenate([self.y, y]),
      replayed=len(y),
    )

  def beside(
    self, test: tuple[Array, Array], held_back: tuple[Array, Array]
  ) -> CheckedSamples:
    """The same, with what the user should know of samples that are scored.

    Args:
      test: as the user gave them.
      held_back: the same, checked.
    """
    x = array_of(test[0], "test x")
    given = _telling(x, held_back[0])
    found = (
      *levels(given, self.input, "test"),
      *doubts_of(held_back[0], self.input, "test", self.x),
    )
    for doubt in found:
      warnings.warn(doubt, stacklevel=4)
    told = _said_of_units(x, self.input, "test x")
    return dataclasses.replace(self, doubts=(*self.doubts, *told, *found))

  def training_data(self, method: Method, fraction: float) -> TrainingData:
    """The samples, with a share kept aside."""
    if method.validation_fraction is not None:
      fraction = method.validation_fraction
    labels: Array = np.full(len(self.x), -1, np.int64)
    if self.task.labelled and self.y is not None:
      labels = self.y
    fit, kept = hold_out(self.task.strata(labels), fraction, method.seed)
    return TrainingData(self.x, labels, fit, kept, self.task)


def _telling(x: Array, on_grid: Array) -> Array:
  """The samples in the numbers that tell their units: floats as they came."""
  return x if x.dtype.kind == "f" else on_grid


def _said_of_units(x: Array, spec: TensorSpec, name: str) -> tuple[str, ...]:
  """What `model_input` warned of."""
  if x.dtype.kind != "f":
    return ()
  return tuple(filter(None, [saturation(x, spec, name)]))
