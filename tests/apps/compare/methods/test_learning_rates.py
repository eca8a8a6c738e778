"""Rates are chosen fairly, and none is tried that training would refuse."""

import dataclasses

import numpy as np
import pytest

import tflm_fg
from apps.compare.cell_settings import settings_in_report
from apps.compare.data.registry import load
from apps.compare.methods import integer, learning_rates, run
from tests.options import method_of


def test_the_rate_is_chosen_without_the_test_samples(cell, user_data):
  task = load(cell.domain, 0, user_data)
  x, y = task.train
  seen = []

  def filled(settings, part):
    assert settings.learning_rate_lsb is None  # and so once for all rates
    shown(part)
    return dataclasses.replace(settings, learning_rate_lsb=1.0, epsilon_lsb=4.0)

  def shown(part):
    known = {sample.tobytes() for sample in x}
    assert {c.tobytes() for c in part.train[0]} <= known
    assert {c.tobytes() for c in part.test[0]} <= known
    assert len(part.train[1]) + len(part.test[1]) == len(y)

  def trial(settings, part):
    shown(part)
    seen.append(settings.learning_rate_lsb)
    assert (settings.steps, settings.epsilon_lsb) == (15, 4.0)
    return learning_rates.Found(0.5, abs(settings.learning_rate_lsb - 0.8))

  settings = method_of("sign-m-spsa", steps=60)
  found = learning_rates.chosen(
    cell, settings, task, learning_rates.Tuner(filled, trial)
  )
  assert seen == [2 * factor for factor in learning_rates.FACTORS]
  assert found.learning_rate_lsb == 0.4
  assert (found.steps, found.epsilon_lsb) == (60, 4.0)


@pytest.mark.parametrize(
  ("optimizer", "first", "most"),
  [("sgd", 50_000.0, 65536), ("frank-wolfe", 100.0, 127)],
)
def test_no_rate_is_tried_that_training_would_refuse(
  cell, user_data, optimizer, first, most
):
  seen = []

  def filled(settings, part):
    return dataclasses.replace(settings, learning_rate_lsb=first)

  def trial(settings, part):
    seen.append(settings.learning_rate_lsb)
    return learning_rates.Found(0.5, -len(seen))  # the factor above one is best

  task = load(cell.domain, 0, user_data)
  settings = method_of("spsa", optimizer=optimizer, steps=60, epsilon_lsb=2.0)
  found = learning_rates.chosen(
    cell, settings, task, learning_rates.Tuner(filled, trial)
  )
  assert max(seen) <= most and found.learning_rate_lsb <= most
  assert max(seen) == pytest.approx(most, rel=1e-3)
  integer.trained(
    integer.marked_of(cell, task),
    task,
    dataclasses.replace(found, steps=2),
    integer.NoStep(),
  )


def test_slopes_of_their_own_size_are_tried_at_the_runs_rates(cell, user_data):
  seen = []

  def filled(settings, part):
    return dataclasses.replace(settings, learning_rate_lsb=10.0)

  def trial(settings, part):
    seen.append(settings.learning_rate_lsb)
    return learning_rates.Found(0.5, 1.0)

  settings = method_of("spsa", steps=60, epsilon_lsb=2.0)
  task = load(cell.domain, 0, user_data)
  learning_rates.chosen(
    cell, settings, task, learning_rates.Tuner(filled, trial)
  )
  assert seen == [10 * factor for factor in learning_rates.FACTORS]


def test_a_flat_loss_does_not_stop_a_run(user_data, cell, tmp_path):
  """No slope shows there: spsa asks for the largest rate that there is."""
  with np.load(cell.domain) as held:
    x = np.zeros_like(held["x"])
    x[0, 0] = 0.1  # samples that are all the same are refused
    np.savez(tmp_path / "flat.npz", x=x, y=held["y"])
  flat = dataclasses.replace(
    cell, domain=str(tmp_path / "flat.npz"), method="spsa", trainable="head"
  )
  assert 0 <= run.run(flat, user_data).accuracy_after <= 1


def test_finding_settings_takes_no_step(cell, user_data):
  task = load(cell.domain, 0, user_data)
  tuner = integer.tuner_of(integer.marked_of(cell, task))
  settings = method_of(
    "sign-m-spsa", steps=60, batch_size=16, validation_fraction=0.0
  )
  filled = tuner.filled(settings, task)
  whole = tflm_fg.adapt(
    integer.marked_of(cell, task).data,
    *task.train,
    method=settings,
    strategy="rebuild",
    workers=1,
  ).report["phases"][0]["settings"]
  assert filled == settings_in_report(whole)


@pytest.mark.tensorflow
def test_backpropagation_may_try_as_many_rates():
  from apps.compare.methods import backprop

  for tried in backprop.RATES.values():
    assert len(tried) == len(learning_rates.FACTORS)


def test_a_rate_of_its_own_is_where_trials_begin(cell, user_data):
  seen = []

  def trial(settings, part):
    seen.append(settings.learning_rate_lsb)
    return learning_rates.Found(0.5, 1.0)

  task = load(cell.domain, 0, user_data)
  node = dataclasses.replace(cell, method="node")
  settings = method_of("node", steps=60)  # 0.5
  tuner = learning_rates.Tuner(lambda settings, part: settings, trial)
  learning_rates.chosen(node, settings, task, tuner)
  assert seen == pytest.approx([2 * 0.5 * f for f in learning_rates.FACTORS])


def test_fewer_errors_count_before_a_lower_loss():
  collapsed, learning = (
    learning_rates.Found(0.9, 2.3),
    learning_rates.Found(0.4, 3.0),
  )
  assert min(collapsed, learning) == learning
  assert min(learning, learning_rates.Found(0.4, 2.0)).loss == 2.0
