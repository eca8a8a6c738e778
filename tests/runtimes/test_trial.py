"""A file is opened and run in a child first: a crash there is one line."""

import os

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.refusals import adapt, edited, refused
from tflm_fg import limits
from tflm_fg.runtimes import installed, require_runs, trial, trial_process
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite import model_file, whole
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import Patchable
from tflm_fg.types import Mark, NotApplicable

ENGINES = [name for name in installed() if name != "tf"]


def _crashing() -> bytes:
  """A sum whose scale is 0: LiteRT aborts where the product reads it."""
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0, models.FEATURES)
  flow = net.dense(x, 4, "head").index
  total = net.tensor("sum", (1, 4), "int8", 0.0)
  net.operator("ADD", [flow, flow], total, models.schema.AddOptionsT(), 2)
  out = net.activation("out", (1, 4), 4.0).index
  net.operator("MUL", [total, flow], out, models.schema.MulOptionsT(), 2)
  return net.finish([x.index], [out])


# The verifier refuses it, as it refuses all that is known to end an engine; it
# is let through here.
CRASHING = ModelFile.packed(
  model_file.schema.ModelT.InitFromPackedBuf(_crashing(), 0), "m.tflite"
)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trial_gives_what_a_session_gives(engine):
  file = ModelFile.open(models.conv_model())
  x = models.int8_samples((6, 5, 2), 3)
  ran = trial.run(file, engine, trial.sample_rows(file, x))
  assert ran.outputs is not None and not ran.fault
  got = np.concatenate([outputs[0] for outputs in ran.outputs])
  end = file.subgraph.outputs[0]
  part = whole(file, Mark(trainable=(), logits=end, head_input=end))
  (want,) = open_session(engine, part).run((x,))
  assert np.array_equal(got, want)


def test_a_file_that_ends_the_engine_is_refused_with_the_signal():
  file = CRASHING
  with pytest.raises(NotApplicable, match=r"m.tflite: litert crashes.*SIG"):
    require_runs(file, "litert")


def test_what_an_engine_refuses_is_refused_in_its_words():
  def turn(model):
    tensor = model.subgraphs[0].tensors[5]
    tensor.type = models.schema.TensorType.FLOAT32

  file = ModelFile.open(edited(turn), "m.tflite")
  with pytest.raises(NotApplicable, match=r"refuses it: .*FULLY_CONNECTED"):
    require_runs(file, "litert")


def test_what_xnnpack_alone_refuses_runs_without_it(monkeypatch):
  own = trial.run

  def refuse(file, engine, inputs, first=None):
    if engine == "litert-xnnpack":
      return trial_process.Ran(None, "no delegate", crashed=crashes)
    return own(file, engine, inputs, first)

  monkeypatch.setattr(trial, "run", refuse)
  file, crashes = ModelFile.open(models.dense_model(seed=8)), False
  require_runs(file, "litert")
  crashes = True
  with pytest.raises(NotApplicable, match="litert-xnnpack crashes"):
    require_runs(file, "litert")


@pytest.mark.skipif("tflm" not in ENGINES, reason="needs tflm")
def test_what_tflm_refuses_is_told_with_what_it_printed():
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  flow = net.dense(x, 4, "head")
  out = net.activation("out", (1, 4), 4.0)
  net.operator("HARD_SWISH", [flow.index], out.index)
  twice = net.activation("twice", (2, 4), 4.0)
  many = net.tensor("many", (2,), "int32", data=np.array([2, 1]))
  net.operator("TILE", [out.index, many], twice.index)
  file = ModelFile.open(net.finish([x.index], [twice.index]))
  with pytest.raises(NotApplicable, match=r"tflm refuses it: .*'TILE'"):
    require_runs(file, "tflm")


def test_a_crash_leaves_the_next_trial_as_it_was():
  good = ModelFile.open(models.dense_model(seed=5))
  bad = CRASHING
  for _ in range(2):
    assert trial.run(bad, "litert", trial._probes(bad)).crashed
    assert trial.run(good, "litert", trial._probes(good)).outputs


def test_a_child_that_is_gone_is_started_anew():
  good = ModelFile.open(models.dense_model(seed=6))
  trial.run(good, "litert", trial._probes(good))
  child = trial._child(os.getpid())
  child._process.kill()
  child._process.wait()
  assert trial.run(good, "litert", trial._probes(good)).outputs


def test_a_file_that_passed_is_not_run_again(monkeypatch):
  file = ModelFile.open(models.dense_model(seed=7))
  require_runs(file, "litert")
  monkeypatch.setattr(trial, "run", lambda *_: pytest.fail("ran again"))
  require_runs(file, "litert")


@pytest.mark.parametrize("strategy", ["in-place", "rebuild"])
def test_no_session_opens_a_part_that_ends_the_engine(strategy):
  file = CRASHING
  end = file.subgraph.outputs[0]
  part = whole(file, Mark(trainable=(), logits=end, head_input=end))
  refused(lambda: open_session("litert", part, strategy), "crashes on it")


def test_the_first_write_is_in_the_child(monkeypatch):
  seen = []
  own = trial.run

  def run(file, engine, inputs, first=None):
    seen.append(first)
    return own(file, engine, inputs, first)

  monkeypatch.setattr(trial, "run", run)
  marked = mark_file(models.dense_model(seed=41), "all")
  part = whole(marked.data, marked.mark)
  session = open_session("litert", part)
  (first,) = seen
  assert [w[0] for w in first.writes] == list(part.writable)
  # Other weights in the same places are the same file to a trial.
  others = [np.zeros_like(w) for w in session.params()]
  written = Patchable(part.file, part.writable).written(others)
  open_session("litert", part._replace(file=written))
  assert len(seen) == 1


def test_a_crash_at_the_first_write_is_a_refusal(monkeypatch, own_child):
  """No engine is known to do it, so a constant is told at the wrong place."""
  monkeypatch.setattr(trial, "_child", lambda _: own_child)
  file = ModelFile.open(models.dense_model(seed=43))
  ran = trial.run(
    file,
    "tflm" if "tflm" in ENGINES else "litert",
    trial._probes(file),
    trial.First(writes=((99, -(1 << 40), "int8", (4,)),)),
  )
  assert ran.outputs is None and (ran.crashed or ran.fault)


@pytest.fixture
def own_child():
  child = trial_process.Child()
  yield child
  child.end()


def test_what_never_ends_is_ended_and_not_tried_again(monkeypatch, own_child):
  monkeypatch.setattr(trial_process, "LIMIT_SECONDS", 0.01)
  monkeypatch.setattr(trial_process, "START_SECONDS", 0)
  asked = []
  own = trial_process.Child.ask
  monkeypatch.setattr(trial, "_child", lambda _: own_child)
  monkeypatch.setattr(
    trial_process.Child,
    "ask",
    lambda child, request: asked.append(1) or own(child, request),
  )
  file = ModelFile.open(models.dense_model(seed=31))
  ran = trial.run(file, "litert", ())
  assert ran.crashed and ran.is_late and len(asked) == 1
  assert "longer than 0.01 s" in ran.fault


def test_a_child_whose_parent_is_gone_ends_itself(monkeypatch, own_child):
  """As where a program was killed while a model ran without an end."""
  monkeypatch.setattr(trial_process, "START_SECONDS", 0)
  early = 1e-5 - trial_process.LIMIT_SECONDS
  monkeypatch.setattr(trial_process, "ORPHAN_SECONDS", early)
  monkeypatch.setattr(trial, "_child", lambda _: own_child)
  ran = trial.run(ModelFile.open(models.dense_model(seed=32)), "litert", ())
  assert ran.crashed and not ran.is_late
  assert "SIGALRM" in ran.fault


@pytest.mark.parametrize(
  ("most", "limit"), [(1 << 24, None), (1 << 40, "64MB")]
)
def test_a_model_may_not_take_all_memory(most, limit, monkeypatch, own_child):
  monkeypatch.setattr(trial_process, "MOST_BYTES", most)
  monkeypatch.setattr(trial, "_child", lambda _: own_child)
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  wide = net.activation("wide", (1, 8 << 24), 4.0)
  many = net.tensor("many", (2,), "int32", data=np.array([1, 1 << 24]))
  net.operator("TILE", [x.index, many], wide.index)
  file = ModelFile.open(net.finish([x.index], [wide.index]))
  with limits.at_most(limit):
    ran = trial.run(file, "litert", trial._probes(file))
  assert ran.fault and ran.outputs is None


def test_adapt_evaluate_inspect_refuse_what_would_end_the_process():
  x, y = models.separable(48)
  refused(lambda: adapt(CRASHING), "litert crashes", "SIG")
  refused(lambda: tflm_fg.evaluate(CRASHING, x, y), "litert crashes")
  refused(lambda: tflm_fg.inspect(CRASHING), "litert crashes")


def test_a_candidate_that_an_engine_does_not_run_is_dropped(monkeypatch):
  model = models.conv_model()
  own = trial.run

  def refuse_wide(file, engine, inputs, first=None):
    if "CONCATENATION" in file.operator_names:
      return trial_process.Ran(None, "no such kernel")
    return own(file, engine, inputs, first)

  monkeypatch.setattr(trial, "run", refuse_wide)
  x = models.int8_samples((6, 5, 2), 60).astype("f4") / 40
  y = np.arange(60) % 3
  report = tflm_fg.adapt(model, x, y, name="m").report
  assert {d["candidate"] for d in report.dropped} >= {"wide-head"}
  assert "no such kernel" in str(report.dropped)
  with pytest.raises(NotApplicable, match="no such kernel"):
    tflm_fg.adapt(model, x, y, trainable="wide-head")
