"""What a step reads and changes, integers and nothing else, and who does it.

Estimator and optimizer both see the whole state, so that a direction may
follow the masters or the velocity of its step; replay rebuilds the state and
with it the directions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tflm_fg.types import Array, Int8, Int64, Params, Tensors, Vectors, Weights


class Passes(Protocol):
  """The forward passes that a step may run, all on the step's batch.

  Attributes:
    inputs: what flows into the trained part of the graph, [N, ...] each.
    labels: int64 [N] for classes; other targets as `objective` has them.
  """

  inputs: Tensors
  labels: Array

  def losses(self, weight_sets: Sequence[Weights]) -> Int64:
    """Runs one pass for each of the weights, side by side where that helps.

    Returns:
      int64 [P], losses in their own units, sums over the batch.
    """

  def logits(self, weights: Weights) -> Array:
    """Loads the weights and runs; integer logits [N, C]."""

  def logits_at(self, weight_sets: Sequence[Weights]) -> list[Array]:
    """The same at each of the weights."""

  def activations(self, weights: Weights) -> list[Array]:
    """Loads the weights and runs; what flows in, then the tapped tensors."""


EMPTY = Vectors(np.zeros(0, np.int16), np.zeros(0, np.int32))
"""What an optimizer does not keep."""


class OptimizerState(NamedTuple):
  """What an optimizer carries from step to step; what it needs not is empty.

  Attributes:
    velocity: int16 [K] and int32 [B], the running step, in 1/16 of a unit.
    residue: int16 [K] and [B], what rounding has kept back, in 1/16 of a unit.
    start: int16 [K] and int32 or int64 [B], masters before the first step.
    squares: int64 [K] and [B], running sums of squared slopes, Q32.
  """

  velocity: Vectors = EMPTY
  residue: Vectors = EMPTY
  start: Vectors | Params = EMPTY
  squares: Vectors = EMPTY


@dataclasses.dataclass(frozen=True, eq=False)
class TrainState:
  """All that a step changes. A state is itself and equal to no other.

  Attributes:
    step: count of steps taken; part of the directions' address.
    params: the masters.
    optimizer: what the optimizer carries.
  """

  step: int
  params: Params
  optimizer: OptimizerState = OptimizerState()

  @property
  def velocity(self) -> Vectors:
    """The optimizer's running step; empty without momentum."""
    return self.optimizer.velocity


class Estimate(NamedTuple):
  """A gradient before it is drawn: slopes along a state's directions.

  Attributes:
    slopes: int64 [m] in Q16, all that replay needs: change of the loss along
      each direction, or its sign times 65536, or as the estimator says.
    losses: int64, one a pass: sum over the batch in the loss's integer unit.
  """

  slopes: Int64
  losses: Int64


class DirectionSource(Protocol):
  """Where an estimator's directions come from.

  Attributes:
    unit: the value that counts as 1 in a direction (1 or 32).
  """

  @property
  def unit(self) -> int:
    """See above."""

  def of(self, state: TrainState, num_directions: int) -> Int8:
    """The directions of a state, kernels then biases: int8 [m, K + B]."""


class Estimator(Protocol):
  """Turns forward passes into slopes, and slopes into a gradient."""

  @property
  def layout(self) -> Any:
    """Where the trainable tensors lie."""

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs the passes of one step."""

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """The gradient that the slopes stand for: int64 [K] and [B] in Q16.

    Args:
      estimate: its slopes alone are looked at.
      state: the one that the slopes were taken in.
    """


class Transform(NamedTuple):
  """A pair of pure functions, as optax has them.

  Attributes:
    init: params -> state.
    update: (gradient, state, params, step) -> (updates in master units, state).
  """

  init: Callable[[Params], OptimizerState]
  update: Callable[
    [Vectors, OptimizerState, Params, int], tuple[Vectors, OptimizerState]
  ]
