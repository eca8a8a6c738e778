"""Turn two forward passes into one slope for every sample of a batch.

Numbers that flow into the graph as data, such as an offset a channel of the
input, or a gain and an offset a channel behind a layer, may differ from sample
to sample. So every sample gets a random
direction of its own, and two passes over a batch of N samples give N slopes
along N directions where one common direction gives one slope. This is
activity perturbation (Ren et al., "Scaling forward gradient with local
losses", ICLR 2023) on numbers that all samples share: the gradient is the mean
of the directions by their slopes.

No constant of the model is written between the passes. The engine may
therefore be one that packs its weights, and no interpreter is rebuilt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tflm_fg.fixed_point.arithmetic import round_divide, round_shift, saturate
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import (
  Estimate,
  Estimator,
  OptimizerState,
  Passes,
  TrainState,
  Transform,
)
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.method import CHOSEN, Method, TrainedPart, register
from tflm_fg.gradients.perturbation import EPSILON_BITS
from tflm_fg.gradients.spsa import ONE, weighted_sum
from tflm_fg.losses.base import Loss
from tflm_fg.types import Int8, Int64, Params, TflmFgError, Vectors, Weights

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
  """

  layout: Layout
  directions: Directions
  epsilon_lsb: float
  batch_size: int
  loss: Loss | None

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs two passes.

    Args:
      passes: of the step's batch, N samples.
      state: where the slopes are taken.

    Raises:
      TflmFgError: if it was made for replaying, or the loss has no value of
        its own for every sample.
    """
    if self.loss is None:
      raise TflmFgError(REFUSAL)
    drawn = self._drawn(state)
    plus, minus = passes.logits_at(self.weight_sets(state.params, drawn))
    differences = self.loss.differences(plus, minus, passes.labels)
    losses = [self.loss(logits, passes.labels) for logits in (plus, minus)]
    slopes = self._per_step(differences)
    if not self._holds_slopes:
      slopes = self._mean(drawn, slopes)
    return Estimate(slopes, np.array(losses, np.int64))

  @property
  def _holds_slopes(self) -> bool:
    """Whether an estimate holds slopes of samples."""
    return self.batch_size < self.layout.num_kernels + self.layout.num_biases

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
    epsilon = round(self.epsilon_lsb * (1 << EPSILON_BITS))
    steps = np.concatenate(self.layout.step_units)
    # Rounding is symmetric, so the sign may come behind it.
    delta = drawn * round_shift(steps * epsilon, EPSILON_BITS)
    centre = np.concatenate(params, dtype=np.int64)
    plus, minus = (self.layout.rows(centre + sign * delta) for sign in (1, -1))
    return plus, minus

  def _drawn(self, state: TrainState) -> Int8:
    return self.directions.of(state, self.batch_size)

  def _per_step(self, differences: Int64) -> Int64:
    """Differences over two epsilons, from the loss's unit to Q16 nats."""
    epsilon = round(self.epsilon_lsb * (1 << EPSILON_BITS))
    real = round_shift(differences * _LN2, 16 - EPSILON_BITS)
    return saturate(round_divide(real, 2 * epsilon), np.int32).astype(np.int64)

  def _mean(self, drawn: Int8, slopes: Int64) -> Int64:
    """The sum over samples is exact; its mean is rounded once."""
    summed = weighted_sum(drawn, slopes)
    return round_divide(summed, len(slopes) * self.directions.unit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanFirst:
  """Lets a run's first step choose where to begin, by one pass a start.

  A gain of one half is far from a gain of one, and the loss between them is
  flat, so a few values are tried before any slope is taken. The estimate of
  step 0 holds the way to the best start in steps (Q16), which `jump_first`
  takes at once; all later steps are the inner estimator's.

  Attributes:
    inner: the estimator of the steps behind the first.
    role: what is scanned, all numbers of a role alike: "gain".
    starts: its values, in int8 steps; the first of equals is taken.
  """

  inner: Estimator
  role: str
  starts: tuple[int, ...]

  @property
  def layout(self) -> Layout:
    """Where the trainable tensors lie."""
    return self.inner.layout

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs one pass a start in step 0, then what the inner estimator runs."""
    if state.step:
      return self.inner(passes, behind_first(state))
    ways = [self._way(state.params, start) for start in self.starts]
    centre = np.concatenate(state.params, dtype=np.int64)
    steps = np.concatenate(self.layout.step_units)
    losses = passes.losses(
      [self.layout.rows((centre + way * steps)[None]) for way in ways]
    )
    return Estimate(ways[int(np.argmin(losses))] * ONE, losses)

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """The way to the best start, then the inner estimator's gradients."""
    if state.step:
      return self.inner.gradient(estimate, behind_first(state))
    kernels = self.layout.num_kernels
    return Vectors(estimate.slopes[:kernels], estimate.slopes[kernels:])

  def _way(self, params: Params, start: int) -> Int64:
    """Whole steps from where the masters are to a start: int64 [K + B]."""
    steps = np.concatenate(self.layout.step_units)
    at = np.concatenate(params, dtype=np.int64)
    way = np.zeros(len(steps), np.int64)
    for tensor, where in self.layout.places:
      if tensor.role == self.role:
        way[where] = start - at[where] // steps[where]
    return way


def behind_first(state: TrainState) -> TrainState:
  """The state as a run without its first step would count it."""
  return dataclasses.replace(state, step=state.step - 1)


def jump_first(inner: Transform, layout: Layout) -> Transform:
  """Takes the first gradient as a way to go at once, in steps (Q16).

  It belongs to `ScanFirst`: the steps behind the first are the inner
  optimizer's, whose state and schedule begin there.

  Args:
    inner: makes the updates of all other steps.
    layout: gives each tensor's step in units.
  """
  units = layout.step_units

  def update(
    gradient: Vectors, state: OptimizerState, params: Params, step: int
  ) -> tuple[Vectors, OptimizerState]:
    if step:
      return inner.update(gradient, state, params, step - 1)
    ways = (round_shift(g * u, 16) for g, u in zip(gradient, units))
    return Vectors(*ways), state

  return Transform(inner.init, update)


GAIN_STARTS = (32, 45, 64, 90, 127)
"""Gains of 0.5, 0.7, 1, 1.4 and 2, in the steps of a prompt."""

_RATES = {"sign": 4.0, "sgd": 20.0}


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PerSample(Method):
  """A direction for every sample of a batch, two passes a step.

  It is for prompts, biases and gains of layers.

  The sign of a running gradient is stepped by, which does as well here as a
  step that is divided by the slopes' root mean square (docs/results.md).

  Attributes:
    epsilon_lsb: the perturbation, in int8 steps.
    scan: whether the first step chooses among five values of a gain, if there
      is one.

  Example:
    >>> tflm_fg.adapt(model, x, y, trainable="prompt", method=PerSample())
  """

  optimizer: str = "sign"
  epsilon_lsb: float = CHOSEN
  scan: bool = True

  name: ClassVar[str] = "per-sample"
  weights_are_inputs: ClassVar[bool] = True
  defaults: ClassVar[Mapping[str, Any]] = {
    "learning_rate_lsb": _RATES["sign"],
    "momentum": 0.8,
    "steps": 80,
    "batch_size": 64,
    "validate_every": 80,
    "epsilon_lsb": 8.0,
  }

  def defaults_for(self, quadratic: bool) -> dict[str, Any]:
    """The defaults; each optimizer has a rate of its own."""
    own = super().defaults_for(quadratic)
    if self.optimizer in _RATES:
      own["learning_rate_lsb"] = _RATES[self.optimizer]
    return own

  @property
  def steps_by_rate(self) -> bool:
    """Whether a number moves by about the rate, however steep the slope."""
    return self.optimizer != "sgd"

  def passes_at_once(self) -> int:
    """Both passes of a step."""
    return 2

  def slopes_a_step(self, layout: Layout, step: int) -> range:
    """One a number, or fewer, one a sample."""
    del step
    numbers = layout.num_kernels + layout.num_biases
    return range(1, numbers + 1)

  def require_layout(self, layout: Layout) -> None:
    """Refuses what does not flow in as data."""
    require_data(layout)

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> PerSampleSlopes | ScanFirst:
    """Slopes of samples, behind a scan of the gain where there is one."""
    slopes = PerSampleSlopes(
      layout=layout,
      directions=Directions(layout, self.seed),
      epsilon_lsb=self.epsilon_lsb,
      batch_size=batch_size,
      loss=None if part is None else part.loss,
    )
    if not self._scans(layout):
      return slopes
    return ScanFirst(inner=slopes, role="gain", starts=GAIN_STARTS)

  def around(self, optimizer: Transform, layout: Layout) -> Transform:
    """The optimizer, behind the step that takes what the scan has found."""
    return jump_first(optimizer, layout) if self._scans(layout) else optimizer

  def _scans(self, layout: Layout) -> bool:
    return self.scan and any(t.role == "gain" for t in layout.tensors)
