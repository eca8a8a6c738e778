"""The method of a direction for every sample, and where it may begin.

`sample_slopes` has the estimator. A run may begin with a scan: a gain of one
half is far from one, and the loss between them is flat.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tflm_fg.fixed_point.arithmetic import round_shift
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
from tflm_fg.gradients.method import (
  CHOSEN,
  SIGN_RATE,
  Method,
  TrainedPart,
  register,
)
from tflm_fg.gradients.sample_slopes import PerSampleSlopes, require_data
from tflm_fg.gradients.slopes import ONE
from tflm_fg.types import (
  Int64,
  Params,
  Vectors,
)


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
    return self.chosen(self.scanned(passes, state), state)

  def scanned(self, passes: Passes, state: TrainState) -> Int64:
    """The losses at each start, summed over the batch: int64 [starts]."""
    centre = np.concatenate(state.params, dtype=np.int64)
    steps = np.concatenate(self.layout.step_units)
    ways = [self._way(state.params, start) for start in self.starts]
    return passes.losses(
      [self.layout.rows((centre + way * steps)[None]) for way in ways]
    )

  def chosen(self, losses: Int64, state: TrainState) -> Estimate:
    """The way to the start of the lowest loss.

    Args:
      losses: int64 [starts], of all samples.
      state: where the scan begins.
    """
    best = self.starts[int(np.argmin(losses))]
    return Estimate(self._way(state.params, best) * ONE, losses)

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

PROMPT = {"epsilon_lsb": 8.0, "steps": 80, "validate_every": 80}
"""Of ten numbers or so at the input."""

LAYER_STEPS, LAYER_EPSILON, LAYER_RATE = 400, 4.0, 32
"""Of the numbers of layers: steps, the largest perturbation, and the rate over
one number. What many numbers do together adds up: through layers it bends the
loss, and all steps of equal sizes go far."""

_OF_RATE = {"rms": 3}
"""Times the rate of layers: small slopes, which are most, go less far."""

_RATES = {"sign": 4.0, "rms": 4.0, "sgd": 20.0}
"""Of a prompt, by the optimizer; others have `SIGN_RATE`."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PerSample(Method):
  """A direction for every sample of a batch, two passes a step.

  It is for prompts, biases and gains of layers.

  The sign of a running gradient is stepped by, which does as well here as a
  step that is divided by the slopes' root mean square (docs/results.md,
  docs/inner_layers.md).

  What is not given of rate, perturbation and steps depends on what trains.

  Attributes:
    epsilon_lsb: the perturbation, in int8 steps.
    scan: whether the first step chooses among five values of a prompt's gain,
      if there is one.
    predict: whether slopes of the numbers of layers are predicted from mean
      slopes of the outputs, see `sample_slopes`.

  Example:
    >>> tflm_fg.adapt(model, x, y, trainable="prompt", method=PerSample())
  """

  optimizer: str = "sign"
  epsilon_lsb: float = CHOSEN
  scan: bool = True
  predict: bool = True

  name: ClassVar[str] = "per-sample"
  weights_are_inputs: ClassVar[bool] = True
  defaults: ClassVar[Mapping[str, Any]] = {
    "momentum": 0.8,
    "batch_size": 64,
  }

  def for_layout(self, layout: Layout) -> Method:
    """The method with a rate, a perturbation and steps that suit the tensors.

    Args:
      layout: of the phase's tensors.
    """
    own: dict[str, Any] = dict(PROMPT)
    own["learning_rate_lsb"] = _RATES.get(self.optimizer, SIGN_RATE)
    if _of_layers(layout):
      numbers = layout.num_kernels + layout.num_biases
      layers = len({t.operator for t in layout.tensors})
      rate = min(1.0, _OF_RATE.get(self.optimizer, 1) * LAYER_RATE / numbers)
      own["steps"] = LAYER_STEPS
      own["validate_every"] = self.steps or LAYER_STEPS
      # Three digits are more than the rule is worth, and read well.
      epsilon = min(LAYER_EPSILON, 2 * LAYER_EPSILON / math.sqrt(layers))
      own["epsilon_lsb"] = float(f"{epsilon:.3g}")
      own["learning_rate_lsb"] = float(f"{rate:.3g}")
      if self.optimizer == "sgd":
        own["learning_rate_lsb"] = float(f"{16 * rate:.3g}")
    missing = {n: v for n, v in own.items() if getattr(self, n) is None}
    return dataclasses.replace(self, **missing)

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
      predicts=self.predict and _of_layers(layout),
    )
    if not self._scans(layout):
      return slopes
    return ScanFirst(inner=slopes, role="gain", starts=GAIN_STARTS)

  def around(self, optimizer: Transform, layout: Layout) -> Transform:
    """The optimizer, behind the step that takes what the scan has found."""
    return jump_first(optimizer, layout) if self._scans(layout) else optimizer

  def _scans(self, layout: Layout) -> bool:
    return self.scan and any(t.role == "gain" for t in layout.tensors)


def _of_layers(layout: Layout) -> bool:
  """Whether numbers of layers train, and not a prompt alone."""
  return any(t.role in ("bias", "scale") for t in layout.tensors)
