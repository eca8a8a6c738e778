"""Check a user's samples against the model, and keep a share of them aside."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np

from tflm_fg.forgetting.coverage import Coverage
from tflm_fg.gradients.method import Method
from tflm_fg.placement.request import TrainingData
from tflm_fg.samples.arrays import Dataset, array_of
from tflm_fg.samples.inputs import model_input, saturation
from tflm_fg.samples.signal import doubts_of, examine, levels
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.contents.class_names import class_names
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import (
  input_spec,
)
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.training.data import hold_out
from tflm_fg.training.file_scores import Counts
from tflm_fg.training.objective import (
  CLASSES,
  Objective,
  Task,
  bend_of,
  checked,
  spec_for,
  task_of,
  width,
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
    replayed: how many of the last targets are of samples of before.
    at_head: those samples, where they are what the last layer reads; else they
      are the last of x.
    doubts: what the user should know of the samples; each was warned of.
    remarks: what is worth a note.
    coverage: which classes are shown, where others are to be kept.
  """

  x: Array
  y: Array | None
  task: Task
  scored: Task
  input: TensorSpec
  output: TensorSpec
  behind: str
  replayed: int = 0
  at_head: Array | None = None
  doubts: tuple[str, ...] = ()
  remarks: tuple[str, ...] = ()
  coverage: Coverage | None = None

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
    mark = read_mark(model)
    names = mark.classes if mark is not None else None
    known = Objective()
    scored = task if task.labelled else task_of(known, y, logits, behind)
    on_grid, targets = checked(Dataset(x, y), inputs, output, "train", scored)
    whole = cls(on_grid, targets, task, scored, inputs, output, behind)
    return whole.examined(x, names or ())

  def examined(self, x: Array, names: Sequence[str] = ()) -> CheckedSamples:
    """The samples that can be learned from, with what is said of the others.

    Args:
      x: as the user gave them, whose numbers tell units apart.
      names: of the classes in order, where the file has some.

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
      names=names,
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

  def others(self, test: tuple[Array, Array]) -> tuple[Array, Array]:
    """Other samples and their targets, checked likewise."""
    x, y = (array_of(a, f"test {n}") for a, n in zip(test, "xy"))
    part = Dataset(x, y)
    return checked(part, self.input, self.output, "test", self.for_others(y))

  def with_replay(self, x: Array, y: Array, at_head: bool) -> CheckedSamples:
    """These samples and behind them those of before, to be learned from too.

    Args:
      x: [N, ...] on the grid of the model's input, or of what its last layer
        reads.
      y: their targets, checked.
      at_head: whether x is what the last layer reads.

    Raises:
      TflmFgError: where nothing is learned from y.
    """
    if not self.task.labelled or self.y is None:
      raise TflmFgError(
        "replay: samples of before are learned from by their y, and here no y "
        "is learned from; give y for all samples, or old_data in its place, "
        "which is only scored"
      )
    joined = dataclasses.replace(
      self, y=np.concatenate([self.y, y]), replayed=len(y)
    )
    if at_head:
      return dataclasses.replace(joined, at_head=x)
    return dataclasses.replace(joined, x=np.concatenate([self.x, x]))

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

  def class_counts(self) -> Counts:
    """Of each class, new samples and those of before, as `Counts` has them."""
    count = width(self.output)
    if self.y is None or self.scored.targets != CLASSES:
      return [(None, 0)] * count
    new = len(self.y) - self.replayed
    parts = (self.y[:new], self.y[new:])
    mine, again = (np.bincount(y, minlength=count).tolist() for y in parts)
    return list(zip(mine, again, strict=True))

  def training_data(self, method: Method, fraction: float) -> TrainingData:
    """The samples, with a share kept aside."""
    if method.validation_fraction is not None:
      fraction = method.validation_fraction
    labels: Array = np.full(len(self.x), -1, np.int64)
    if self.task.labelled and self.y is not None:
      labels = self.y
    own, more = labels[: len(self.x)], np.arange(len(self.x), len(labels))
    fit, kept = hold_out(self.task.strata(own), fraction, method.seed)
    fit = np.concatenate([fit, more])
    return TrainingData(
      self.x,
      labels,
      fit,
      kept,
      self.task,
      at_head=self.at_head,
      coverage=self.coverage,
    )

  def keeping(self, model: ModelFile) -> CheckedSamples:
    """The same samples, from which classes that they lack are kept.

    Args:
      model: the file; it may say what its classes are called.
    """
    classes = width(self.output)
    if self.y is None or not self.task.is_exact or classes < 2:
      return self
    if self.task.targets != CLASSES or not self.task.is_probabilistic:
      return self
    # What is replayed of a class does not say how it comes now.
    new = self.y[: len(self.y) - self.replayed]
    coverage = Coverage.of(new, class_names(model, classes))
    if self.replayed:
      coverage = coverage._replace(what="new samples")
    return dataclasses.replace(
      self, coverage=None if coverage.is_whole else coverage
    )


def _telling(x: Array, on_grid: Array) -> Array:
  """The samples in the numbers that tell their units: floats as they came."""
  return x if x.dtype.kind == "f" else on_grid


def _said_of_units(x: Array, spec: TensorSpec, name: str) -> tuple[str, ...]:
  """What `model_input` warned of."""
  if x.dtype.kind != "f":
    return ()
  return tuple(filter(None, [saturation(x, spec, name)]))
