"""What a file needs is named, counted and tried; a target holds it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import tflm_fg
from apps.compare.analyses import tflm_arena
from tests import models
from tests.options import options
from tests.refusals import edited, refused
from tflm_fg import requirements as requirements_of
from tflm_fg.memory import arena
from tflm_fg.memory.dataflow import read_dataflow
from tflm_fg.placement.candidates import INPUT_STAGES
from tflm_fg.placement.found import idle_notes
from tflm_fg.requirements import in_words, requirements
from tflm_fg.runtimes import is_installed, trial, trial_process
from tflm_fg.tflite.contents.operators import Kernel, kernels_of, new_kernels
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.types import NotApplicable

MODEL = models.deep_model()
X, Y = models.separable(samples=48)
QUICK = options(method="closed-form", steps=4)
SHORT = options(steps=4)
SAME = GraphOptions(operators="same")
needs_tflm = pytest.mark.skipif(not is_installed("tflm"), reason="needs tflm")


def names(kernels):
  return [kernel.name for kernel in kernels]


def wide(model=MODEL):
  return mark_file(model, "wide-head").file


def test_operators_are_listed_once_by_name_with_their_version():
  found = kernels_of(ModelFile.open(MODEL))
  assert found == (Kernel("FULLY_CONNECTED", 4), Kernel("SOFTMAX", 2))


def test_what_a_wide_head_and_a_prompt_add_is_named():
  file = ModelFile.open(models.conv_model())
  assert new_kernels(file, mark_file(file, "head").file) == ()
  fresh = new_kernels(file, mark_file(file, "wide-head").file)
  assert names(fresh) == ["CONCATENATION", "RESHAPE"]
  gained = mark_file(file, "prompt", graph_options=GraphOptions(gain=True)).file
  assert names(new_kernels(file, gained)) == ["ADD", "MUL"]


def test_a_higher_version_counts_as_new_and_a_lower_one_does_not():
  def version(number):
    def edit(model):
      for code in model.operatorCodes:
        code.version = number

    return ModelFile.open(edited(edit))

  assert names(new_kernels(version(3), version(4))) == [
    "FULLY_CONNECTED",
    "SOFTMAX",
  ]
  assert new_kernels(version(4), version(3)) == ()


def test_operators_of_other_subgraphs_are_needed_too():
  def edit(model):
    net = models.Network()
    x = net.activation("x", (1, 4), 4.0)
    out = net.activation("out", (1, 4), 4.0)
    net.operator("HARD_SWISH", [x.index], out.index)
    net.finish([x.index], [out.index])
    (op,) = net.graph.operators
    op.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes += net.model.operatorCodes
    model.subgraphs.append(net.graph)

  assert "HARD_SWISH" in names(kernels_of(ModelFile.open(edited(edit))))


def test_calls_are_those_of_tflms_resolver():
  for name, call in {
    "CONV_2D": "AddConv2D()",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D()",
    "BATCH_MATMUL": "AddBatchMatMul()",
    "MEAN": "AddMean()",
    "L2_POOL_2D": "AddL2Pool2D()",
    "RELU6": "AddRelu6()",
    "PADV2": "AddPadV2()",
    "SPACE_TO_BATCH_ND": "AddSpaceToBatchNd()",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM()",
  }.items():
    assert Kernel(name, 1).resolver_call == call
  assert Kernel("mine", 1, True).resolver_call == 'AddCustom("mine", ...)'
  assert Kernel("ethos-u", 1, True).resolver_call == "AddEthosU()"


def test_bytes_and_operators_are_of_the_files_without_their_marks():
  file = wide()
  needs = requirements(mark_file(MODEL, "head").file, file)
  assert needs["model_bytes_before"] == len(MODEL)
  assert needs["model_bytes"] == len(tflm_fg.strip(file))
  assert "CONCATENATION" in [r["name"] for r in needs["new_operators"]]
  assert requirements(MODEL, MODEL)["new_operators"] == []


@needs_tflm
def test_the_arena_is_tflms_own_report_where_it_is_installed():
  plain = tflm_fg.strip(wide())
  needs = requirements(MODEL, plain)
  assert needs["arena_from"] == "TFLM"
  assert needs["arena_bytes_before"] == tflm_arena.arena(MODEL)
  assert needs["arena_bytes"] == tflm_arena.arena(plain)
  report = requirements_of.opened_arena(ModelFile.open(plain))
  assert report == requirements_of.verdicts(ModelFile.open(plain))[-1].arena
  assert report[0] == pytest.approx(report[1] + report[2], abs=16)


def test_the_arena_is_planned_for_both_where_tflm_takes_one_alone(monkeypatch):
  monkeypatch.setattr(requirements_of, "opened_arena", lambda file: None)
  needs = requirements(MODEL, wide())
  assert needs["arena_from"] == "plan"
  counted = arena.arena_of(read_dataflow(MODEL)).total
  assert needs["arena_bytes_before"] == counted
  assert "planned" in in_words(needs)[1]


def test_a_legacy_file_has_a_plan_and_no_report():
  legacy = models.uint8_model(models.dense_model(per_channel=False))
  needs = requirements(legacy, legacy)
  assert needs["arena_from"] == "plan"
  said = {row["engine"]: row["fault"] for row in needs["runs_in"]}
  assert said["litert"] == ""
  if is_installed("tflm"):
    assert "TFLM has no kernels" in said["tflm"]
    assert any("tflm does not run it" in line for line in in_words(needs))


def test_every_installed_engine_is_tried_and_a_refusal_is_told(monkeypatch):
  own = trial.run

  def refuse(file, engine, inputs, first=None):
    if engine == "litert-xnnpack":
      return trial_process.Ran(None, "no such kernel")
    return own(file, engine, inputs, first)

  monkeypatch.setattr(trial, "run", refuse)
  file = models.dense_model(seed=31)
  needs = requirements(file, file)
  rows = {row["engine"]: row for row in needs["runs_in"]}
  assert set(rows) == set(filter(trial.can_run, trial.ENGINES))
  assert rows["litert"]["runs"] and not rows["litert-xnnpack"]["runs"]
  lines = in_words(needs)
  assert lines[0] == "it needs no operator that it did not need before"
  assert "litert-xnnpack does not run it: no such kernel" in lines


def test_adapting_reports_it():
  result = tflm_fg.adapt(MODEL, X, Y, trainable="wide-head", **QUICK)
  needs = result.report["needs"]
  assert needs == requirements(MODEL, result.model)
  assert any("AddConcatenation()" in line for line in in_words(needs))


# A fixed set of operators.


def test_with_the_same_operators_what_adds_some_is_refused_by_name():
  message = refused(
    lambda: mark_file(MODEL, "wide-head", graph_options=SAME),
    "CONCATENATION version 2",
    "--operators=same",
  )
  assert "--trainable=wide-head" in message
  assert mark_file(MODEL, "head", graph_options=SAME).notes == ()
  refused(
    lambda: tflm_fg.adapt(
      MODEL, X, Y, trainable="prompt", graph_options=SAME, **QUICK
    ),
    "ADD version 2",
  )


def test_with_the_same_operators_a_legacy_file_is_not_rewritten():
  legacy = models.uint8_model(models.dense_model(per_channel=False))
  refused(
    lambda: tflm_fg.mark_trainable(legacy, graph_options=SAME),
    "QUANTIZE",
    "rewriting it to int8",
  )
  kept = GraphOptions(operators="same", uint8="keep")
  assert tflm_fg.mark_trainable(legacy, "bias", graph_options=kept).mark


@pytest.mark.parametrize("labels", ["given", "none"])
def test_with_the_same_operators_auto_drops_what_adds_some(labels):
  model, y = models.conv_model(seed=2), np.arange(60) % 3
  x = models.int8_samples((6, 5, 2), 60).astype("f4") / 40
  given = y if labels == "given" else None
  result = tflm_fg.adapt(model, x, given, graph_options=SAME, **SHORT)
  assert result.report["needs"]["new_operators"] == []
  reasons = {d["candidate"]: d["reason"] for d in result.report.dropped}
  assert set(reasons) >= {stage.title for stage in INPUT_STAGES}
  assert all("--operators=same" in reasons[s.title] for s in INPUT_STAGES)
  replayed = tflm_fg.replay(result.journal, model)
  assert replayed == result.marked_model


def test_an_unknown_choice_of_operators_is_refused():
  refused(lambda: GraphOptions(operators="few"), "few", "any, same")


# A target.


def refusing(monkeypatch, operator="CONCATENATION", engine="tflm"):
  """Lets an engine refuse every file that has an operator."""
  own = trial.run

  def run(file, asked, inputs, first=None):
    if asked == engine and operator in file.operator_names:
      return trial_process.Ran(None, f"no {operator} here")
    return own(file, asked, inputs, first)

  monkeypatch.setattr(trial, "run", run)


@needs_tflm
def test_candidates_that_the_target_does_not_run_are_dropped(monkeypatch):
  refusing(monkeypatch)
  model, y = models.conv_model(seed=3), np.arange(60) % 3
  x = models.int8_samples((6, 5, 2), 60).astype("f4") / 40
  result = tflm_fg.adapt(model, x, y, target="tflm", **SHORT)
  assert "no CONCATENATION here" in str(result.report.dropped)
  assert "CONCATENATION" not in ModelFile.open(result.model).operator_names
  message = refused(
    lambda: tflm_fg.adapt(
      model, x, y, trainable="wide-head", target="tflm", **QUICK
    ),
    "--target=tflm: tflm refuses it",
  )
  assert "no CONCATENATION here" in message
  refused(
    lambda: tflm_fg.mark_trainable(model, "wide-head", target="tflm"),
    "no CONCATENATION here",
  )


@needs_tflm
def test_for_tflm_constants_must_lie_inside_and_are_moved_there():
  model = models.outside(MODEL)
  rows = {r["engine"]: r for r in requirements(MODEL, model)["runs_in"]}
  assert rows["litert"]["runs"] and not rows["tflm"]["runs"]
  assert "outside the flatbuffer" in rows["tflm"]["fault"]
  refused(
    lambda: tflm_fg.adapt(model, X, Y, target="tflm", **QUICK),
    "outside the flatbuffer",
    "tflm-fg-convert --target=tflm",
  )
  marked = tflm_fg.mark_trainable(model, target="tflm")
  assert any("into the flatbuffer" in note for note in marked.notes)
  assert tflm_fg.adapt(marked.data, X, Y, target="tflm", **QUICK).report
  assert tflm_fg.mark_trainable(model).notes == ()


def test_a_target_that_is_unknown_or_missing_is_refused(monkeypatch):
  refused(
    lambda: tflm_fg.adapt(MODEL, X, Y, target="mars"), "mars", "any, tflm"
  )
  monkeypatch.setattr(trial, "can_run", lambda engine: engine != "tflm")
  refused(
    lambda: tflm_fg.mark_trainable(MODEL, target="tflm"),
    "pip install 'tflm-fg[tflm]'",
  )


def test_litert_is_a_target_of_a_run_in_another_engine(monkeypatch):
  refusing(monkeypatch, "SOFTMAX", "litert")
  file = ModelFile.open(models.dense_model(seed=32))
  trial.require_runs_for(file, "litert-reference", "any")
  with pytest.raises(NotApplicable, match="--target=litert: litert refuses"):
    trial.require_runs_for(file, "litert-reference", "litert")


def test_operators_that_were_added_for_nothing_are_told():
  came = ModelFile.open(MODEL)

  def notes(trainable, *kept):
    records = tuple(SimpleNamespace(kept_step=step) for step in kept)
    marked = mark_file(came, trainable)
    return idle_notes(SimpleNamespace(records=records, marked=marked), came)

  (note,) = notes("prompt", 0, 0)
  assert "use the file that came" in note
  assert notes("prompt", 0, 7) == notes("head", 0) == []
