"""What watches the loop, under Keras's names."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from tflm_fg.types import Params

Logs = dict[str, Any]


class State(Protocol):
  """What a callback may know of a train state."""

  @property
  def step(self) -> int:
    """Count of steps taken."""

  @property
  def params(self) -> Params:
    """The masters after them."""


class Callback:
  """Does nothing; override what you need.

  Logs of `on_train_batch_end`: loss (mean of the step's passes), slopes,
  forward_passes. Logs of `on_test_end`: val_loss, val_accuracy (None where
  targets are real), val_mae (None where they are classes), forward_passes, and
  the integers val_total, val_correct and val_answers.

  Attributes:
    stop_training: set it to end training after the present step.
    every_phase: whether it hears the steps of every phase, also of those that
      fit a head behind what was found; without it, of the phases that search,
      and of those that a user has named.
    dry_run: whether nobody wants the result, but to know how long it takes:
      each head is then fitted over folds once, and not for every setting.
  """

  stop_training = False
  every_phase = False
  dry_run = False

  def on_checkpoint(self, logs: Logs) -> None:
    """When a checkpoint was opened, before any work.

    Logs hold its `folder`; its `state`: "new", "continued", or "finished" where
    all was done before; how many `pieces` of finished work it had; and
    `cut_bytes`, of a last record that a kill had torn.
    """

  def on_plan(self, logs: Logs) -> None:
    """When it is known what comes, and again where that changes.

    Logs hold `plan`: a dict for each part of the work that is left, in order,
    with `candidate`, what may train, and `work`: the name of the method that
    trains it, "folds" where heads are compared over folds of the samples, or
    "scores". Parts may be left out when they are not needed, and others come
    between them.
    """

  def on_phase_begin(self, logs: Logs) -> None:
    """Before a part of the work; logs hold its `candidate` and `work`."""

  def on_phase_end(self, logs: Logs) -> None:
    """After it, also where it failed; logs are those of its begin."""

  def on_fits_end(self, logs: Logs) -> None:
    """After fits of a head over folds; logs hold how many `ran`.

    In a dry run that is fewer than `planned`. Before the first fit it is told
    of none.
    """

  def on_train_begin(self, state: State, logs: Logs) -> None:
    """Before the first step; logs hold the planned `steps`."""

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    """After every step."""

  def on_test_end(self, state: State, logs: Logs) -> None:
    """After every validation, the first of them before any step."""

  def on_train_end(self, state: State, logs: Logs) -> None:
    """After the last step."""


def measure(logs: Logs) -> tuple[str, float]:
  """What a validation says beside the loss: accuracy, or an error's size."""
  for name in ("val_accuracy", "val_mae"):
    if logs.get(name) is not None:
      return name, logs[name]
  return "val_loss", logs["val_loss"]  # a loss whose targets only it knows


class History(Callback):
  """Keeps the curves: losses of steps, and of the validation part.

  As Keras's `History.history`, it gives a list for a name. After every step:
  `loss` and `forward_passes`, the passes run until then. After every
  validation: `val_loss`, `val_forward_passes`, and what `measure` says under
  its own name, `val_accuracy` for classes or `val_mae` for real targets; under
  `val_measure` it is found whichever it is.

  Attributes:
    batches: rows of (forward_passes, loss).
    tests: rows of (forward_passes, val_loss, `measure`).
    measured: the name of the third.
  """

  _COLUMNS: ClassVar = {
    "forward_passes": ("batches", 0),
    "loss": ("batches", 1),
    "val_forward_passes": ("tests", 0),
    "val_loss": ("tests", 1),
    "val_measure": ("tests", 2),
  }

  def __init__(self) -> None:
    self.batches: list[tuple[int, float]] = []
    self.tests: list[tuple[int, float, float]] = []
    self.measured = "val_accuracy"

  def keys(self) -> tuple[str, ...]:
    """The names of the curves."""
    return tuple(dict.fromkeys([*self._COLUMNS, self.measured]))

  def __getitem__(self, name: str) -> list[float]:
    if name not in self.keys():
      raise KeyError(
        f"{name}: has no curve; use one of {', '.join(self.keys())}"
      )
    rows, column = self._COLUMNS.get(name, self._COLUMNS["val_measure"])
    return [row[column] for row in getattr(self, rows)]

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    self.batches.append((logs["forward_passes"], logs["loss"]))

  def on_test_end(self, state: State, logs: Logs) -> None:
    self.measured, measured = measure(logs)
    self.tests.append((logs["forward_passes"], logs["val_loss"], measured))


class SlopeRecorder(Callback):
  """Keeps the slopes of every step.

  Attributes:
    slopes: one list of integers (Q16) a step.
  """

  def __init__(self) -> None:
    self.slopes: list[list[int]] = []

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    self.slopes.append(logs["slopes"].tolist())


class ModelCheckpoint(Callback):
  """Keeps the best masters of all validations, to roll back to.

  The best has the lowest validation loss among those that are right on at
  least as many samples as the start: what is kept is never worse than the start
  on either count. Without labels no sample is right; then the answers must not
  have collapsed: three quarters of the classes that the start answered with
  must still be among them. Where the loss alone judges, it alone counts.

  Attributes:
    best: its masters; None before the first validation.
    best_step: its step.
  """

  def __init__(self, labelled: bool = True, by_loss: bool = False) -> None:
    """Makes it.

    Args:
      labelled: whether there are targets.
      by_loss: whether neither right samples nor answers mean anything.
    """
    self._labelled, self._by_loss = labelled, by_loss
    self.best: Params | None = None
    self.best_step = 0
    self._total = 0
    self._correct_at_start = 0
    self._answers_at_start = 0

  def on_test_end(self, state: State, logs: Logs) -> None:
    if self.best is None:
      self._correct_at_start = logs["val_correct"]
      self._answers_at_start = logs["val_answers"]
    elif logs["val_total"] >= self._total or self._is_refused(logs):
      return
    self.best, self.best_step = state.params, state.step
    self._total = logs["val_total"]

  def _is_refused(self, logs: Logs) -> bool:
    """Whether fewer samples are right than at the start, or all alike."""
    if self._by_loss:
      return False
    if self._labelled:
      return bool(logs["val_correct"] < self._correct_at_start)
    return bool(4 * logs["val_answers"] < 3 * self._answers_at_start)


class KeepUnlessWorse(ModelCheckpoint):
  """Keeps the last masters, or the first where the last are worse.

  An exact gradient converges: its last step answers best even where its loss on
  other samples has begun to rise. Worse is to be right on fewer samples than at
  the start, or, without labels, a higher loss or collapsed answers; a higher
  loss alone where it alone judges.
  """

  def on_test_end(self, state: State, logs: Logs) -> None:
    if self.best is None:
      super().on_test_end(state, logs)
      self._first = state.params
      return
    loss_counts = self._by_loss or not self._labelled
    worse = self._is_refused(logs) or (
      loss_counts and logs["val_total"] > self._total
    )
    self.best, self.best_step = state.params, state.step
    if worse:
      self.best, self.best_step = self._first, 0


def keeper(ends_only: bool, labelled: bool, by_loss: bool) -> ModelCheckpoint:
  """What chooses the step to keep.

  Args:
    ends_only: whether no step between the first and the last is looked at.
    labelled: whether there are targets.
    by_loss: as for `ModelCheckpoint`.
  """
  kind = KeepUnlessWorse if ends_only else ModelCheckpoint
  return kind(labelled, by_loss)


class EarlyStopping(Callback):
  """Stops when the validation loss has not fallen for `patience` validations.

  Attributes:
    patience: validations without a new lowest loss before stopping.
  """

  def __init__(self, patience: int) -> None:
    self.patience = patience
    self._best: int | None = None
    self._waited = 0

  def on_train_begin(self, state: State, logs: Logs) -> None:
    self._best, self._waited, self.stop_training = None, 0, False

  def on_test_end(self, state: State, logs: Logs) -> None:
    if self._best is None or logs["val_total"] < self._best:
      self._best, self._waited = logs["val_total"], 0
    else:
      self._waited += 1
    self.stop_training = self._waited >= self.patience
