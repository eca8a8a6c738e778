"""The loop: sample, run, update, tell the callbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tflm_fg import quant
from tflm_fg.base import (
  Array,
  Estimate,
  Estimator,
  Int64,
  Params,
  Session,
  Tensors,
  Transform,
  Vectors,
  Weights,
)
from tflm_fg.callbacks import Callback, Logs
from tflm_fg.data import Batches
from tflm_fg.losses import CrossEntropy, mean_nats
from tflm_fg.metrics import Score, logits_of, score


@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that a step changes: integers, and nothing else.

  Attributes:
    step: count of steps taken.
    params: the masters.
    velocity: the optimizer's state.
  """

  step: int
  params: Params
  velocity: Vectors


@dataclasses.dataclass(frozen=True)
class Rule:
  """How slopes become the next state; training and replay share it.

  Attributes:
    estimator: draws directions, alone knows what a slope means.
    optimizer: gradient to updates.
  """

  estimator: Estimator
  optimizer: Transform

  def start(self, params: Params) -> TrainState:
    """The state before the first step."""
    return TrainState(0, params, self.optimizer.init(params))

  def advance(self, state: TrainState, estimate: Estimate) -> TrainState:
    """The state after a step with these slopes."""
    gradient = self.estimator.gradient(estimate)
    updates, velocity = self.optimizer.update(
      gradient, state.velocity, state.params, estimate.step
    )
    params = quant.apply_updates(state.params, updates)
    return TrainState(estimate.step + 1, params, velocity)


@dataclasses.dataclass(frozen=True)
class Clips:
  """What a set of clips is to the trained part of the graph.

  Attributes:
    inputs: arrays [N, ...], what flows into the suffix.
    labels: int64 [N].
  """

  inputs: Tensors
  labels: Int64

  def take(self, indices: Array) -> Clips:
    """Some of the clips."""
    return Clips(tuple(x[indices] for x in self.inputs), self.labels[indices])

  def __len__(self) -> int:
    return len(self.labels)


def fit(
  *,
  session: Session,
  rule: Rule,
  loss: CrossEntropy,
  clips: Clips,
  batches: Batches,
  state: TrainState,
  steps: int,
  validation: Clips | None = None,
  validate_every: int = 50,
  callbacks: Sequence[Callback] = (),
) -> TrainState:
  """Trains in the engine; the session is left with the last state's weights.

  Args:
    session: runs the suffix.
    rule: estimator and optimizer.
    loss: logits and labels to integers.
    clips: what to train on.
    batches: which clips a step takes.
    state: where to start.
    steps: train until this many steps have been taken in all.
    validation: clips kept aside, scored before the first step, then every
      `validate_every` steps and behind the last; None or empty for none.
    validate_every: see above.
    callbacks: told in order; any of them may stop training.

  Returns:
    The last state, whatever the callbacks keep.
  """
  layout = rule.estimator.layout

  def validate(state: TrainState) -> None:
    if validation is not None and len(validation):
      result = evaluate(session, layout.weights(state.params), validation, loss)
      tell("on_test_end", state, _validation_logs(session, result))

  def tell(event: str, state: TrainState, logs: Logs) -> None:
    for callback in callbacks:
      getattr(callback, event)(state, logs)

  tell("on_train_begin", state, {"steps": steps})
  validate(state)
  while state.step < steps and not any(c.stop_training for c in callbacks):
    batch = clips.take(batches.at(state.step))
    passes = BatchPasses(session, loss, batch)
    estimate = rule.estimator(passes, state.params, state.step)
    state = rule.advance(state, estimate)
    tell("on_train_batch_end", state, _batch_logs(session, estimate, batch))
    if state.step % validate_every == 0 or state.step == steps:
      validate(state)
  session.load(layout.weights(state.params))
  tell("on_train_end", state, {})
  return state


def evaluate(
  session: Session, weights: Weights, clips: Clips, loss: CrossEntropy
) -> Score:
  """Scores weights on some clips in the engine."""
  session.load(weights)
  return score(logits_of(session, clips.inputs), clips.labels, loss)


class BatchPasses:
  """Runs one step's batch in a session; see `base.Passes`."""

  def __init__(
    self, session: Session, loss: CrossEntropy, batch: Clips
  ) -> None:
    self._session, self._loss = session, loss
    self.inputs, self.labels = batch.inputs, batch.labels

  def __call__(self, weights: Weights) -> int:
    """The loss at some weights, Q16 bits, sum over the batch."""
    return self._loss(self.logits(weights), self.labels)

  def logits(self, weights: Weights) -> Array:
    """Integer logits [N, C] at some weights."""
    # Assignment restores: adding back is lossy where int8 saturates.
    self._session.load(weights)
    (logits,) = self._session.run(self.inputs)
    return logits.reshape(len(logits), -1)


def _batch_logs(session: Session, estimate: Estimate, batch: Clips) -> Logs:
  return {
    "loss": mean_nats(
      int(estimate.losses.sum()), estimate.losses.size * len(batch)
    ),
    "slopes": estimate.slopes,
    "forward_passes": session.forward_passes,
  }


def _validation_logs(session: Session, result: Score) -> Logs:
  return {
    "val_loss": result.loss,
    "val_accuracy": result.accuracy,
    "val_total": result.total,
    "val_correct": result.correct,
    "forward_passes": session.forward_passes,
  }
