"""Masters of a training step go in; accuracy on the test clips comes out."""

from __future__ import annotations

import time

import numpy as np

from tflm_fg.base import Mark, Params
from tflm_fg.callbacks import Callback, Logs, State
from tflm_fg.data import Dataset
from tflm_fg.flatbuffer_mark import Marked
from tflm_fg.graph import Graph, Host
from tflm_fg.metrics import Score
from tflm_fg.quant import Layout
from tflm_fg.trainer import evaluate

LOOKS = 12
"""Looks at the test clips in a run, the first and the last included."""

HOST = Host(strategy="rebuild", workers=1)
"""What scores, and what trains: XNNPACK's kernels, chosen by no timing."""


class Scorer:
  """A marked file open on some clips, apart from the sessions that train.

  Attributes:
    layout: of all marked tensors.
  """

  def __init__(self, marked: bytes, mark: Mark, part: Dataset) -> None:
    graph = Graph(marked, mark, HOST)
    self._graph, self._loss = graph, graph.loss(True)
    self._clips = graph.clips(part, "clips")
    self.layout = Layout(mark.trainable)

  def __call__(self, params: Params) -> Score:
    """Scores masters."""
    weights = self.layout.weights(params)
    return evaluate(self._graph.suffix, weights, self._clips, self._loss)


def scorer_of(marked: Marked, part: Dataset) -> Scorer:
  """A scorer of a file fresh from `mark`."""
  return Scorer(marked.data, marked.mark, part)


class Looks(Callback):
  """Scores test clips now and then; neither passes nor seconds count.

  Attributes:
    curve: (forward passes, accuracy), before the first step and later.
    scores: the same looks in full.
    trail: masters at each look, where wanted.
    seconds: that the looks took.
    passes: forward passes of training when it ended.
  """

  def __init__(
    self, score: Scorer, looks: int = LOOKS, keep_trail: bool = False
  ) -> None:
    self._score, self._looks, self._keep = score, looks, keep_trail
    self._due: set[int] = set()
    self.curve: list[tuple[int, float]] = []
    self.scores: list[Score] = []
    self.trail: list[Params] = []
    self.seconds, self.passes = 0.0, 0

  def on_train_begin(self, state: State, logs: Logs) -> None:
    """Looks once, and plans the other looks."""
    steps = np.linspace(0, logs["steps"], self._looks)
    self._due = {int(s) for s in np.rint(steps)}
    self._look(state)

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    """Looks where it is time to."""
    self.passes = logs["forward_passes"]
    if state.step in self._due:
      self._look(state)

  def _look(self, state: State) -> None:
    began = time.perf_counter()
    found = self._score(state.params)
    self.scores.append(found)
    self.curve.append((self.passes, found.accuracy))
    if self._keep:
      self.trail.append(state.params)
    self.seconds += time.perf_counter() - began
