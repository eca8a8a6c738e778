"""Shift biases until channels have the mean activations of source samples.

Statistic matching, without labels: the mark holds the mean of every channel of
every layer on source samples; where a new microphone or voice has moved a mean,
the layer's bias moves it back, layer by layer, the earlier first, and all over
again, since a ReLU hides part of a shift. One pass a layer shows where its
means are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tflm_fg.fixed_point.arithmetic import MEAN_BITS, channel_means
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, Passes, TrainState
from tflm_fg.gradients.method import Method, TrainedPart, register
from tflm_fg.tflite.layers import outputs_of
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.types import Int64, NotApplicable, TflmFgError, Vectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanDifferences:
  """A slope a channel: how far its mean is from the source's, in output steps.

  Attributes:
    layout: the biases, one a layer, in the order of running.
    sources: for each, which of the passes' activations it makes.
    targets: for each, int64 [C], the means to come back to; both empty where
      slopes are only replayed.
  """

  layout: Layout
  sources: Sequence[int]
  targets: Sequence[Int64]

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs one pass and looks at one layer.

    Args:
      passes: of the step's batch.
      state: where the means are taken; its step says of which layer.

    Raises:
      TflmFgError: if the file holds no means.
    """
    if not self.targets:
      raise TflmFgError(REFUSAL)
    number = state.step % len(self.targets)
    activations = passes.activations(self.layout.weights(state.params))
    means = channel_means(activations[self.sources[number]])
    away = (means - self.targets[number]) << (16 - MEAN_BITS)
    return Estimate(away, np.zeros(1, np.int64))

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """The slopes at their layer's place: int64 [K] and [B] in Q16."""
    places = [where for tensor, where in self.layout.places]
    biases = np.zeros(self.layout.num_biases, np.int64)
    biases[places[state.step % len(places)]] = estimate.slopes
    return Vectors(np.zeros(self.layout.num_kernels, np.int64), biases)


def known_targets(
  outputs: Sequence[int], statistics: Mapping[int, Sequence[int]]
) -> list[Int64]:
  """The means of some activations.

  Args:
    outputs: tensor indices.
    statistics: the mark's.

  Raises:
    NotApplicable: if one is not there.
  """
  if any(index not in statistics for index in outputs):
    raise NotApplicable(REFUSAL)
  return [np.array(statistics[index], np.int64) for index in outputs]


REFUSAL = (
  "method 'statistics' needs each trained layer's means on source samples and "
  "trains biases before the head alone: convert with --statistics=X.npz and "
  "--trainable=inner-bias"
)


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class StatisticMatching(Method):
  """Biases move until each channel's mean is the source's; no labels."""

  name: ClassVar[str] = "statistics"
  takes_loss: ClassVar[bool] = False
  runs_single_passes: ClassVar[bool] = True
  label_free_stage: ClassVar[str] = "inner-bias"
  defaults: ClassVar[Mapping[str, Any]] = {
    "learning_rate_lsb": 1.0,
    "steps": 32,
    "batch_size": 256,
    "validate_every": 32,
  }

  def slopes_a_step(self, layout: Layout, step: int) -> range:
    """One slope a channel of the layer whose turn it is."""
    channels = layout.tensors[step % len(layout.tensors)].size
    return range(channels, channels + (layout.num_kernels == 0))

  def taps(self, graph: Subgraph, operators: Sequence[int]) -> list[int]:
    """Each layer's output."""
    return list(outputs_of(graph, operators).values())

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> MeanDifferences:
    """Differences of the means of a part from those in its mark.

    Raises:
      TflmFgError: if more than biases train, or the mark holds no means.
    """
    del batch_size
    if part is None:
      return MeanDifferences(layout=layout, sources=(), targets=())
    tensors = part.mark.trainable
    made = outputs_of(part.marked.subgraph, [t.operator for t in tensors])
    outputs = [made[t.operator] for t in tensors]
    if any(t.role != "bias" for t in tensors):
      raise TflmFgError(REFUSAL)
    # First, as it refuses the head, whose output is none of those shown.
    targets = known_targets(outputs, part.mark.statistics)
    shown = list(part.shown)
    return MeanDifferences(
      layout=layout,
      sources=[shown.index(index) for index in outputs],
      targets=targets,
    )
