"""Fit a head over folds of the samples, without passes of an engine.

What flows into a head is computed once a sample. Behind that the head is one
dense layer, whose passes are computed here, so that a pull can be chosen and
heads can be compared by the loss of samples that they have not seen.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.checkpoint.memo import Kept
from tflm_fg.fixed_point.arithmetic import SATURATED, saturated_share
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.one_thread import one_thread
from tflm_fg.forgetting.coverage import PULL
from tflm_fg.forgetting.mixture import with_imagined
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.dense_passes import DenseLayer, DensePasses, dense_layer
from tflm_fg.gradients.method import Method
from tflm_fg.placement.fold_losses import FOLDS, losses_of
from tflm_fg.placement.measure import measured
from tflm_fg.placement.request import Request, TrainingData
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.tflite.graph_options import MOST_ROOM, GraphOptions, bits_of_room
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel, mark_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.training.build import step_rule
from tflm_fg.training.data import folds
from tflm_fg.training.exact_settings import exact
from tflm_fg.training.settings_record import to_record
from tflm_fg.types import Array, Params, Samples, Tensors

PULLS = (0.0, 0.03, 0.1, 0.3)
"""Lambdas of the pull towards the start that are tried."""


class FoldScore(NamedTuple):
  """How a head does on samples that were kept aside from it.

  Attributes:
    pull: the lambda with the lowest loss.
    losses: float64 [N], of all samples, each kept aside once.
    accuracy: share of right answers; nan without classes.
    saturated: share of the kernel that ended at -127 or 127 and began inside,
      the mean over the folds.
  """

  pull: float
  losses: NDArray[np.float64]
  accuracy: float
  saturated: float

  @property
  def loss(self) -> float:
    """Mean of the losses."""
    return float(self.losses.mean())


@dataclasses.dataclass(frozen=True)
class HeadFolds:
  """A head with what flows into it for all samples.

  Attributes:
    marked: the file, marked for the head.
    graph_options: how it grew.
    graph: runs what is in front of the head.
    samples: all of them, at the head's input.
    training_data: the same at the model's input.
    request: what the user asked for.
    measuring_passes: passes that measured what a wide head joins.
    model: the plain file.
    head: "head" or "wide-head".
  """

  marked: MarkedModel
  graph_options: GraphOptions
  graph: SplitModel
  samples: Samples
  training_data: TrainingData
  request: Request
  measuring_passes: int
  model: ModelFile
  head: str

  @classmethod
  def open(
    cls,
    model: ModelFile,
    head: str,
    graph_options: GraphOptions,
    training_data: TrainingData,
    request: Request,
  ) -> HeadFolds:
    """Marks the file and runs all samples up to the head.

    Args:
      model: the plain file, with what an input stage has found.
      head: "head" or "wide-head".
      graph_options: how the file may change.
      training_data: the samples.
      request: what the user asked for.

    Raises:
      NotApplicable: if the file has no such head, or one that only an engine
        can compute.
    """
    measuring_passes = 0
    if head == "wide-head":
      graph_options, measuring_passes = measured(
        model,
        training_data.x,
        graph_options,
        request.runtime_options,
        request.memo,
      )
    marked = mark_file(model, head, graph_options=graph_options)
    graph = SplitModel(marked.file, marked.mark, request.runtime_options)
    opened = cls.of(
      model,
      head,
      marked,
      graph_options,
      graph,
      graph.features(training_data.x, request.memo),
      training_data,
      request,
    )
    return dataclasses.replace(opened, measuring_passes=measuring_passes)

  @classmethod
  def of(
    cls,
    model: ModelFile,
    head: str,
    marked: MarkedModel,
    graph_options: GraphOptions,
    graph: SplitModel,
    inputs: Tensors,
    training_data: TrainingData,
    request: Request,
  ) -> HeadFolds:
    """A head whose file is open and whose samples have run.

    Args:
      model: the plain file.
      head: "head" or "wide-head".
      marked: the same, marked for the head.
      graph_options: how it grew.
      graph: runs it.
      inputs: of all samples, what flows into the head.
      training_data: the samples.
      request: what the user asked for.

    Raises:
      NotApplicable: if only an engine can compute the head.
    """
    dense_layer(graph.suffix_part, marked.mark.trainable)
    targets = graph.targets(training_data.labels, training_data.task)
    samples = Samples(inputs, targets)
    return cls(
      marked,
      graph_options,
      graph,
      samples,
      training_data,
      request,
      0,
      model,
      head,
    )

  def with_room(self, bits: int) -> HeadFolds:
    """The same head, whose kernel has so many bits of room; no sample runs.

    What flows into a head does not depend on its own weights.
    """
    options = dataclasses.replace(self.graph_options, head_room=bits)
    marked = mark_file(self.model, self.head, graph_options=options)
    graph = SplitModel(marked.file, marked.mark, self.request.runtime_options)
    return dataclasses.replace(
      self,
      marked=marked,
      graph_options=options,
      graph=graph,
      measuring_passes=0,
    )

  def roomier(
    self, score: FoldScore, pulls: Sequence[float] | None = None
  ) -> tuple[HeadFolds, FoldScore] | None:
    """The head with as much room as serves samples that it has not seen.

    Room is tried only where it is missing: where more than `SATURATED` of the
    kernel ended at its ends. More bits are tried until it no longer does.

    Args:
      score: of the head as it is, fitted.
      pulls: that may be chosen.

    Returns:
      The head with room and its score, whose loss is lower; None where there
      is none.
    """
    is_open = self.graph_options.head_room is None
    if score.saturated <= SATURATED or not is_open:
      return None
    if self.request.is_dry:
      usual = 2 + len(self.pulls if pulls is None else pulls)
      self.request.tell_fits(0, usual)
      return None
    tried = []
    for bits in range(1, MOST_ROOM + 1):
      opened = self.with_room(bits)
      own = opened.best([score.pull])
      tried.append((opened, own))
      if own.saturated <= SATURATED:
        break
    opened, own = min(tried, key=lambda one: one[1].loss)
    # Larger weights may want more of the pull than those that were held back.
    own = min(own, opened.best(pulls), key=lambda one: one.loss)
    return (opened, own) if own.loss < score.loss else None

  def untouched(self) -> FoldScore:
    """How the head does as it is."""
    return self._scored(0.0, lambda fit: self._start)

  def best(self, pulls: Sequence[float] | None = None) -> FoldScore:
    """How the head does where it is fitted, under the best of some pulls."""
    planned = self.pulls if pulls is None else pulls
    taken = planned[:1] if self.request.is_dry else planned
    self.request.tell_fits(0, 0)
    scores = [
      self._scored(pull, functools.partial(self.fitted, pull=pull))
      for pull in taken
    ]
    self.request.tell_fits(len(taken), len(planned))
    return min(scores, key=lambda score: score.loss)

  @property
  def pulls(self) -> Sequence[float]:
    """Lambdas that may be chosen: classes that nothing shows need the most."""
    return PULLS if self.training_data.coverage is None else (PULL,)

  def method(self, pull: float) -> Method:
    """What fits the head."""
    method = self.request.method.as_phase(ClosedForm, pull=pull)
    method = method.filled(self.request.objective.is_quadratic)
    if isinstance(method, ClosedForm):
      loss = self.graph.loss(self.training_data.task)
      method, _ = exact(method, self._layout, loss)
    return method

  def fitted(self, fit: Array, pull: float) -> Params:
    """The head after all steps on some samples.

    Args:
      fit: indices of the samples.
      pull: lambda.
    """
    method = self.method(pull)
    found = self.request.memo.result(
      lambda: Kept(self._fitted(fit, method)._asdict()),
      "head",
      self.marked.file.data,
      to_record(method, self.request.objective),
      fit,
    )
    return Params(**found.arrays)

  def _fitted(self, fit: Array, method: Method) -> Params:
    """The same, by a method whose settings are all chosen."""
    samples, task = self.samples.take(fit), self.training_data.task
    if (coverage := self.training_data.coverage) is not None:
      lacking = coverage.lacking
      samples = with_imagined(samples, self._layer, lacking, method.seed)
    part = self.graph.part(samples, task)
    rule = step_rule(method, self._layout, len(samples), part)
    passes = self._passes(samples)
    state = rule.start(self._start)
    with one_thread():
      for _ in range(method.steps):
        state = rule.advance(state, rule.estimator(passes, state))
    return state.params

  def _scored(
    self, pull: float, fitted: Callable[[Array], Params]
  ) -> FoldScore:
    """Scores each fold by a head that was fitted on the others."""
    logits, labels, saturated = [], [], []
    for kept in self._folds:
      params = fitted(np.flatnonzero(~kept))
      ends = self._start.kernels, params.kernels
      saturated.append(saturated_share(*ends))
      samples = self.samples.take(np.flatnonzero(kept))
      weights = self._layout.weights(params)
      logits.append(self._passes(samples).logits(weights))
      labels.append(samples.labels)
    task = self.training_data.task
    losses = losses_of(logits, labels, self.graph, task)
    accuracy = np.nan
    loss = self.graph.loss(task)
    right = [loss.right(z, y) for z, y in zip(logits, labels)]
    if (known := [r for r in right if r is not None]) and task.answers:
      accuracy = float(np.concatenate(known).mean())
    return FoldScore(pull, losses, accuracy, float(np.mean(saturated)))

  @functools.cached_property
  def _folds(self) -> list[NDArray[np.bool_]]:
    """Which samples are kept aside, for each fold."""
    strata = self.training_data.task.strata(self.training_data.labels)
    number = folds(strata, FOLDS, 0)
    return [number == n for n in range(FOLDS)]

  @functools.cached_property
  def _layout(self) -> Layout:
    return Layout(self.marked.mark.trainable)

  @functools.cached_property
  def _start(self) -> Params:
    tensors = self.marked.mark.trainable
    return self._layout.params(weights_of(self.marked.file, tensors))

  @functools.cached_property
  def _layer(self) -> DenseLayer:
    return dense_layer(self.graph.suffix_part, self.marked.mark.trainable)

  def _passes(self, samples: Samples) -> DensePasses:
    return DensePasses(
      layer=self._layer,
      inputs=samples.inputs,
      labels=samples.labels,
      loss=self.graph.loss(self.training_data.task),
    )


def room_note(opened: HeadFolds, saturated: float) -> str:
  """Says that a head got room, and why."""
  return (
    f"the head's kernel was given {bits_of_room(opened.graph_options)}: "
    f"{100 * saturated:.0f} % of its weights ended at -127 or 127 without"
  )
