"""Score the test samples with the masters of a training step."""

from __future__ import annotations

import time

import numpy as np

from tflm_fg.callbacks import Callback, Logs, State
from tflm_fg.fixed_point import Layout
from tflm_fg.placement import SplitModel
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.samples import Dataset
from tflm_fg.tflite import MarkedModel
from tflm_fg.training import Score, score_weights
from tflm_fg.types import Mark, Params

NUM_SCORES = 12
"""Times that a run scores the test samples, its start and end included."""

RUNTIME_OPTIONS = RuntimeOptions(strategy="rebuild", workers=1)
"""What scores, and what trains: XNNPACK's kernels, chosen by no timing."""


class Scorer:
  """A marked file open on some samples, apart from the sessions that train.

  Attributes:
    layout: of all marked tensors.
  """

  def __init__(self, marked: bytes, mark: Mark, part: Dataset) -> None:
    graph = SplitModel(marked, mark, RUNTIME_OPTIONS)
    self._graph, self._loss = graph, graph.loss()
    self._samples = graph.samples(part, "samples")
    self.layout = Layout(mark.trainable)

  def __call__(self, params: Params) -> Score:
    """Scores masters."""
    weights = self.layout.weights(params)
    return score_weights(self._graph.suffix, weights, self._samples, self._loss)


def scorer_of(marked: MarkedModel, part: Dataset) -> Scorer:
  """A scorer of a file that `mark_trainable` made."""
  return Scorer(marked.data, marked.mark, part)


class TestScores(Callback):
  """Scores test samples now and then; neither passes nor seconds count.

  Attributes:
    scores: what was found, the first before any step.
    trail: masters at each of them, where wanted.
    seconds: that scoring took.
  """

  def __init__(
    self, score: Scorer, count: int = NUM_SCORES, keep_trail: bool = False
  ) -> None:
    self._score, self._count, self._keep = score, count, keep_trail
    self._due: set[int] = set()
    self._steps: list[int] = []
    self._ran: list[int] = []
    self.scores: list[Score] = []
    self.trail: list[Params] = []
    self.seconds = 0.0

  def on_train_begin(self, state: State, logs: Logs) -> None:
    """Scores once, and plans when to do it again."""
    steps = np.linspace(0, logs["steps"], self._count)
    self._due = {int(s) for s in np.rint(steps)}
    self._take(state)

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    """Scores where it is time to."""
    self._ran.append(logs["forward_passes"])
    if state.step in self._due:
      self._take(state)

  @property
  def passes(self) -> int:
    """Forward passes of all steps, without those before the first."""
    return self._passes_at(len(self._ran))

  @property
  def curve(self) -> tuple[tuple[int, float], ...]:
    """Forward passes and accuracy at each score."""
    found = zip(self._steps, self.scores)
    return tuple((self._passes_at(step), s.accuracy) for step, s in found)

  def _passes_at(self, step: int) -> int:
    """The engine was tested before the first step: that is no training."""
    if not step:
      return 0
    first, *others = self._ran
    one = others[0] - first if others else first
    return self._ran[step - 1] - first + one

  def _take(self, state: State) -> None:
    began = time.perf_counter()
    self._steps.append(state.step)
    self.scores.append(self._score(state.params))
    if self._keep:
      self.trail.append(state.params)
    self.seconds += time.perf_counter() - began
