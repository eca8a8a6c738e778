"""What a user chose is run as chosen, phase by phase."""

from __future__ import annotations

import dataclasses
import json

import tflm_fg
from tests import models
from tests.placement.runs import (
  SHIFT,
  adapt,
  crossed,
  cured,
  source,
)
from tflm_fg import journal
from tflm_fg.placement import search
from tflm_fg.tflite.select_trainable import mark_trainable
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.defaults import ignored_by


def test_settings_that_are_given_hold_for_every_phase():
  given = {
    "epsilon_lsb": 3.0, "learning_rate_lsb": 1.5, "steps": 12,
    "batch_size": 32, "momentum": 0.25, "num_directions": 2,
  }  # fmt: skip
  result = adapt(trainable="prompt,head", settings=tflm_fg.Settings(**given))
  front, back = result.journal.records
  for record in (front, back):
    settings = dataclasses.asdict(record.phase.settings)
    ignored = ignored_by(settings["method"])
    taken = {k: v for k, v in given.items() if k not in ignored}
    assert {name: settings[name] for name in taken} == taken
    assert record.batch_size == 32
    assert len(record.slopes) == 12
  assert len(taken) == 4 and front.phase.settings.num_directions == 2
  # Earlier releases wrote down what a phase's method ignored.
  head, *rest = result.journal.to_bytes().splitlines(keepends=True)
  entry = json.loads(head)
  entry["phases"][1]["settings"] |= {"num_directions": 2, "epsilon_lsb": 3.0}
  older = json.dumps(entry).encode() + b"\n" + b"".join(rest)
  assert journal.parse(older).records == result.journal.records
  assert {len(row) for row in front.slopes} == {2}
  assert result.report["phases"][0]["chosen"] == {}


def test_forward_gradients_come_first_and_the_head_exactly_behind_them():
  marked = mark_trainable(models.conv_model(), "prompt,bias,head")
  first, last = search.phases_of(marked, tflm_fg.Settings())
  names = {t.index: t.name for t in marked.mark.trainable}
  assert [names[i] for i in first.tensors] == [
    "tflm_fg/prompt/offset", "conv/bias", "depthwise/bias",
  ]  # fmt: skip
  assert [names[i] for i in last.tensors] == ["head/kernel", "head/bias"]
  assert first.settings.method == "sign-m-spsa"
  assert last.settings.method == "closed-form"
  assert first.settings.steps == search.QUICK["steps"]


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
    settings=tflm_fg.Settings(method="sign-m-spsa", steps=4, batch_size=60),
  )
  (record,) = result.journal.records
  assert record.batch_size < 60


def test_many_numbers_get_many_steps():
  marked = mark_trainable(models.dense_model(hidden=200), "all")
  first, _ = search.phases_of(marked, tflm_fg.Settings())
  assert first.settings.steps == search.LONG["steps"]
  assert first.settings.patience == search.LONG["patience"]


def test_one_method_for_all_is_one_phase():
  marked = mark_trainable(models.conv_model(), "all")
  settings = tflm_fg.Settings(method="spsa")
  (phase,) = search.phases_of(marked, settings)
  assert len(phase.tensors) == len(marked.mark.trainable)


def test_an_explicit_method_without_a_place_trains_the_head():
  settings = tflm_fg.Settings(method="sign-m-spsa", steps=3)
  report = adapt(settings=settings).report
  assert report["trainable"] == ["head/kernel", "head/bias"]
  assert report["ways"] == []


def test_a_marked_file_keeps_its_own_choice():
  marked = mark_trainable(source(), "hidden/bias").data
  report = adapt(marked, settings=tflm_fg.Settings(steps=5)).report
  assert report["trainable"] == ["hidden/bias"]
  assert report["ways"] == []


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
  again = adapt(tflm_fg.strip(cured().model), trainable="prompt,head")
  assert again.report["added_bytes"] == 0
  assert again.report["accuracy_after"] >= again.report["accuracy_before"]
