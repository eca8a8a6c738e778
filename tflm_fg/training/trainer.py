"""The loop: sample, run, update, tell the callbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tflm_fg.fixed_point import masters
from tflm_fg.fixed_point.state import Estimate, Estimator, TrainState, Transform
from tflm_fg.losses.base import Loss
from tflm_fg.runtimes.session import Session
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.callbacks import Callback, Logs
from tflm_fg.training.data import Batches
from tflm_fg.training.metrics import Score, logits_of, score
from tflm_fg.types import Params, Samples, Weights

_UNKNOWN = np.zeros(0, np.int64)


@dataclasses.dataclass(frozen=True)
class StepRule:
  """How slopes become the next state; training and replay share it.

  Attributes:
    estimator: draws directions, alone knows what a slope means.
    optimizer: gradient to updates.
    centre: the head's mean input, for the closed form; empty without.
  """

  estimator: Estimator
  optimizer: Transform
  centre: tuple[int, ...] = ()

  def start(self, params: Params) -> TrainState:
    """The state before the first step."""
    return TrainState(0, params, self.optimizer.init(params))

  def advance(self, state: TrainState, estimate: Estimate) -> TrainState:
    """The state after a step with these slopes."""
    gradient = self.estimator.gradient(estimate, state)
    updates, optimizer = self.optimizer.update(
      gradient, state.optimizer, state.params, state.step
    )
    params = masters.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, optimizer)

  def replayed(self, state: TrainState, slopes: Sequence[int]) -> TrainState:
    """The state after a step whose slopes were recorded."""
    known = np.array(slopes, np.int64)
    return self.advance(state, Estimate(known, _UNKNOWN))


def fit(
  *,
  session: Session,
  helpers: Sequence[Session] = (),
  step_rule: StepRule,
  loss: Loss,
  samples: Samples,
  batches: Batches,
  state: TrainState,
  steps: int,
  validation: Samples | None = None,
  validate_every: int = 50,
  callbacks: Sequence[Callback] = (),
  adjust: Callable[[StepRule, Score], StepRule] | None = None,
  passes_before: int = 0,
) -> TrainState:
  """Trains in the engine; the session is left with the last state's weights.

  Args:
    session: runs the suffix.
    helpers: more sessions of the suffix, to run passes side by side; they
      change no number.
    step_rule: estimator and optimizer.
    loss: logits and labels to integers.
    samples: what to train on.
    batches: which samples a step takes.
    state: where to start.
    steps: train until this many steps have been taken in all.
    validation: samples kept aside, scored before the first step, then every
      `validate_every` steps and behind the last, whatever ended training; None
      or empty for none.
    validate_every: see above.
    callbacks: called in order; any of them may stop training.
    adjust: gives the step rule for the steps that follow a validation.
    passes_before: forward passes already run, for the logs.

  Returns:
    The last state, whatever the callbacks keep.
  """
  layout = step_rule.estimator.layout

  def validate(state: TrainState, step_rule: StepRule) -> StepRule:
    if validation is None or not len(validation):
      return step_rule
    result = score_weights(
      session, layout.weights(state.params), validation, loss
    )
    tell("on_test_end", state, _validation_logs(result, ran()))
    return adjust(step_rule, result) if adjust else step_rule

  def ran() -> int:
    sessions = (session, *helpers)
    return passes_before + sum(s.forward_passes for s in sessions)

  def tell(event: str, state: TrainState, logs: Logs) -> None:
    for callback in callbacks:
      getattr(callback, event)(state, logs)

  tell("on_train_begin", state, {"steps": steps})
  step_rule = validate(state, step_rule)
  # A batch of all samples is fed once and never copied.
  passes = BatchPasses(session, loss, samples, helpers)
  while state.step < steps and not any(c.stop_training for c in callbacks):
    if not batches.whole:
      passes.use(samples.take(batches.at(state.step)))
    estimate = step_rule.estimator(passes, state)
    state = step_rule.advance(state, estimate)
    if callbacks:
      logs = _batch_logs(estimate, batches.size, ran(), loss)
      tell("on_train_batch_end", state, logs)
    ended = state.step == steps or any(c.stop_training for c in callbacks)
    if state.step % validate_every == 0 or ended:
      step_rule = validate(state, step_rule)
  session.load(layout.weights(state.params))
  tell("on_train_end", state, {})
  return state


def score_weights(
  session: Session, weights: Weights, samples: Samples, loss: Loss
) -> Score:
  """Scores weights on some samples in the engine."""
  session.load(weights)
  return score(logits_of(session, samples.inputs), samples.labels, loss)


def _batch_logs(
  estimate: Estimate, samples: int, passes: int, loss: Loss
) -> Logs:
  return {
    "loss": loss.mean(
      int(estimate.losses.sum()), estimate.losses.size * samples
    ),
    "slopes": estimate.slopes,
    "forward_passes": passes,
  }


def _validation_logs(result: Score, passes: int) -> Logs:
  return {
    "val_loss": result.loss,
    "val_accuracy": result.accuracy,
    "val_mae": result.mae,
    "val_total": result.total,
    "val_correct": result.correct,
    "val_answers": result.answers,
    "forward_passes": passes,
  }
