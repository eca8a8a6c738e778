"""Callbacks watch, keep the best, and stop."""

import types

import numpy as np
import pytest

from tflm_fg.base import Params
from tflm_fg.callbacks import CSVLogger, EarlyStopping, History, ModelCheckpoint


def state(step):
  params = Params(np.full(2, step, np.int16), np.zeros(0, np.int32))
  return types.SimpleNamespace(step=step, params=params)


def logs(total, correct=5):
  return {
    "val_total": total,
    "val_correct": correct,
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


def test_early_stopping_begins_anew_with_every_run():
  stopping = EarlyStopping(patience=1)
  for total in (5, 6):
    stopping.on_test_end(state(0), logs(total))
  assert stopping.stop_training
  stopping.on_train_begin(state(0), {"steps": 9})
  assert not stopping.stop_training
