"""What a user chose is run as chosen, phase by phase."""

from __future__ import annotations

import json

import numpy as np

from tests import models
from tests.options import options
from tests.placement.runs import (
  CLASSES,
  INPUTS,
  SHIFT,
  adapt,
  clusters,
  crossed,
  cured,
  source,
)
from tflm_fg import journal, replaying
from tflm_fg.methods import (
  SPSA,
  Auto,
  ClosedForm,
  PerSample,
  SignSPSA,
  fields_of,
)
from tflm_fg.placement.run_plan import LONG, QUICK, phases_of
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.training_metadata import without_mark
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.objective import Objective


def test_settings_that_are_given_hold_for_every_phase():
  given = {
    "epsilon_lsb": 3.0, "learning_rate_lsb": 1.5, "steps": 12,
    "batch_size": 32, "momentum": 0.25, "num_directions": 2,
  }  # fmt: skip
  result = adapt(trainable="prompt,head", **options(**given))
  first, last = result.journal.records
  for record in (first, last):
    method = record.phase.method
    names = fields_of(type(method))
    taken = {k: v for k, v in given.items() if k in names}
    assert {name: getattr(method, name) for name in taken} == taken
    assert record.batch_size == 32
    assert len(record.slopes) == 12
  assert len(taken) == 4 and first.phase.method.num_directions == 2
  # Earlier releases wrote down what a phase's method ignored.
  head, *rest = result.journal.to_bytes().splitlines(keepends=True)
  entry = json.loads(head)
  entry["phases"][1]["settings"] |= {"num_directions": 2, "epsilon_lsb": 3.0}
  older = json.dumps(entry).encode() + b"\n" + b"".join(rest)
  assert journal.parse(older).to_bytes() == result.journal.to_bytes()
  assert {len(row) for row in first.slopes} == {2}
  assert result.report["phases"][0]["chosen"] == {}


def test_forward_gradients_come_first_and_the_head_exactly_behind_them():
  marked = mark_file(models.conv_model(), "prompt,bias,head")
  method = Auto(num_directions=2)
  first, last = phases_of(marked, method, Objective())
  names = {t.index: t.name for t in marked.mark.trainable}
  assert [names[i] for i in first.tensors] == [
    "tflm_fg/prompt/offset", "conv/bias", "depthwise/bias",
  ]  # fmt: skip
  assert [names[i] for i in last.tensors] == ["head/kernel", "head/bias"]
  assert isinstance(first.method, SignSPSA)
  assert isinstance(last.method, ClosedForm)
  assert first.method.steps == QUICK["steps"]


def test_numbers_of_layers_and_the_head_take_turns():
  marked = mark_file(models.conv_model(), "inner-bias,gain,head")
  method = Auto(seed=5, steps=250, learning_rate_lsb=0.5)
  head, *turns = phases_of(marked, method, Objective())
  assert isinstance(head.method, ClosedForm) and len(turns) == 6
  inner, heads = turns[::2], turns[1::2]
  assert all(phase == head for phase in heads)
  assert [phase.method.steps for phase in inner] == [100, 100, 50]
  assert all(isinstance(phase.method, PerSample) for phase in inner)
  rates = [phase.method.learning_rate_lsb for phase in inner]
  assert rates == [0.417, 0.25, 0.0833]
  assert len({phase.method.seed for phase in inner}) == 3
  assert not {*inner[0].tensors} & {*head.tensors}
  alone = mark_file(models.conv_model(), "inner-bias,gain")
  (phase,) = phases_of(alone, method, Objective())
  assert phase.method.steps == 250 and phase.method.decay == "linear"


def test_turns_replay_and_what_they_adapt_has_no_new_operator():
  x, y = crossed(96, 1, SHIFT)
  result = adapt(
    x=x, y=y, trainable="inner-bias,head", method=Auto(steps=110, batch_size=32)
  )
  assert len(result.journal.records) == 5
  again = replaying.replay(result.journal.to_bytes(), result.start)
  assert again == result.marked_model
  names = [
    ModelFile.open(data).operator_names
    for data in (result.model, without_mark(result.start))
  ]
  assert names[0] == names[1]


def test_an_exact_phase_learns_from_the_samples_kept_aside_too():
  """They are kept aside but to see that it helps."""
  x, y = crossed(60, 1, SHIFT)
  result = adapt(x=x, y=y, trainable="head")
  (record,) = result.journal.records
  assert record.batch_size == 60
  result = adapt(
    x=x,
    y=y,
    trainable="head",
    **options(method="sign-m-spsa", steps=4, batch_size=60),
  )
  (record,) = result.journal.records
  assert record.batch_size < 60


def test_an_exact_phase_that_answers_better_is_kept_though_its_loss_rose():
  """With wrong labels it is too sure, and yet it is right more often."""
  x, y = clusters(60, 1)
  random = np.random.default_rng(0)
  wrong = random.random(60) < 0.3
  y = np.where(wrong, random.integers(0, CLASSES, 60), y)
  untrained = models.dense_model(INPUTS, 24, CLASSES, seed=3)
  report = adapt(untrained, x, y, trainable="head").report
  assert report["loss_after"] > report["loss_before"]
  assert report["accuracy_after"] > report["accuracy_before"]
  (phase,) = report["phases"]
  assert phase["kept_step"] == phase["steps"]


def test_a_phase_begins_where_the_one_before_it_ended():
  result = adapt(
    trainable="prompt,head", runtime="litert-reference", exact_prefix=True
  )
  losses = [loss for _, loss, _ in result.history.tests]
  start, end, begin, last = losses
  first, _ = result.report["phases"]
  assert first["kept_step"] == first["steps"]
  assert begin == end != start
  assert last < begin


def test_many_numbers_get_many_steps():
  marked = mark_file(models.dense_model(hidden=200), "all")
  first, _ = phases_of(marked, Auto(), Objective())
  assert first.method.steps == LONG["steps"]
  assert first.method.patience == LONG["patience"]


def test_one_method_for_all_is_one_phase():
  marked = mark_file(models.conv_model(), "all")
  (phase,) = phases_of(marked, SPSA(), Objective())
  assert len(phase.tensors) == len(marked.mark.trainable)


def test_an_explicit_method_without_a_place_trains_the_head():
  settings = options(method="sign-m-spsa", steps=3)
  report = adapt(**settings).report
  assert report["trainable"] == ["head/kernel", "head/bias"]
  assert report["candidates"] == []


def test_a_marked_file_keeps_its_own_choice():
  marked = mark_file(source(), "hidden/bias").data
  report = adapt(marked, **options(steps=5)).report
  assert report["trainable"] == ["hidden/bias"]
  assert report["candidates"] == []


def test_a_callback_sees_the_steps_of_forward_gradients_and_can_stop():
  class Stop(Callback):
    steps = 0

    def on_train_begin(self, state, logs):
      self.stop_training = False

    def on_train_batch_end(self, state, logs):
      self.steps += 1
      self.stop_training = state.step == 7

  watcher = Stop()
  report = adapt(trainable="prompt", callbacks=[watcher]).report
  assert watcher.steps == report["steps"] == 7


def test_an_adapted_file_adapts_again_without_growing_twice():
  again = adapt(cured().model, trainable="prompt,head")
  assert again.report["added_bytes"] == 0
  assert again.report["accuracy_after"] >= again.report["accuracy_before"]
