"""Time steps of plain forward gradients, as ratios within one run."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Iterator, Sequence

import numpy as np

import tflm_fg
from apps.compare.analyses.dense_stack import dense_stack
from apps.compare.cell_settings import of_timed_samples, of_timed_steps
from apps.compare.data import registry
from apps.compare.data.registry import UserData
from apps.compare.results.analysis_rows import Timing, to_csv
from tflm_fg.fixed_point import Layout
from tflm_fg.placement import SplitModel
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.training import CLASSIFY, Batches, fit, step_rule
from tflm_fg.types import Samples

ROUNDS = 150
"""Times that every case of a group is run, the cases in turn."""

ROUND_SECONDS = 0.01
"""Of a case in a round, at least."""


@dataclasses.dataclass(frozen=True)
class Speed:
  """Steps to time: against the engine, in place against rebuilt, by workers."""

  title = "speed"
  files = ("speed.csv",)


@dataclasses.dataclass(frozen=True)
class Growth:
  """Steps to time over trainable weights, samples and layers."""

  title = "growth"
  files = ("growth.csv",)


def run(job: Speed | Growth, user_data: UserData) -> dict[str, bytes]:
  """Times steps, and returns the CSV.

  Nothing else should run on the machine meanwhile.
  """
  found = growth()
  if isinstance(job, Speed):
    found = speed(registry.model_of(user_data))
  return {job.files[0]: to_csv(found)}


class Case:
  """Steps of one kind, a few at a time."""

  def __init__(
    self,
    model: bytes,
    name: str,
    trainable: str,
    batch: int,
    *,
    what: str = "speed",
    directions: int = 1,
    strategy: str = "in-place",
    workers: int = 1,
    pair: int = 0,
    per_sample: bool = False,
  ) -> None:
    self.what, self.name, self.pair = what, name, pair
    self.strategy, self.workers = strategy, workers
    marked = tflm_fg.mark_trainable(model, trainable)
    self._settings = of_timed_steps(directions, batch)
    if per_sample:
      self._settings = of_timed_samples(batch)
    self._directions = batch if per_sample else directions
    runtime_options = RuntimeOptions(strategy=strategy, workers=workers)
    self._graph = SplitModel(
      marked.data, marked.mark, runtime_options, (), per_sample
    )
    self._layout = Layout(marked.mark.trainable)
    spec = self._graph.input
    x = np.random.default_rng(0).integers(-100, 101, (batch, *spec.shape[1:]))
    inputs = self._graph.features(x.astype(spec.dtype))
    labels = np.arange(batch) % self._graph.logits.shape[-1]
    self._samples = Samples(inputs, labels)
    self._graph.settle(inputs, self._settings.passes_at_once())
    part = self._graph.part(self._samples, CLASSIFY)
    self._rule = step_rule(self._settings, self._layout, batch, part)
    start = self._layout.params(self._graph.suffix.params())
    self._state = self._rule.start(start)
    self._steps, self._found = 1, list[tuple[float, float]]()
    self.run()
    seconds = min(self.run() for _ in range(2))
    self._steps = max(1, math.ceil(ROUND_SECONDS / seconds))
    self._found.clear()

  def run(self) -> float:
    """Runs a round, and returns the seconds of a step."""
    before, began = self._graph.invoke_seconds, time.perf_counter()
    self._state = fit(
      session=self._graph.suffix,
      helpers=self._graph.helpers,
      step_rule=self._rule,
      loss=self._graph.loss(),
      samples=self._samples,
      batches=Batches(len(self._samples), len(self._samples), 0),
      state=self._state,
      steps=self._state.step + self._steps,
    )
    seconds = time.perf_counter() - began
    invoked = self._graph.invoke_seconds - before
    self._found.append((seconds / self._steps, invoked / self._steps))
    return seconds / self._steps

  def timing(self) -> Timing:
    """What all rounds gave."""
    # Of one round: minima of their own would be of different moments.
    step, invoke = min(self._found)
    tensors = self._layout.tensors
    return Timing(
      what=self.what,
      case=self.name,
      strategy=self.strategy,
      workers=self.workers,
      directions=self._directions,
      batch=len(self._samples),
      weights=sum(t.numbers for t in tensors),
      layers=len({t.operator for t in tensors}),
      pair=self.pair,
      step_us=1e6 * step,
      invoke_us=1e6 * invoke,
      ratio=step / invoke,
      ratio_median=statistics.median(s / i for s, i in self._found),
    )


def timed(cases: Sequence[Case]) -> Iterator[Timing]:
  """Runs the cases in turn, so that a busy moment hits them all."""
  for _ in range(ROUNDS):
    for case in cases:
      case.run()
  for case in cases:
    yield case.timing()


def speed(model: bytes) -> Iterator[Timing]:
  """The whole model by every strategy and worker count, then its head.

  Last come steps with a direction for every sample.
  """
  whole = [
    Case(
      model,
      f"all, {strategy}, workers {workers}",
      "all",
      32,
      directions=directions,
      strategy=strategy,
      workers=workers,
      pair=1,
    )
    for directions in (1, 2)
    for strategy in ("in-place", "rebuild")
    for workers in (1, 2)
  ]
  yield from timed(whole)
  heads = [
    Case(model, "head", "head", batch, directions=directions)
    for batch, directions in ((32, 1), (256, 1), (1024, 1), (4096, 1), (256, 8))
  ]
  yield from timed(heads)
  samples = [
    Case(model, f"{trainable}, per sample", trainable, 64, per_sample=True)
    for trainable in ("prompt", "first-bias", "inner-bias", "inner-bias,gain")
  ]
  yield from timed(samples)


def growth() -> Iterator[Timing]:
  """Over trainable weights, then samples, then layers."""
  plan = [
    Case(
      dense_stack([32, max(2, round(count / 42)), 10]),
      "weights",
      "all",
      32,
      what="growth",
    )
    for count in (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
  ]
  yield from timed(plan)
  small = dense_stack([32, 240, 10])
  samples = [
    Case(small, "samples", "all", batch, what="growth")
    for batch in (1, 4, 16, 64, 256, 1024)
  ]
  yield from timed(samples)
  deep = [
    Case(dense_stack([64] * (n + 1)), "layers", "all", 32, what="growth")
    for n in (1, 2, 4, 8, 16, 32)
  ]
  yield from timed(deep)
