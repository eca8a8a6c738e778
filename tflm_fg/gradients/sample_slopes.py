"""Turn two forward passes into one slope for every sample of a batch.

Numbers that flow into the graph as data, such as an offset a channel of the
input, or a gain and an offset a channel behind a layer, may differ from sample
to sample. So every sample gets a random
direction of its own, and two passes over a batch of N samples give N slopes
along N directions where one common direction gives one slope. This is
activity perturbation (Ren et al., "Scaling forward gradient with local
losses", ICLR 2023) on numbers that all samples share: the gradient is the mean
of the directions by their slopes.

Of the numbers of layers there are many, and two passes show more than a loss:
every output has a slope along a sample's direction too. How an output changes
with a number is much the same for all samples, so these slopes, averaged over
samples and steps, give a mean Jacobian of the outputs; how the loss changes
with the outputs is known without a pass. The product of both predicts each
sample's gradient, and directions are averaged over what is not predicted (a
control variate). So the gradient is right on average whatever the mean Jacobian
is.

No constant of the model is written between the passes. The engine may
therefore be one that packs its weights, and no interpreter is rebuilt.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflm_fg.fixed_point.arithmetic import round_divide, round_shift, saturate
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, Passes, TrainState
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.perturbation import EPSILON_BITS
from tflm_fg.gradients.slopes import ONE, weighted_sum
from tflm_fg.losses.base import Loss
from tflm_fg.types import (
  Array,
  Int8,
  Int64,
  Params,
  TflmFgError,
  Vectors,
  Weights,
)

_LN2 = round(np.log(2) * ONE)


REFUSAL = (
  "method 'per-sample' trains numbers that flow in as data; use "
  "--trainable=prompt, bias or gain, or another --method"
)


FLOWING = ("offset", "gain", "bias", "scale")
"""Roles of tensors that every sample can have a value of its own of."""


def require_data(layout: Layout) -> None:
  """Refuses tensors that no sample can have a value of its own of.

  Raises:
    TflmFgError: naming the first such tensor.
  """
  for tensor in layout.tensors:
    if tensor.role not in FLOWING:
      raise TflmFgError(f"{tensor.name}: {REFUSAL}")


SHARE_BITS = 16
"""Fraction bits of the share that a step has in the mean Jacobian."""

LEAST_SHARE = round(0.02 * (1 << SHARE_BITS))
"""What training moves must be forgotten: a step counts at least so much."""


class MeanJacobian:
  """How each output changes with each trained number, on the mean.

  It remembers the steps before, which a replay does not need: a journal holds
  the gradients that came of it. All products are of integers under 2**53, so
  that floats carry them exactly.

  Attributes:
    steps: how many it has seen.
    slopes: int64 [C, K + B], output steps per int8 step, in Q16.
  """

  def __init__(self) -> None:
    self.steps = 0
    self.slopes: Int64 = np.zeros((0, 0), np.int64)

  def gradient(
    self, drawn: Int8, outputs: Int64, by_output: Int64, slopes: Int64
  ) -> Int64:
    """The batch's gradient; then takes in the step's slopes.

    Args:
      drawn: [N, K + B] of 1 and -1, a direction for every sample.
      outputs: [N, C], slopes of the outputs along it, in output steps per
        int8 step, Q16.
      by_output: [N, C], the loss's slope by each output, Q16 a step.
      slopes: [N], the loss's slopes along the directions, Q16.

    Returns:
      int64 [K + B], the mean of all samples' gradients, Q16.
    """
    if not self.slopes.size:
      self.slopes = np.zeros((outputs.shape[1], drawn.shape[1]), np.int64)
    directions = drawn.astype(np.float64)
    along = _product(directions, self.slopes.T)
    predicted = round_shift((by_output * along).sum(axis=1), 16)
    summed = _product((slopes - predicted)[None], directions)[0]
    # A mean slope over N samples, once rounded.
    summed += round_shift(by_output.sum(axis=0) @ self.slopes, 16)
    self._take_in(directions, outputs - along)
    return np.asarray(round_divide(summed, len(drawn)))

  def _take_in(self, directions: Array, missed: Int64) -> None:
    """Moves the mean Jacobian towards what it missed.

    Early steps count for more, as in a running mean; N samples tell of K + B
    numbers with an error that grows with (K + B) / N, so that a step counts
    less where the numbers are many.
    """
    samples, numbers = directions.shape
    one = 1 << SHARE_BITS
    share = one * samples // (samples * (1 + self.steps) + numbers)
    share = max(
      share, min(LEAST_SHARE, one * samples // (samples + numbers) // 2)
    )
    way = _product(missed.T, directions) * share
    self.slopes = self.slopes + round_divide(way, samples << SHARE_BITS)
    self.steps += 1


def _product(some: Array, others: Array) -> Int64:
  """The product of two matrices of whole numbers."""
  product = some.astype(np.float64) @ others.astype(np.float64)
  return np.asarray(product).astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerSampleSlopes:
  """Slopes from a pair of passes in which every sample has its direction.

  An estimate holds the gradient itself, one number (Q16) a trainable number, or
  the samples' slopes where these are fewer: all that replaying a step without
  an engine needs.

  Attributes:
    layout: of prompts, biases and gains of layers; the session that runs the
      passes takes a value of them for every sample, [N, ...].
    directions: draws Rademacher vectors; sample i of the batch gets direction
      i of the step.
    epsilon_lsb: size of the perturbation in int8 steps of each tensor.
    batch_size: N.
    loss: on the logits; None where slopes are only replayed.
    predicts: whether slopes are predicted where the loss allows it; an estimate
      then always holds the gradient itself.
    jacobian: what they are predicted from; it learns from step to step.
  """

  layout: Layout
  directions: Directions
  epsilon_lsb: float
  batch_size: int
  loss: Loss | None
  predicts: bool = False
  jacobian: MeanJacobian = dataclasses.field(default_factory=MeanJacobian)

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs two passes.

    Args:
      passes: of the step's batch, N samples.
      state: where the slopes are taken.

    Raises:
      TflmFgError: if it was made for replaying, or the loss has no value of
        its own for every sample.
    """
    drawn = self._drawn(state)
    plus, minus = passes.logits_at(self.weight_sets(state.params, drawn))
    slopes, losses = self._along(plus, minus, passes.labels)
    if self.predicts:
      slopes = self._predicted(drawn, slopes, plus, minus, passes.labels)
    elif not self._holds_slopes:
      slopes = self._mean(drawn, slopes)
    return Estimate(slopes, losses)

  def summed(self, passes: Passes, state: TrainState) -> tuple[Int64, Int64]:
    """Runs two passes and sums directions by slopes, without a division.

    Args:
      passes: of the samples, as many as the batch size.
      state: where the slopes are taken.

    Returns:
      int64 [K + B], which parts of a batch may add up before `mean` divides
      them, and the losses, int64 [2].
    """
    drawn = self._drawn(state)
    plus, minus = passes.logits_at(self.weight_sets(state.params, drawn))
    slopes, losses = self._along(plus, minus, passes.labels)
    return weighted_sum(drawn, slopes), losses

  def _along(
    self, plus: Array, minus: Array, labels: Array
  ) -> tuple[Int64, Int64]:
    """Each sample's slope along its direction, and both losses."""
    if self.loss is None:
      raise TflmFgError(REFUSAL)
    slopes = self.per_step(self.loss.differences(plus, minus, labels))
    losses = [self.loss(logits, labels) for logits in (plus, minus)]
    return slopes, np.array(losses, np.int64)

  def _predicted(
    self, drawn: Int8, slopes: Int64, plus: Array, minus: Array, labels: Array
  ) -> Int64:
    """The gradient, of which a part is predicted where the loss allows it."""
    ends = [self.loss.by_output(z, labels) for z in (plus, minus)]  # type: ignore[union-attr]
    if ends[0] is None or ends[1] is None:
      return self._mean(drawn, slopes)
    change = plus.astype(np.int64) - minus.astype(np.int64)
    outputs = round_divide(change << (16 + EPSILON_BITS), 2 * self._epsilon)
    by_output = (ends[0] + ends[1]) >> 1
    found = self.jacobian.gradient(drawn, outputs, by_output, slopes)
    return saturate(found, np.int32).astype(np.int64)

  @property
  def _holds_slopes(self) -> bool:
    """Whether an estimate holds slopes of samples."""
    numbers = self.layout.num_kernels + self.layout.num_biases
    return not self.predicts and self.batch_size < numbers

  @property
  def _epsilon(self) -> int:
    return round(self.epsilon_lsb * (1 << EPSILON_BITS))

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """The mean of the samples' directions by their slopes.

    Returns:
      int64 [K] and [B] in Q16, per step of each tensor's own grid.
    """
    flat = estimate.slopes
    if self._holds_slopes:
      if len(flat) != self.batch_size:
        raise TflmFgError(
          f"step {state.step}: {len(flat)} slopes of {self.batch_size} samples"
        )
      flat = self._mean(self._drawn(state), flat)
    kernels = self.layout.num_kernels
    return Vectors(flat[:kernels], flat[kernels:])

  def weight_sets(
    self, params: Params | Vectors, drawn: Int8
  ) -> tuple[Weights, Weights]:
    """What flows in at params + eps z_i and at params - eps z_i.

    Args:
      params: the masters.
      drawn: int8 [N, K + B], a direction for every sample.

    Returns:
      Two sets of arrays [N, ...], one array a trainable tensor.
    """
    steps = np.concatenate(self.layout.step_units)
    # Rounding is symmetric, so the sign may come behind it.
    delta = drawn * round_shift(steps * self._epsilon, EPSILON_BITS)
    centre = np.concatenate(params, dtype=np.int64)
    plus, minus = (self.layout.rows(centre + sign * delta) for sign in (1, -1))
    return plus, minus

  def _drawn(self, state: TrainState) -> Int8:
    return self.directions.of(state, self.batch_size)

  def per_step(self, differences: Int64) -> Int64:
    """Differences over two epsilons, from the loss's unit to Q16 nats."""
    real = round_shift(differences * _LN2, 16 - EPSILON_BITS)
    slopes = round_divide(real, 2 * self._epsilon)
    return saturate(slopes, np.int32).astype(np.int64)

  def _mean(self, drawn: Int8, slopes: Int64) -> Int64:
    """The sum over samples is exact; its mean is rounded once."""
    return self.mean(weighted_sum(drawn, slopes), len(slopes))

  def mean(self, summed: Int64, samples: int) -> Int64:
    """The gradient that sums over samples make: int64 [K + B] in Q16."""
    return round_divide(summed, samples * self.directions.unit)
