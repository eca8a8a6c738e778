"""The loop: sample, run, update, tell the callbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tflm_fg.checkpoint.memo import NOTHING_KEPT
from tflm_fg.checkpoint.taken_steps import Ran, Step, TakenSteps
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
  taken: TakenSteps | None = None,
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
    taken: steps that are known, and where those are kept that are taken now.

  Returns:
    The last state, whatever the callbacks keep.
  """
  layout = step_rule.estimator.layout
  known = _Known(taken, (session, *helpers))

  def validate(state: TrainState, step_rule: StepRule) -> StepRule:
    if validation is None or not len(validation):
      return step_rule
    result = known.score(
      state.step,
      lambda: score_weights(
        session, layout.weights(state.params), validation, loss
      ),
    )
    tell("on_test_end", state, _validation_logs(result, ran()))
    return adjust(step_rule, result) if adjust else step_rule

  def ran() -> int:
    return passes_before + known.ran.passes

  def tell(event: str, state: TrainState, logs: Logs) -> None:
    for callback in callbacks:
      getattr(callback, event)(state, logs)

  tell("on_train_begin", state, {"steps": steps})
  step_rule = validate(state, step_rule)
  # A batch of all samples is fed once and never copied.
  passes = BatchPasses(session, loss, samples, helpers)
  while state.step < steps and not any(c.stop_training for c in callbacks):
    estimate = known.recalled(state.step)
    if estimate is None:
      if not batches.whole:
        passes.use(samples.take(batches.at(state.step)))
      estimate = step_rule.estimator(passes, state)
      known.keep(estimate)
    state = step_rule.advance(state, estimate)
    if callbacks:
      logs = _batch_logs(estimate, batches.size, ran(), loss)
      tell("on_train_batch_end", state, logs)
    ended = state.step == steps or any(c.stop_training for c in callbacks)
    if state.step % validate_every == 0 or ended:
      step_rule = validate(state, step_rule)
  known.end()
  session.load(layout.weights(state.params))
  tell("on_train_end", state, {})
  return state


class _Known:
  """Steps and scores of a run that goes on, with what they took."""

  def __init__(
    self, taken: TakenSteps | None, sessions: Sequence[Session]
  ) -> None:
    self._taken = taken or TakenSteps(NOTHING_KEPT)
    self._sessions = sessions
    self._told = self.ran

  @property
  def ran(self) -> Ran:
    """All that ran so far, here or in another process."""
    return Ran(
      sum(s.forward_passes for s in self._sessions),
      sum(s.samples_run for s in self._sessions),
    )

  def recalled(self, step: int) -> Estimate | None:
    """What a step's passes gave; None where they must run."""
    found = self._taken.step(step)
    if found is None:
      return None
    self._credit(found.ran)
    return Estimate(found.slopes, found.losses)

  def keep(self, estimate: Estimate) -> None:
    """Keeps what the passes of the next step gave."""
    step = Step(estimate.slopes, estimate.losses, self._since())
    self._taken.keep_step(step)

  def score(self, step: int, run: Callable[[], Score]) -> Score:
    """The score behind a step, which runs where it is not known."""
    found = self._taken.validation(step)
    if found is not None:
      values, ran = found
      self._credit(ran)
      return Score(**values)
    result = run()
    self._taken.keep_validation(step, result._asdict(), self._since())
    return result

  def end(self) -> None:
    """Keeps what is left."""
    self._taken.end()

  def _credit(self, ran: Ran) -> None:
    self._sessions[0].credit(*ran)
    self._told = self.ran

  def _since(self) -> Ran:
    """What ran since this was asked last."""
    before, self._told = self._told, self.ran
    return Ran(*(now - then for now, then in zip(self._told, before)))


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
