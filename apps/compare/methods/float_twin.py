"""Run forward gradients on the float32 twin: the same steps without rounding.

The reference that integer training is held against: the same addressed
directions, batches, perturbation and learning rate, in the same units (int8
steps of each tensor, output steps of a bias), but in floats throughout.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.compare.cell_settings import settings_of
from apps.compare.data.episodes import Episode, Part
from apps.compare.grid import Cell
from apps.compare.methods import learning_rates
from apps.compare.methods.integer import description, marked_of, tuner_of
from apps.compare.methods.scoring import NUM_SCORES
from apps.compare.results.rows import Measured
from converters.to_float import to_float
from tflm_fg.fixed_point import Layout, along_channels, dequantize
from tflm_fg.gradients import Directions
from tflm_fg.methods import Method
from tflm_fg.optimizers import Schedule, schedule
from tflm_fg.placement import SplitModel, masters_of
from tflm_fg.runtimes import (
  RuntimeOptions,
  Session,
  open_session,
  require_visible,
)
from tflm_fg.samples import Dataset, model_input
from tflm_fg.tflite import (
  Cut,
  MarkedModel,
  Patchable,
  cut,
  present_mark,
  tensor_spec,
)
from tflm_fg.training import Batches, BatchPasses, run_all, tuned
from tflm_fg.types import Array, Samples, TflmFgError

Floats = NDArray[np.float64]


class TestScore(NamedTuple):
  """How the test samples fared after so many passes of a batch."""

  passes: int
  loss: float
  accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatRun:
  """What a run leaves behind.

  Attributes:
    model: the trained float32 .tflite.
    scores: before the first step, every `validate_every` steps, at the end.
    settings: with what was measured filled in.
  """

  model: bytes
  scores: tuple[TestScore, ...]
  settings: Method


def float_gradients(
  model: bytes,
  settings: Method,
  train: Part,
  test: Part,
  trainable: str | None = None,
  strategy: str = "in-place",
) -> FloatRun:
  """Trains the twin of an integer model by forward gradients in floats.

  Args:
    model: an int8 or int16x8 .tflite, marked or not.
    settings: method (sign-m-spsa or spsa), steps, decay, momentum, seed. What
      is None is measured on the integer model, as `tflm_fg.adapt` does.
    train: samples to learn from.
    test: samples that are only scored.
    trainable: as for `mark_trainable`; None takes the file's mark, or "head".
    strategy: "in-place", or "rebuild" for XNNPACK's kernels, which are twice
      as fast where convolutions train.

  Raises:
    TflmFgError: if a setting has no counterpart here, or the file has no float
      twin.
  """
  _require_plain(settings)
  marked = present_mark(model, trainable, "model")
  settings = _filled(marked, settings, train)
  twin = Twin.of(marked, strategy)
  samples, held_back = twin.samples(train), twin.samples(test)
  batches = Batches(len(samples), settings.batch_size, settings.seed)
  float_steps = FloatSteps.of(twin, settings)
  weights, velocity = twin.start, np.zeros_like(twin.start)
  scores = [twin.score(weights, held_back, 0)]
  for step in range(settings.steps):
    batch = samples.take(batches.at(step))
    gradient = float_steps.gradient(weights, batch, step)
    velocity = settings.momentum * velocity - float_steps.rate(step) * gradient
    weights = weights + velocity * twin.steps
    done = step + 1
    if done % settings.validate_every == 0 or done == settings.steps:
      passes = 2 * settings.num_directions * done
      scores.append(twin.score(weights, held_back, passes))
  return FloatRun(
    model=twin.file(weights), scores=tuple(scores), settings=settings
  )


_METHODS = ("sign-m-spsa", "spsa")

_NOT_HERE = (
  "anchor", "optimizer", "guidance", "kernel_wise", "sparsity",
  "blocks", "rounding", "precision",
)  # fmt: skip
"""Settings that change what a step is, and that the reference has not."""

_ELSEWHERE = {
  "patience": (0,),
  "validation_fraction": (0.0, Method.defaults["validation_fraction"]),
}
"""What stops or chooses, with what means that nothing does."""


def _require_plain(settings: Method) -> None:
  if settings.name not in _METHODS:
    raise TflmFgError(
      f"method {settings.name!r} has no float reference; choose one of "
      f"{', '.join(_METHODS)}"
    )
  known = {
    field.name: (field.default,)
    for field in dataclasses.fields(settings)
    if field.name in _NOT_HERE
  }
  for name, values in {**known, **_ELSEWHERE}.items():
    value = getattr(settings, name)
    if value not in values:
      raise TflmFgError(
        f"{name}={value} has no float reference; leave it as it is"
      )


def _filled(marked: MarkedModel, settings: Method, train: Part) -> Method:
  """The method without a None, measured on the integer model's first batch."""
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions(workers=1))
  if settings.batch_size is None:
    settings = dataclasses.replace(settings, batch_size=graph.batch_size)
  layout = Layout(marked.mark.trainable)
  size = min(settings.batch_size, len(train[0]))
  first = Batches(len(train[0]), size, settings.seed).at(0)
  x, y = (np.asarray(part)[first] for part in train)
  loss = graph.loss()
  passes = BatchPasses(
    graph.suffix, loss, graph.samples(Dataset(x, y), "train")
  )
  params = layout.gather(masters_of(marked.data, marked.mark))
  return tuned(settings, layout, params, passes, loss)[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Twin:
  """A float twin, cut and open.

  Attributes:
    marked: the integer file.
    data: the twin.
    pieces: frozen prefix and trained suffix.
    suffix: runs what trains.
    layout: of the integer file's trainable tensors.
    start: float64 [K + B], the numbers that train.
    steps: float64 [K + B], the real size of one step of each number's grid.
  """

  marked: MarkedModel
  data: bytes
  pieces: Cut
  suffix: Session
  layout: Layout
  start: Floats
  steps: Floats

  @classmethod
  def of(cls, marked: MarkedModel, strategy: str = "in-place") -> Twin:
    """Makes the twin of a marked file, cuts and opens it."""
    twin, layout = to_float(marked.data), Layout(marked.mark.trainable)
    pieces = cut(twin, marked.mark)
    suffix = open_session("litert", pieces.suffix, strategy)
    require_visible(suffix, marked.mark.trainable)
    return cls(
      marked=marked,
      data=twin,
      pieces=pieces,
      suffix=suffix,
      layout=layout,
      start=flat(layout, suffix.params()),
      steps=flat(
        layout,
        [along_channels(t, t.step_sizes) for t, _, _ in layout.slots],
      ),
    )

  def weights(self, numbers: Floats) -> list[Array]:
    """What the engine holds for some numbers."""
    parts = np.split(numbers.astype(np.float32), [self.layout.num_kernels])
    return [
      np.zeros(tensor.shape, np.float32)
      if form == "low"
      else parts[form == "bias"][where].reshape(tensor.shape)
      for tensor, where, form in self.layout.slots
    ]

  def file(self, numbers: Floats) -> bytes:
    """The twin with some numbers in it."""
    indices = [t.index for t in self.marked.mark.trainable]
    return Patchable(self.data, indices).write(self.weights(numbers))

  def samples(self, part: Part) -> Samples:
    """Some samples in front of what trains: the frozen layers run once."""
    spec = tensor_spec(self.marked.data, self.pieces.graph_input)
    x, y = np.asarray(part[0]), np.asarray(part[1])
    if x.dtype.kind != "f":
      x = dequantize(x, spec.scale, spec.zero_point)
    x = model_input(x, tensor_spec(self.data, self.pieces.graph_input))
    values = {self.pieces.graph_input: x}
    if self.pieces.prefix is not None:
      prefix = open_session("litert", self.pieces.prefix)
      values.update(zip(self.pieces.prefix.outputs, run_all(prefix, (x,))))
    inputs = tuple(values[i] for i in self.pieces.suffix.inputs)
    return Samples(inputs, y.astype(np.int64))

  def logits(self, numbers: Floats, samples: Samples) -> Floats:
    """Logits [N, C] at some numbers."""
    self.suffix.load(self.weights(numbers))
    (logits,) = run_all(self.suffix, samples.inputs)
    return logits.reshape(len(logits), -1).astype(np.float64)

  def score(self, numbers: Floats, samples: Samples, passes: int) -> TestScore:
    """Scores some numbers."""
    logits = self.logits(numbers, samples)
    right = logits.argmax(axis=1) == samples.labels
    loss = cross_entropy(logits, samples.labels) / len(samples)
    return TestScore(passes, loss, float(right.mean()))


def flat(layout: Layout, arrays: Sequence[Array]) -> Floats:
  """One array a tensor in a row, kernels first; low bytes join their kernels.

  Args:
    layout: of the tensors.
    arrays: real numbers, in the order of the mark.
  """
  parts = np.zeros(layout.num_kernels), np.zeros(layout.num_biases)
  for (_, where, form), array in zip(layout.slots, arrays, strict=True):
    parts[form == "bias"][where] += array.reshape(-1).astype(float)
  return np.concatenate(parts)


def cross_entropy(logits: Floats, labels: Array) -> float:
  """Sum over a batch, in nats."""
  top = logits.max(axis=1)
  own = logits[np.arange(len(logits)), labels]
  spread = np.log(np.exp(logits - top[:, None]).sum(axis=1))
  return float((top + spread - own).sum())


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatSteps:
  """Slopes and rates, as the integer estimators and schedules have them."""

  twin: Twin
  settings: Method
  directions: Directions
  schedule: Schedule

  @classmethod
  def of(cls, twin: Twin, settings: Method) -> FloatSteps:
    """The parts that the settings name."""
    steps = settings.steps
    return cls(
      twin=twin,
      settings=settings,
      directions=Directions(twin.layout, settings.seed, settings.directions),
      schedule=schedule(settings.learning_rate_lsb, settings.decay, steps),
    )

  def rate(self, step: int) -> float:
    """The learning rate of a step, in steps of each grid."""
    return self.schedule(step) / (1 << 16)

  def gradient(self, numbers: Floats, batch: Samples, step: int) -> Floats:
    """Mean of slope times direction, a step of each number's own grid."""
    random = self.directions.flat_at(step, self.settings.num_directions)
    z = random / self.directions.unit
    slopes = [self.slope(numbers, batch, direction) for direction in z]
    return np.asarray(slopes) @ z / len(z)

  def slope(self, numbers: Floats, batch: Samples, direction: Floats) -> float:
    """The sign of the difference, or nats a step of the mean sample."""
    epsilon = self.settings.epsilon_lsb
    away = epsilon * direction * self.twin.steps
    plus, minus = (
      cross_entropy(self.twin.logits(numbers + side, batch), batch.labels)
      for side in (away, -away)
    )
    if self.settings.name == "sign-m-spsa":
      return float(np.sign(plus - minus))
    return (plus - minus) / (2 * epsilon * len(batch))


def run(cell: Cell, task: Episode) -> Measured:
  """Takes the rate that 16w8a chooses, so that precision alone differs."""
  marked = marked_of(cell, task)
  settings = learning_rates.chosen(
    cell, settings_of(cell), task, tuner_of(marked)
  )
  every = max(1, math.ceil(settings.steps / (NUM_SCORES - 1)))
  settings = dataclasses.replace(settings, validate_every=every)
  began = time.perf_counter()
  found = float_gradients(marked.data, settings, task.train, task.test)
  first, last = found.scores[0], found.scores[-1]
  return Measured(
    accuracy_before=first.accuracy,
    accuracy_after=last.accuracy,
    loss_before=first.loss,
    loss_after=last.loss,
    forward_passes=last.passes,
    seconds=time.perf_counter() - began,
    chosen=description(found.settings),
    curve=tuple((score.passes, score.accuracy) for score in found.scores),
  )
