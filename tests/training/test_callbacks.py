"""Callbacks watch, keep the best, and stop."""

import types

import numpy as np
import pytest

from tflm_fg.callbacks import CSVLogger
from tflm_fg.training.callbacks import (
  EarlyStopping,
  History,
  KeepUnlessWorse,
  ModelCheckpoint,
)
from tflm_fg.types import Params


def state(step):
  params = Params(np.full(2, step, np.int16), np.zeros(0, np.int32))
  return types.SimpleNamespace(step=step, params=params)


def logs(total, correct=5, answers=4):
  return {
    "val_total": total,
    "val_correct": correct,
    "val_answers": answers,
    "val_loss": total / 10,
    "val_accuracy": correct / 10,
    "forward_passes": 7,
  }


def test_checkpoint_keeps_the_lowest_loss():
  checkpoint = ModelCheckpoint()
  for step, total in enumerate([90, 80, 85, 70, 75]):
    checkpoint.on_test_end(state(step), logs(total))
  assert checkpoint.best_step == 3
  assert checkpoint.best.kernels.tolist() == [3, 3]


def test_checkpoint_never_keeps_what_is_right_less_often_than_the_start():
  checkpoint = ModelCheckpoint()
  for step, (total, correct) in enumerate([(90, 5), (10, 4), (50, 5)]):
    checkpoint.on_test_end(state(step), logs(total, correct))
  assert checkpoint.best_step == 2


def test_checkpoint_rolls_back_to_the_start_when_nothing_is_better():
  checkpoint = ModelCheckpoint()
  for step, total in enumerate([50, 60, 50]):
    checkpoint.on_test_end(state(step), logs(total))
  assert checkpoint.best_step == 0


@pytest.mark.parametrize(
  ("totals", "stops_at"), [([9, 8, 8, 8], 3), ([9, 8, 9, 7, 8, 9], 5)]
)
def test_early_stopping_waits_for_its_patience(totals, stops_at):
  stopping = EarlyStopping(patience=2)
  stopped = []
  for step, total in enumerate(totals):
    stopping.on_test_end(state(step), logs(total))
    stopped.append(stopping.stop_training)
  assert stopped.index(True) == stops_at


def test_history_and_csv_hold_every_validation(tmp_path):
  path = tmp_path / "log.csv"
  history, csv = History(), CSVLogger(str(path))
  for step, total in enumerate([9, 8]):
    for callback in (history, csv):
      callback.on_test_end(state(step), logs(total))
  csv.on_train_end(state(2), {})
  assert history.tests == [(7, 0.9, 0.5), (7, 0.8, 0.5)]
  assert path.read_text().splitlines() == [
    "step,forward_passes,val_loss,val_accuracy",
    "0,7,0.9,0.5",
    "1,7,0.8,0.5",
  ]


def test_history_gives_a_curve_by_the_name_of_what_was_measured():
  history = History()
  history.on_test_end(state(0), logs(9))
  assert history["val_accuracy"] == history["val_measure"] == [0.5]
  real = History()
  real.on_test_end(state(0), logs(9) | {"val_accuracy": None, "val_mae": 2.5})
  assert real["val_mae"] == real["val_measure"] == [2.5]
  assert "val_accuracy" not in real.keys()  # noqa: SIM118
  with pytest.raises(KeyError, match="val_accuracy: has no curve"):
    real["val_accuracy"]


def test_early_stopping_begins_anew_with_every_run():
  stopping = EarlyStopping(patience=1)
  for total in (5, 6):
    stopping.on_test_end(state(0), logs(total))
  assert stopping.stop_training
  stopping.on_train_begin(state(0), {"steps": 9})
  assert not stopping.stop_training


@pytest.mark.parametrize(
  ("start", "answers", "kept"),
  [(12, 9, 1), (12, 8, 0), (4, 3, 1), (4, 2, 0), (2, 1, 0), (1, 1, 1)],
)
@pytest.mark.parametrize(
  "make", [lambda: ModelCheckpoint(False), lambda: KeepUnlessWorse(False)]
)
def test_collapsed_answers_are_never_kept(make, start, answers, kept):
  """Under three quarters of the start's classes, however low the loss."""
  keeper = make()
  keeper.on_test_end(state(0), logs(90, 5, start))
  keeper.on_test_end(state(1), logs(1, 9, answers))
  assert keeper.best_step == kept
  assert keeper.best.kernels.tolist() == [kept, kept]


@pytest.mark.parametrize("make", [ModelCheckpoint, KeepUnlessWorse])
def test_with_labels_fewer_classes_may_be_the_right_ones(make):
  keeper = make(labelled=True)
  keeper.on_test_end(state(0), logs(90, 5, 12))
  keeper.on_test_end(state(1), logs(1, 9, 1))
  assert keeper.best_step == 1


def test_a_checkpoint_goes_on_behind_a_collapse():
  checkpoint = ModelCheckpoint(labelled=False)
  for step, (total, answers) in enumerate([(9, 4), (1, 1), (5, 4), (2, 2)]):
    checkpoint.on_test_end(state(step), logs(total, answers=answers))
  assert checkpoint.best_step == 2


@pytest.mark.parametrize(
  ("labelled", "total", "correct", "kept"),
  [
    (True, 99, 5, 1),  # the loss may rise where the answers do not worsen
    (True, 1, 4, 0),
    (True, 99, 9, 1),
    (False, 91, 9, 0),  # without labels nothing but the loss can tell
    (False, 90, 0, 1),
    (False, 89, 0, 1),
  ],
)
def test_the_last_is_kept_unless_it_is_worse(labelled, total, correct, kept):
  keeper = KeepUnlessWorse(labelled)
  keeper.on_test_end(state(0), logs(90, 5))
  keeper.on_test_end(state(1), logs(total, correct))
  assert keeper.best_step == kept
  assert keeper.best.kernels.tolist() == [kept, kept]


def test_the_last_look_decides_and_not_the_one_before():
  keeper = KeepUnlessWorse(labelled=True)
  for step, correct in enumerate([5, 2, 6]):
    keeper.on_test_end(state(step), logs(9, correct))
  assert keeper.best_step == 2
  keeper.on_test_end(state(3), logs(9, 4))
  assert keeper.best_step == 0
