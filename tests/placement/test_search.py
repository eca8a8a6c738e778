"""Places to adapt are tried on samples kept aside, and the best is taken."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.placement.runs import (
  CLASSES,
  SHIFT,
  adapt,
  chosen,
  clustered,
  clusters,
  crossed,
  cured,
  source,
)
from tests.refusals import refused
from tflm_fg import journal
from tflm_fg.methods import SPSA, Auto
from tflm_fg.placement import found, run_plan
from tflm_fg.placement.candidates import InputStage
from tflm_fg.placement.search import input_stages_of
from tflm_fg.training.callbacks import Callback
from tflm_fg.types import NotApplicable, TflmFgError


def test_an_offset_at_the_input_is_cured_by_a_prompt():
  report = cured().report
  assert {"head", "prompt, head"} <= {
    w["trainable"] for w in report["candidates"]
  }
  assert chosen(report).startswith("prompt")
  assert "tflm_fg/prompt/offset" in report["trainable"]
  alone = adapt(test=crossed(400, 2, SHIFT), trainable="head").report
  assert report["accuracy_before"] < 0.6
  assert report["accuracy_after"] > 0.97
  assert alone["accuracy_after"] < report["accuracy_after"] - 0.03


def test_swapped_classes_are_cured_by_the_head_alone():
  x, y = clusters(300, 1)
  as_it_is = tflm_fg.GraphOptions(head_room=0)
  found = adapt(clustered(), x, (y + 1) % CLASSES, graph_options=as_it_is)
  report = found.report
  assert any(
    "prompt" in candidate["trainable"] for candidate in report["candidates"]
  )
  assert chosen(report) == "head"
  assert report["added_bytes"] == 0
  assert report["accuracy_before"] < 0.1
  assert report["accuracy_after"] > 0.85


def test_the_chosen_candidate_has_the_lowest_loss_and_its_phases_are_reported():
  report = cured().report
  losses = {w["trainable"]: w["loss"] for w in report["candidates"]}
  assert losses[chosen(report)] == min(losses.values())
  assert all(0 <= w["accuracy"] <= 1 for w in report["candidates"])
  first, last = report["phases"]
  assert all("prompt" in name for name in first["trainable"])
  assert last["trainable"] == ["head/kernel", "head/bias"]
  assert report["method"] == "per-sample+closed-form"
  assert first["chosen"] == last["chosen"] == {}
  for phase in (first, last):
    assert None not in phase["settings"].values()
    assert 0 < phase["kept_step"] <= phase["steps"]
  assert report["steps"] == first["steps"] + last["steps"]
  added = len(cured().model) - len(source())
  assert report["added_bytes"] == added > 0
  assert report["model_bytes"] == len(cured().model)


def test_all_passes_of_all_candidates_are_counted():
  report = cured().report
  finished = sum(p["steps"] for p in report["phases"])
  assert report["forward_passes"] > finished + 10 * len(report["candidates"])


def test_one_seed_gives_the_same_bytes_and_journal():
  again = adapt(test=crossed(400, 2, SHIFT))
  assert again.marked_model == cured().marked_model
  assert again.journal.to_bytes() == cured().journal.to_bytes()
  assert again.report["candidates"] == cured().report["candidates"]
  other = adapt(**options(seed=1))
  assert other.marked_model != again.marked_model


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_no_byte(workers):
  result = adapt(workers=workers)
  assert result.marked_model == cured().marked_model
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
      **options(steps=25),
    )
    for strategy in ("in-place", "rebuild")
  )
  assert one.marked_model == two.marked_model
  assert one.journal.to_bytes() == two.journal.to_bytes()


@pytest.mark.parametrize("method", ["sign-m-spsa", "closed-form"])
def test_places_are_tried_for_one_method_too(method):
  x, y = models.separable(96)
  settings = options(method=method, steps=10)
  result = tflm_fg.adapt(
    models.deep_model(), x, y, trainable="auto", **settings
  )
  tried = [candidate["trainable"] for candidate in result.report["candidates"]]
  assert tried == ["head", "wide-head"]
  assert {r.phase.method.name for r in result.journal.records} <= {method}
  assert tflm_fg.replay(result.journal, result.start) == result.marked_model


def relu_head():
  """Its head is no closed form."""
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  flow = net.dense(net.dense(x, 16, "hidden"), 4, "head", relu=True)
  return net.finish([x.index], [flow.index])


def single_layer():
  """Its first layer is its head."""
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  return net.finish([x.index], [net.dense(x, 4, "head", reach=8.0).index])


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
    **options(steps=20),
  )
  tried = [candidate["trainable"] for candidate in result.report["candidates"]]
  assert ("head" if labelled else "nothing") in tried
  assert not any("wide" in candidate for candidate in tried)
  recorded = journal.parse(result.journal.to_bytes())
  assert tflm_fg.replay(recorded, result.start) == result.marked_model
  assert tflm_fg.replay(recorded, ODD[kind]) == result.marked_model


@pytest.mark.parametrize(
  ("samples", "labelled"), [(1, True), (2, True), (3, True), (1, False)]
)
def test_too_few_samples_to_compare_train_the_head_and_say_so(
  samples, labelled
):
  x, y = crossed(8, 1)
  x, y = x[:samples], y[:samples]
  report = adapt(x=x, y=y if labelled else None).report
  assert report["candidates"] == []
  assert "too few samples" in report["notes"][-1]
  assert report["trainable"] == ["head/kernel", "head/bias"]


def test_no_part_kept_aside_trains_the_head_without_a_note():
  report = adapt(**options(validation_fraction=0.0)).report
  assert report["candidates"] == []
  assert report["trainable"] == ["head/kernel", "head/bias"]
  assert report["notes"] == []


def test_input_stages_are_what_the_file_and_the_method_allow():
  def stages_of(*given):
    return input_stages_of(*given)[0]

  conv = models.conv_model()
  prompts = [InputStage("prompt"), InputStage("prompt", gain=True)]
  first = InputStage("first-bias")
  assert stages_of(conv, Auto()) == [InputStage(""), *prompts, first]
  assert stages_of(conv, SPSA()) == [InputStage("")]
  wide = models.conv_model(wide=True)
  assert stages_of(wide, Auto()) == [InputStage(""), first]


class Watch(Callback):
  """Knows that an input stage trains: heads are tried without callbacks."""

  def __init__(self):
    self.trains = False

  def on_train_begin(self, state, logs):
    self.trains = True


def test_an_error_in_a_users_loss_ends_the_search():
  watch, failures = Watch(), []

  def broken(outputs, y):
    if watch.trains and not failures:
      failures.append("once")
      raise KeyError("table")
    return np.abs(outputs[np.arange(len(y)), y] - 1)

  refused(
    lambda: adapt(loss=broken, callbacks=[watch]),
    "loss 'broken' failed with KeyError",
  )


def test_an_engine_that_refuses_an_input_stage_ends_the_search(monkeypatch):
  whole = run_plan.open_marked

  def refusing(phase, marked, *others):
    if any(t.role == "offset" for t in marked.mark.trainable):
      raise TflmFgError("litert: the engine refused the model: no memory")
    return whole(phase, marked, *others)

  monkeypatch.setattr(run_plan, "open_marked", refusing)
  refused(adapt, "the engine refused the model")


def test_what_a_file_does_not_take_is_named_with_the_reason():
  x = models.int8_samples((6, 5, 2), 60, dtype="int16")
  report = adapt(models.conv_model(wide=True), x, np.arange(60) % 3).report
  dropped = {d["candidate"]: d["reason"] for d in report["dropped"]}
  assert set(dropped) >= {"prompt", "prompt+gain", "wide-head"}
  assert "a prompt needs an int8 input" in dropped["prompt"]
  assert "a wide head needs int8 activations" in dropped["wide-head"]
  assert "first-bias" not in dropped
  json.dumps(report["dropped"])


def zeros_in(tensor):
  """x [1, 2] -> dense -> dense, logits [1, 2]; one kernel is all zeros."""
  net = models.Network(1)
  x = net.activation("x", (1, 2), 4.0)
  flow = net.dense(x, 6, "hidden", relu=True)
  flow = net.dense(flow, 2, "head", reach=8.0)
  kernel = net.model.buffers[net.graph.tensors[tensor].buffer]
  kernel.data = np.zeros_like(kernel.data)
  return net.finish([x.index], [flow.index])


@pytest.mark.parametrize(
  ("tensor", "reason"),
  [
    (1, "does not see a write to 'tflm_fg/prompt/offset'"),
    (4, "a head of zeros shows nothing of what is in front of it"),
  ],
  ids=["hidden", "head"],
)
def test_an_input_stage_that_moves_no_output_is_named(tensor, reason):
  report = adapt(zeros_in(tensor)).report
  dropped = {d["candidate"]: d["reason"] for d in report["dropped"]}
  assert reason in dropped["prompt"]
  assert chosen(report).split(" with ")[0] in ("nothing", "head", "wide-head")


def test_an_input_stage_that_did_harm_is_named(monkeypatch):
  whole = run_plan.Trial.run

  def harmful(trial, *others):
    result = whole(trial, *others)
    if trial.trainable != "first-bias":
      return result
    record = dataclasses.replace(result.record, kept_step=0)
    return dataclasses.replace(result, record=record)

  def own(outputs, y):
    """A loss without a gradient, so that candidates run in phases."""
    return np.abs(outputs[np.arange(len(y)), y] - 1)

  monkeypatch.setattr(run_plan.Trial, "run", harmful)
  report = adapt(loss=own, **options(steps=20)).report
  (harm,) = (d for d in report["dropped"] if d["candidate"] == "first-bias")
  assert "worse" in harm["reason"]


def test_a_wide_head_that_no_engine_writes_is_named(monkeypatch):
  open_head = found._open_head

  def unseen(best, *given):
    if best.candidate.head == "wide-head":
      raise NotApplicable("does not see a write")
    return open_head(best, *given)

  monkeypatch.setattr(found, "_open_head", unseen)
  x, y = models.separable(60)
  report = adapt(models.deep_model(), x, y).report
  reasons = {d["candidate"]: d["reason"] for d in report["dropped"]}
  assert set(reasons.values()) == {"does not see a write"}
  assert all("wide-head" in title for title in reasons)
  assert "wide-head" not in chosen(report)


def test_a_head_that_no_engine_writes_ends_the_search(monkeypatch):
  def unseen(*given):
    raise NotApplicable("does not see a write")

  monkeypatch.setattr(run_plan.Trial, "run", unseen)
  monkeypatch.setattr(found, "_open_head", unseen)
  with pytest.raises(NotApplicable, match="does not see a write"):
    adapt()
