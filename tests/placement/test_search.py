"""Places to adapt are tried on samples kept aside, and the best is taken."""

from __future__ import annotations

import dataclasses
import functools
import json
import math

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.refusals import refused
from tflm_fg import journal
from tflm_fg.placement import search
from tflm_fg.placement.candidates import (
  Candidate,
  InputStage,
  best_candidate,
  cooled_losses,
)
from tflm_fg.placement.search import input_stages_of
from tflm_fg.tflite.select_trainable import GraphOptions, mark_trainable
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.defaults import ignored_by

SHIFT = 20
"""Steps by which a new sensor is off: the prompt reaches 31."""


def crossed(samples, seed, shift=0):
  """Four clusters, two classes crosswise: no line tells them apart."""
  random = np.random.default_rng(seed)
  y, side = np.arange(samples) % 2, np.arange(samples) // 2 % 2
  first = np.where(side, 12, -12)
  x = np.stack([first, np.where(y, first, -first)], axis=1)
  x = x + random.normal(0, 3, x.shape) + np.array([shift, -shift])
  return np.rint(x).clip(-128, 127).astype(np.int8), y


@functools.cache
def source():
  """Random ReLUs and a head that knows the clusters without a shift."""
  result = tflm_fg.adapt(
    models.dense_model(2, 48, 2, seed=1),
    *crossed(400, 0),
    trainable="head",
    settings=tflm_fg.Settings(method="closed-form", learning_rate_lsb=24.0),
  )
  assert result.report["accuracy_after"] > 0.98
  return tflm_fg.strip(result.model)


def adapt(data=None, x=None, y=None, **options):
  if x is None:
    x, y = crossed(120, 1, SHIFT)
  return tflm_fg.adapt(data or source(), x, y, **options)


@functools.cache
def cured():
  return adapt(test=crossed(400, 2, SHIFT))


def chosen(report):
  (candidate,) = [
    candidate for candidate in report["ways"] if candidate["chosen"]
  ]
  return candidate["trainable"]


def test_an_offset_at_the_input_is_cured_by_a_prompt():
  report = cured().report
  assert {"head", "prompt, head"} <= {w["trainable"] for w in report["ways"]}
  assert chosen(report).startswith("prompt")
  assert "tflm_fg/prompt/offset" in report["trainable"]
  alone = adapt(test=crossed(400, 2, SHIFT), trainable="head").report
  assert report["accuracy_before"] < 0.6
  assert report["accuracy_after"] > 0.97
  assert alone["accuracy_after"] < report["accuracy_after"] - 0.03


def test_swapped_classes_are_cured_by_the_head_alone():
  x, y = clusters(300, 1)
  report = adapt(clustered(), x, (y + 1) % CLASSES).report
  assert any("prompt" in candidate["trainable"] for candidate in report["ways"])
  assert chosen(report) == "head"
  assert report["added_bytes"] == 0
  assert report["accuracy_before"] < 0.1
  assert report["accuracy_after"] > 0.85


def test_the_chosen_way_has_the_lowest_loss_and_its_phases_are_reported():
  report = cured().report
  losses = {w["trainable"]: w["loss"] for w in report["ways"]}
  assert losses[chosen(report)] == min(losses.values())
  assert all(0 <= w["accuracy"] <= 1 for w in report["ways"])
  front, back = report["phases"]
  assert all("prompt" in name for name in front["trainable"])
  assert back["trainable"] == ["head/kernel", "head/bias"]
  assert report["method"] == "sign-m-spsa+closed-form"
  assert set(front["chosen"]) == {"epsilon_lsb", "learning_rate_lsb"}
  for name, reason in front["chosen"].items():
    assert reason.startswith(f"{front['settings'][name]:g}: ")
  assert back["chosen"] == {}
  for phase in (front, back):
    assert None not in phase["settings"].values()
    assert 0 < phase["kept_step"] <= phase["steps"]
  assert report["steps"] == front["steps"] + back["steps"]
  added = len(tflm_fg.strip(cured().model)) - len(source())
  assert report["added_bytes"] == added > 0
  assert report["model_bytes"] == len(tflm_fg.strip(cured().model))


def test_all_passes_of_all_ways_are_counted():
  report = cured().report
  finished = sum(p["steps"] for p in report["phases"])
  assert report["forward_passes"] > finished + 10 * len(report["ways"])


def test_one_seed_gives_the_same_bytes_and_journal():
  again = adapt(test=crossed(400, 2, SHIFT))
  assert again.model == cured().model
  assert again.journal.to_bytes() == cured().journal.to_bytes()
  assert again.report["ways"] == cured().report["ways"]
  other = adapt(settings=tflm_fg.Settings(seed=1))
  assert other.model != again.model


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_no_byte(workers):
  result = adapt(workers=workers)
  assert result.model == cured().model
  assert result.journal.to_bytes() == cured().journal.to_bytes()


@pytest.mark.parametrize("labelled", [True, False])
def test_strategies_of_the_same_kernels_change_no_byte(labelled):
  x, y = crossed(60, 1, SHIFT)
  one, two = (
    adapt(
      x=x,
      y=y if labelled else None,
      runtime="litert-reference",
      exact_prefix=True,
      strategy=strategy,
      settings=tflm_fg.Settings(steps=25),
    )
    for strategy in ("in-place", "rebuild")
  )
  assert one.model == two.model
  assert one.journal.to_bytes() == two.journal.to_bytes()


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


# A choice of the user's.


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


@pytest.mark.parametrize("method", ["sign-m-spsa", "closed-form"])
def test_places_are_tried_for_one_method_too(method):
  x, y = models.separable(96)
  settings = tflm_fg.Settings(method=method, steps=10)
  result = tflm_fg.adapt(
    models.deep_model(), x, y, trainable="auto", settings=settings
  )
  tried = [candidate["trainable"] for candidate in result.report["ways"]]
  assert tried == ["head", "wide-head"]
  assert {r.phase.settings.method for r in result.journal.records} <= {method}
  assert tflm_fg.replay(result.journal, result.marked) == result.model


def relu_head():
  """Its head is no closed form."""
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  flow = net.dense(net.dense(x, 16, "hidden"), 4, "head", relu=True)
  return net.run_candidate([x.index], [flow.index])


def single_layer():
  """Its first layer is its head."""
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  return net.run_candidate(
    [x.index], [net.dense(x, 4, "head", reach=8.0).index]
  )


ODD = {
  "nothing to join": models.dense_model(),
  "int16 activations": models.dense_model(wide=True),
  "no biases": models.dense_model(bias=False),
  "a head with a ReLU": relu_head(),
  "a single layer": single_layer(),
}


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("kind", ODD)
def test_what_a_file_does_not_allow_is_left_out(kind, labelled):
  x, y = models.separable(60)
  result = tflm_fg.adapt(
    ODD[kind],
    x,
    y if labelled else None,
    settings=tflm_fg.Settings(steps=20),
  )
  tried = [candidate["trainable"] for candidate in result.report["ways"]]
  assert tried[0] == "head"
  assert not any("wide" in candidate for candidate in tried)
  recorded = journal.parse(result.journal.to_bytes())
  assert tflm_fg.replay(recorded, result.marked) == result.model
  assert tflm_fg.replay(recorded, ODD[kind]) == result.model


@pytest.mark.parametrize(
  ("samples", "labelled"), [(1, True), (2, True), (3, True), (1, False)]
)
def test_too_few_samples_to_compare_train_the_head_and_say_so(
  samples, labelled
):
  x, y = crossed(8, 1)
  x, y = x[:samples], y[:samples]
  report = adapt(x=x, y=y if labelled else None).report
  assert report["ways"] == []
  assert "too few samples" in report["notes"][-1]
  assert report["trainable"] == ["head/kernel", "head/bias"]


def test_no_part_kept_aside_trains_the_head_without_a_note():
  report = adapt(settings=tflm_fg.Settings(validation_fraction=0.0)).report
  assert report["ways"] == []
  assert report["trainable"] == ["head/kernel", "head/bias"]
  assert report["notes"] == []


# How ways are compared.


def test_fronts_are_what_the_file_and_the_method_allow():
  conv = models.conv_model()
  prompts = [InputStage("prompt"), InputStage("prompt", gain=True)]
  first = InputStage("first-bias")
  assert input_stages_of(conv, True, "auto") == [
    InputStage(""),
    *prompts,
    first,
  ]
  assert input_stages_of(conv, False, "auto") == [InputStage(""), prompts[0]]
  assert input_stages_of(conv, True, "spsa") == [InputStage("")]
  wide = models.conv_model(wide=True)
  assert input_stages_of(wide, True, "auto") == [InputStage(""), first]
  assert input_stages_of(wide, False, "auto") == [InputStage("")]


def candidate(front, back, losses, unseen=None):
  costs = np.array(losses, float)
  fresh = costs if unseen is None else np.array(unseen, float)
  return Candidate(
    InputStage(front), back, GraphOptions(), (), (), costs, math.nan, fresh
  )


def test_the_front_whose_better_back_costs_least_wins():
  candidates = [
    candidate("", "head", [3, 3, 3]),
    candidate("", "wide-head", [2, 2, 2]),
    candidate("prompt", "head", [1, 1, 1]),
    candidate("prompt", "wide-head", [4, 4, 4]),
  ]
  assert best_candidate(candidates) is candidates[2]
  assert best_candidate(candidates[:2]) is candidates[1]
  assert best_candidate(candidates[:1]) is candidates[0]
  assert candidates[2].trainable == "prompt,head"


@pytest.mark.parametrize(
  ("wide", "taken"),
  [
    ([1, 3], "wide-head"),  # 0.5 worse on the mean, give or take 0.7
    ([2, 2.1], "head"),  # 0.55 worse, give or take 0.04
    ([1.5, 1.5], "wide-head"),  # neither better nor worse
  ],
)
def test_a_wide_head_is_taken_unless_clearly_worse(wide, taken):
  candidates = [
    candidate("", "head", [1.5, 1.5]),
    candidate("", "wide-head", wide),
  ]
  assert best_candidate(candidates).head == taken


@pytest.mark.parametrize(
  ("unseen", "taken"),
  [
    ([1.0, 0.9], "prompt"),  # 0.55 better, give or take 0.04
    ([0.2, 2.0], ""),  # 0.4 better, give or take 0.6
    ([1.5, 1.5], ""),  # neither better nor worse
  ],
)
def test_a_front_is_taken_where_it_surely_helps_samples_it_never_saw(
  unseen, taken
):
  bare = candidate("", "head", [1.5, 1.5, 1.5, 1.5], [1.5, 1.5])
  front = candidate("prompt", "head", [*unseen, 0.1, 0.1], unseen)
  assert best_candidate([bare, front]).front.trainable == taken


@pytest.mark.parametrize("start", [2.0, -2.0])
@pytest.mark.parametrize(
  ("gain", "taken"), [(0.1, "prompt"), (0.01, ""), (0.0, ""), (-1.0, "")]
)
def test_one_number_for_all_samples_must_be_clearly_lower(start, gain, taken):
  """It has no spread: a hair's breadth is not sure."""
  bare = candidate("", "head", [start])
  front = candidate("prompt", "head", [start - gain])
  assert best_candidate([bare, front]).front.trainable == taken


def test_a_head_that_is_too_sure_is_judged_by_its_answers():
  """Eight times the logits is the same head, at another temperature."""
  random = np.random.default_rng(0)
  labels = [random.integers(0, 3, 40), random.integers(0, 3, 30)]
  logits = [
    random.integers(-9, 9, (len(y), 3)) + 5 * np.eye(3, dtype=int)[y]
    for y in labels
  ]
  some = [z.astype(np.int16) for z in logits]
  sure = [(8 * z).astype(np.int16) for z in logits]
  calm = cooled_losses(some, labels, 0.1)
  assert calm.shape == (70,)
  np.testing.assert_allclose(cooled_losses(sure, labels, 0.1 / 8), calm)
  np.testing.assert_allclose(
    cooled_losses(sure, labels, 0.1).mean(), calm.mean(), rtol=0.02
  )


def test_cooled_losses_are_cross_entropies_at_the_best_temperature():
  random = np.random.default_rng(1)
  y = random.integers(0, 4, 50)
  z = random.integers(-128, 128, (50, 4)).astype(np.int8)
  got = cooled_losses([z], [y], 0.05)
  costs = []
  for bend in 2.0 ** np.arange(-4, 1.25, 0.25):
    logits = z * 0.05 * bend
    each = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(50), y]
    costs.append(each.mean())
  assert got.mean() == pytest.approx(min(costs))


# Without labels.


CLASSES, INPUTS = 6, 8


def clusters(samples, seed, offset=0.0):
  centres = np.random.default_rng(99).normal(0, 1, (CLASSES, INPUTS))
  y = np.arange(samples) % CLASSES
  noise = np.random.default_rng(seed).normal(0, 0.6, (samples, INPUTS))
  signs = np.where(np.random.default_rng(5).random(INPUTS) < 0.5, -1, 1)
  return (centres[y] + noise + offset * signs).astype("f4"), y


@functools.cache
def clustered():
  result = tflm_fg.adapt(
    models.dense_model(INPUTS, 24, CLASSES, seed=3),
    *clusters(600, 0),
    trainable="head",
    settings=tflm_fg.Settings(method="closed-form"),
  )
  return tflm_fg.strip(result.model)


@functools.cache
def unlabelled():
  x, _ = clusters(120, 1, 0.9)
  return tflm_fg.adapt(clustered(), x, test=clusters(600, 2, 0.9))


def test_an_offset_is_learnt_without_labels():
  report = unlabelled().report
  assert report["labels"] == "none"
  assert report["accuracy_before"] < 0.85
  assert report["accuracy_after"] > report["accuracy_before"] + 0.03
  assert "prompt" in chosen(report)
  assert all(candidate["accuracy"] is None for candidate in report["ways"])


@pytest.mark.parametrize("order", [1, -1])
def test_labels_that_are_not_to_be_looked_at_change_no_byte(order):
  x, y = clusters(120, 1, 0.9)
  blind = tflm_fg.adapt(
    clustered(), x, y[::order], settings=tflm_fg.Settings(labels="none")
  )
  assert blind.model == unlabelled().model
  recorded = [r.slopes for r in unlabelled().journal.records]
  assert [r.slopes for r in blind.journal.records] == recorded
  assert blind.report["labels"] == "none"


def test_without_test_samples_or_labels_no_accuracy_is_claimed():
  x, _ = clusters(60, 1, 0.9)
  report = tflm_fg.adapt(
    clustered(), x, settings=tflm_fg.Settings(steps=10)
  ).report
  assert report["accuracy_before"] is None
  assert report["accuracy_after"] is None
  assert report["loss_after"] <= report["loss_before"]
  assert report["scored_on"] == "validation"


def test_labels_that_were_promised_and_are_missing_are_refused():
  x, _ = clusters(30, 1)
  settings = tflm_fg.Settings(labels="given")
  refused(
    lambda: tflm_fg.adapt(clustered(), x, settings=settings),
    "'y'",
    "--labels=none",
  )


@pytest.mark.parametrize("rate", [64.0, -8.0])
@pytest.mark.parametrize("trainable", ["prompt", "head", "bias"])
def test_answers_never_collapse_without_labels(trainable, rate):
  """Steps far too long or uphill: what is kept still tells classes apart."""
  x, y = clusters(120, 1)
  settings = tflm_fg.Settings(
    method="sign-m-spsa",
    labels="none",
    steps=30,
    validate_every=3,
    learning_rate_lsb=rate,
  )
  result = tflm_fg.adapt(
    clustered(), x, y, trainable=trainable, settings=settings
  )
  kept = result.report
  assert kept["loss_after"] <= kept["loss_before"]
  after = tflm_fg.evaluate_model(result.model, *clusters(300, 2))
  assert after["accuracy"] > 0.5


# The journal.


def test_directions_grow_and_rows_of_different_length_replay():
  settings = tflm_fg.Settings(
    method="sign-m-spsa",
    steps=60,
    validate_every=3,
    patience=8,
    learning_rate_lsb=8.0,
    epsilon_lsb=2.0,
    batch_size=8,
  )
  result = adapt(trainable="head", settings=settings)
  (record,) = result.journal.records
  lengths = [len(row) for row in record.slopes]
  assert lengths == sorted(lengths)
  assert lengths[0] == 1
  assert lengths[-1] >= 2
  recorded = journal.parse(result.journal.to_bytes())
  assert recorded == result.journal
  assert tflm_fg.replay(recorded, result.marked) == result.model
  assert lengths[record.kept_step - 1] == 2


def grown_run():
  x, y = models.separable(96)
  return models.deep_model(), tflm_fg.adapt(
    models.deep_model(),
    x,
    y,
    trainable="prompt,wide-head",
    graph_options=GraphOptions(gain=True),
    settings=tflm_fg.Settings(steps=25),
  )


RUNS = {
  "auto": lambda: (source(), cured()),
  "prompt and wide head": grown_run,
  "without labels": lambda: (clustered(), unlabelled()),
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_journal_round_trips_and_replays_to_the_same_bytes(kind):
  plain, result = RUNS[kind]()
  content = result.journal.to_bytes()
  recorded = journal.parse(content)
  assert recorded.to_bytes() == content
  assert len(recorded.records) == 2
  assert result.model != result.marked
  assert tflm_fg.replay(recorded, result.marked) == result.model
  # The file of the user's own grows again as the journal says.
  assert tflm_fg.replay(recorded, plain) == result.model
  steps = sum(len(r.slopes) for r in recorded.records)
  assert recorded.steps == steps == result.report["steps"]


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
